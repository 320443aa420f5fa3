"""Everything in the `console` blocks of the page about adding things is typed, in a copy of the project."""

import re

import pytest
from project_copy import ROOT, copied
from typed_page import follow, matches

from marketday.kit import Kind

PAGE = ROOT / "docs" / "add-a-step.md"


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
