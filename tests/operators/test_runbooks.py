"""What support reads beside a task is about what the task's log really says."""

import re
from pathlib import Path

import pytest

from operators import runbooks
from operators.releases import STEPS

ROOT = Path(__file__).resolve().parents[2]
SOURCES = [
    *(ROOT / "operators").glob("*.py"),
    *(ROOT / "include" / "marketday" / "service").glob("*.py"),
    ROOT / "include" / "marketday" / "transport.py",
]


def quoted() -> list[str]:
    """Return the words that the runbook of every task quotes from logs, without what stands between them."""
    table = runbooks.of_task("clean").partition("| what the task's log says |")[2]
    quotes = [quote for row in table.splitlines()[2:] for quote in re.findall(r"\*([^*]+)\*", row.split("|")[1])]
    return [words for quote in quotes for words in quote.split(" … ")]


@pytest.mark.parametrize("words", quoted())
def test_what_the_runbook_quotes_is_what_the_code_says(words):
    assert any(words in source.read_text(encoding="utf-8") for source in SOURCES)


def test_every_kind_of_failure_that_is_retried_is_in_the_runbook():
    assert {"asking again", "does not answer", "was lost", "ran out of memory", "Timeout of the task"} < set(quoted())


@pytest.mark.parametrize("step", STEPS)
def test_every_step_has_a_runbook_that_ends_with_clearing_and_retries(step):
    text = runbooks.of_task(step)
    assert text.index("| what you see | what to do |") < text.index("**Clearing**") < text.index("**Retries**")
