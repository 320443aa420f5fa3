"""Pages that tell what to type: their `console` blocks are typed, and what is printed is compared.

A block is commands after ``$``, each with what it prints; `…` stands for anything. A command goes on after a backslash.
Any other block with a path is a file. What starts Airflow is in blocks of `console e2e`.
"""

import re
import subprocess
from pathlib import Path
from typing import NamedTuple

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
    parts = (re.match(r"((?:.*\\\n)*.*)\n?([\s\S]*)", each) for each in typed)
    return [Command(part[1], part[2].strip()) for part in parts if part]


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
        if language != "console" and rest:
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
