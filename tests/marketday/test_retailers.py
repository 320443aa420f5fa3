"""A mistake in a retailer's definition names its file, its line and what is allowed."""

import datetime as dt
from pathlib import Path

import pytest

from marketday import retailers
from marketday.errors import RetailerError
from marketday.settings import Settings

GOOD = """\
title: Corner shop
time_zone: Europe/Berlin
cut_off: 05:30
orders:
  service_level: 0.9
"""


def write(folder: Path, text: str, name: str = "corner") -> Path:
    path = folder / f"{name}.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_definition_takes_its_name_from_its_file_and_defaults_for_the_rest(tmp_path: Path):
    write(tmp_path, GOOD)
    corner = retailers.load("corner", tmp_path)
    assert (corner.name, corner.horizon, corner.cut_off) == ("corner", 28, dt.time(5, 30))
    assert corner.partition_key(dt.date(2025, 3, 3)) == "corner|2025-03-03"
    assert corner.cut_off_at(dt.date(2025, 7, 1)).utcoffset() == dt.timedelta(hours=2)


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        (GOOD + "horizn: 3\n", 6, "did you mean `horizon`? Allowed: name, title"),
        (GOOD.replace("service_level: 0.9", "servce_level: 0.9"), 5, "did you mean `service_level`?"),
        (GOOD.replace("0.9", "1.9"), 5, "less than 1"),
        (GOOD.replace("Europe/Berlin", "Europe/Berln"), 2, "did you mean Europe/Berlin"),
        (GOOD + 'schedule: "every morning"\n', 6, "five fields"),
        (
            GOOD + "training:\n  row: 5000\n",
            7,
            "did you mean `rows`? Allowed: schedule, model, history_days, rows, rounds",
        ),
        (GOOD + "training:\n  rows: 10\n", 7, "or equal to 1000. Most days of series that are learnt from"),
        (GOOD + "source: sap\n", 6, "'simulator', 'm5', 'freshretailnet' or 'none'"),
        (
            GOOD + "checks:\n  left_out: [unit_scale]\n",
            7,
            "no check `unit_scale`; did you mean `units_scale`? Allowed: ",
        ),
        (GOOD + "checks:\n  left_out: [missing]\n", 7, "`missing` always holds. Others may be changed: wrong_encoding"),
        (
            GOOD + "checks:\n  severity: {volume: refuse}\n",
            7,
            "`volume` can be fail, warn, left out, not refuse",
        ),
        (GOOD + "title: [\n", 7, "not YAML"),
        (GOOD.replace("title: Corner shop\n", ""), 1, "title: is missing: Name for people."),
        ("- a list\n", 1, "a mapping of keys to values"),
    ],
)
def test_a_mistake_names_file_line_and_what_is_allowed(tmp_path: Path, text: str, line: int, says: str):
    path = write(tmp_path, text)
    with pytest.raises(RetailerError) as caught:
        retailers.load("corner", tmp_path)
    assert f"{path}:{line}:" in str(caught.value)
    assert says in str(caught.value)


def test_every_mistake_is_told_at_once(tmp_path: Path):
    write(tmp_path, GOOD + "horizn: 3\nblock_size: none\n")
    with pytest.raises(RetailerError) as caught:
        retailers.load("corner", tmp_path)
    assert "horizn" in str(caught.value)
    assert "block_size" in str(caught.value)


def test_an_unknown_retailer_is_told_who_there_is(tmp_path: Path):
    write(tmp_path, GOOD)
    with pytest.raises(RetailerError, match="Use one of: corner"):
        retailers.load("cornr", tmp_path)


def test_a_definition_that_was_changed_is_read_again(tmp_path: Path):
    write(tmp_path, GOOD)
    before = retailers.load("corner", tmp_path)
    assert retailers.load("corner", tmp_path) is before
    write(tmp_path, GOOD + "block_size: 17\n")
    assert retailers.load("corner", tmp_path).block_size == 17


def test_the_definitions_that_come_with_the_project_are_right(settings: Settings):
    names = retailers.names(settings.retailers)
    assert {"simulated", "m5", "freshretailnet"} <= set(names)
    for name in names:
        retailers.load(name, settings.retailers)


@pytest.mark.parametrize("name", ["nobody", "a\0b", 300 * "a"])
def test_a_name_that_nobody_has_or_could_have_is_answered_with_those_that_there_are(tmp_path: Path, name: str):
    write(tmp_path, GOOD)
    assert not retailers.is_defined(name, tmp_path)
    with pytest.raises(RetailerError, match=r"There is no retailer .{,110} in .*\n.*Use one of: corner"):
        retailers.load(name, tmp_path)
    assert retailers.is_defined("corner", tmp_path)
