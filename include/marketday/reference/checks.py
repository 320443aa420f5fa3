"""The page about all checks, in Markdown: the words of `checks.md` beside this file, and what the catalogue says."""

from collections.abc import Iterable
from pathlib import Path
from string import Template

from marketday.checks import ROW_CHECKS, TABLE_CHECKS, Check
from marketday.reference import markdown

_TEMPLATE = Path(__file__).with_name("checks.md")


def checks() -> str:
    """Return the page."""
    template = Template(_TEMPLATE.read_text(encoding="utf-8"))
    return template.substitute(rows=_table(ROW_CHECKS), tables=_table(TABLE_CHECKS))


def _table(found: Iterable[Check]) -> str:
    header = ("code", "what breaks it", "what to do", "looks at", "severity", "may be changed to")
    return markdown.table(header, map(_cells, found))


def _cells(check: Check) -> tuple[str, ...]:
    return (
        f"`{check.code}`",
        check.says,
        check.advice,
        markdown.codes(check.tables) or "all tables",
        check.severity,
        f"{check.other}, left out" if check.other else "always holds",
    )
