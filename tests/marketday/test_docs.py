"""The pages that tell what to type: everything in their `console` blocks is typed, in a copy of the project.

A block is commands after ``$``, each with what it prints; `…` stands for anything. A block of `python` with a path is a
file. What starts Airflow is in blocks of `console e2e`.
"""

import re
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest
from project_copy import ROOT, copied

from marketday.kit import Kind

PAGE = ROOT / "docs" / "add-a-step.md"
_BLOCK = re.compile(r"^```(\w+)[ ]?(.*)\n([\s\S]*?)^```$", re.MULTILINE)


class Command(NamedTuple):
    """A line to type, and what it prints."""

    line: str
    prints: str


def blocks(page: Path) -> list[tuple[str, str, str]]:
    """Return language, the rest of the first line, and text of each fenced block."""
    return _BLOCK.findall(page.read_text(encoding="utf-8"))


def commands(text: str) -> list[Command]:
    """Return the commands of a block."""
    typed = re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]
    return [Command(line, prints.strip()) for line, _, prints in (each.partition("\n") for each in typed)]


def matches(prints: str, output: str) -> bool:
    """Whether the output is what is to be printed, blanks at the ends of lines apart."""
    pattern = ".*".join(re.escape(part.strip()) for part in prints.split("…"))
    told = "\n".join(line.rstrip() for line in output.strip().splitlines())
    return re.fullmatch(pattern, told, re.DOTALL) is not None


def follow(page: Path, place: Path, environment: dict[str, str], *, e2e: bool) -> list[str]:
    """Write the files and type the commands of a page, in its order; return what was typed.

    What takes long and leaves nothing that Airflow needs is left out where Airflow is started.
    """
    typed = []
    for language, rest, text in blocks(page):
        if language == "python":
            (place / rest).write_text(text, encoding="utf-8")
        if language != "console" or (rest == "e2e" and not e2e):
            continue
        for command in commands(text):
            if e2e and command.line.startswith(("pytest ", "marketday backtest ")):
                continue
            done = subprocess.run(
                ["bash", "-c", command.line],
                cwd=place,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
            )
            assert done.returncode == 0, f"$ {command.line}\n{done.stdout}"
            assert matches(command.prints, done.stdout), f"$ {command.line}\n{done.stdout}\nis not\n{command.prints}"
            typed.append(command.line)
    return typed


def test_what_is_typed_on_the_page_works_as_it_says(tmp_path):
    place = tmp_path / "project"
    typed = follow(PAGE, place, copied(place), e2e=False)
    assert {f"marketday new {kind}" for kind in Kind} <= {" ".join(line.split()[:3]) for line in typed}


@pytest.mark.e2e
@pytest.mark.slow
def test_a_morning_runs_with_what_the_page_adds(tmp_path):
    place = tmp_path / "project"
    typed = follow(PAGE, place, copied(place), e2e=True)
    assert "marketday run simulated --day 2025-03-03 --embedded" in typed


def test_every_file_that_the_page_links_to_is_there():
    links = re.findall(r"\]\(([^)#:]+)\)", PAGE.read_text(encoding="utf-8"))
    assert [link for link in links if not (PAGE.parent / link).exists()] == []


@pytest.mark.parametrize(
    ("prints", "output", "expected"),
    [
        ("a\n…", "a\nb\nc", True),
        ("… passed…", ".....\n5 passed, 3 deselected in 2 s", True),
        ("… passed…", "2 failed", False),
        ("", "", True),
        ("", "surprise", False),
        ("a\nb", "a \nb\n", True),
    ],
)
def test_what_is_printed_is_compared(prints, output, expected):
    assert matches(prints, output) is expected
