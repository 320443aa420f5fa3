"""What the catalogues look like to people: `docs/tables.md`, its two pictures and `docs/checks.md`, made from the code.

:func:`write` makes them; a test compares what is in docs/ with what it would write now.
"""

from pathlib import Path

from marketday.reference.checks import checks
from marketday.reference.morning import morning
from marketday.reference.page import page
from marketday.reference.star import star


def documents() -> dict[str, str]:
    """Return every generated file of docs/ by its name."""
    return {
        "tables.md": page(),
        "tables-star.svg": star(),
        "tables-morning.svg": morning(),
        "checks.md": checks(),
    }


def write(folder: Path) -> list[Path]:
    """Write the page and its pictures into the folder and return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, text in documents().items():
        path = folder / name
        path.write_text(text, encoding="utf-8")
        written.append(path)
    return written


__all__ = ["documents", "write"]
