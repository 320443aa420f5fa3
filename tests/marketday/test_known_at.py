"""What looking back promises: the version that was there at a time, or that a run wrote or read."""

import datetime as dt
import time
from zoneinfo import ZoneInfo

import polars as pl
import pytest

from marketday.errors import WarehouseError
from marketday.tables import EVENTS, RUNS, SALES
from marketday.warehouse import NOTHING_YET, Warehouse, known_at
from marketday.warehouse.known_at import Run

BERLIN = ZoneInfo("Europe/Berlin")
DAY = dt.date(2025, 3, 4)
WRITES = 9
"""Each is a version; version 0 is the empty table."""


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    """Nine writes of `events`, a few milliseconds apart, and two executions that touched them."""
    warehouse = Warehouse(str(tmp_path_factory.mktemp("known")))
    for number in range(WRITES):
        day = DAY + dt.timedelta(days=number)
        event = {"location_id": "*", "day": day, "name": "Fair", "kind": "local"}
        warehouse.write("shop", EVENTS, pl.DataFrame([event]), run_day=day, metadata={"step": f"load@{number}"})
        time.sleep(0.003)
    execute(warehouse, "load", hour=4, inputs='{"staged_events": 7, "sales": -1}', written='{"events": 2}')
    execute(warehouse, "features", hour=5, inputs='{"events": 3}', written="{}")
    return warehouse


def execute(warehouse: Warehouse, step: str, *, hour: int, inputs: str, written: str) -> None:
    row = {"step": f"{step}@1", "state": "successful", "key": "k", "message": "", "release": "", "seconds": 1.0}
    row |= {"call": "{}", "definition": "{}", "outputs": "{}", "inputs": inputs, "written": written, "block": step}
    row |= {"started": dt.datetime(2025, 3, 4, hour, tzinfo=dt.UTC)}
    warehouse.write("shop", RUNS, pl.DataFrame([row]), run_day=DAY, block=step)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("3", 3),
        ("2025-03-04T06:00", dt.datetime(2025, 3, 4, 6, tzinfo=BERLIN)),
        ("2025-03-04T06:00:30+00:00", dt.datetime(2025, 3, 4, 6, 0, 30, tzinfo=dt.UTC)),
        ("2025-03-04", dt.datetime(2025, 3, 4, tzinfo=BERLIN)),
        ("run:2025-03-04", Run(DAY)),
        ("run:2025-03-04/gate_clean", Run(DAY, "gate_clean")),
    ],
)
def test_a_version_a_time_and_a_run_are_understood(text: str, meant: object) -> None:
    assert known_at.parse(text, BERLIN) == meant


@pytest.mark.parametrize("text", ["", "-1", "yesterday", "run:2025-02-30", "run:today", "2025-03-04T25:00", "run:"])
def test_anything_else_is_refused_with_examples(text: str) -> None:
    with pytest.raises(WarehouseError, match="neither a version, nor a time, nor a run") as raised:
        known_at.parse(text, BERLIN)
    assert "run:2025-03-04/clean" in raised.value.hint


def test_the_log_tells_when_each_version_was_committed_and_by_which_step(written: Warehouse) -> None:
    entries = known_at.entries(written, "shop", EVENTS, range(2, 5))
    assert [(each.version, each.metadata["step"]) for each in entries] == [(2, "load@1"), (3, "load@2"), (4, "load@3")]
    with pytest.raises(WarehouseError, match="has lost a version"):
        known_at.entries(written, "shop", EVENTS, [WRITES + 1])


def test_the_version_at_a_time_is_the_last_committed_by_then(written: Warehouse) -> None:
    log = known_at.entries(written, "shop", EVENTS, range(WRITES + 1))
    tick = dt.timedelta(milliseconds=1)
    for moment in (each.at + shift for each in log for shift in (-tick, dt.timedelta(0), tick)):
        slowly = max((each.version for each in log if each.at <= moment), default=NOTHING_YET)
        assert known_at.at(written, "shop", EVENTS, moment) == slowly
    assert known_at.at(written, "shop", SALES, dt.datetime.now(dt.UTC)) == NOTHING_YET


def test_a_table_can_be_read_as_of_a_version_a_time_and_a_run(written: Warehouse) -> None:
    now = dt.datetime.now(dt.UTC)
    cases = {0: 0, 8: 8, now: WRITES, Run(DAY): 2, Run(DAY, "load"): 2, Run(DAY, "features"): 3}
    for as_of, version in cases.items():
        assert known_at.version(written, "shop", EVENTS, as_of) == version, as_of


@pytest.mark.parametrize(
    ("as_of", "complaint"),
    [
        (10, "shop/events@10: there is no such version\nWhat to do: The latest is 9."),
        (
            dt.datetime(2025, 3, 4, tzinfo=dt.UTC),
            "nothing was written by 2025-03-04 00:00:00 UTC\nWhat to do: The first",
        ),
        (Run(DAY + dt.timedelta(days=1)), "No run of shop 2025-03-05 is recorded"),
        (Run(DAY, "orders"), "No run of shop 2025-03-04, step orders is recorded"),
    ],
)
def test_what_was_not_there_is_said_not_to_be_there(written: Warehouse, as_of: known_at.AsOf, complaint: str) -> None:
    with pytest.raises(WarehouseError) as raised:
        known_at.version(written, "shop", EVENTS, as_of)
    assert complaint in str(raised.value)


def test_a_table_that_the_run_did_not_touch_is_named_beside_those_that_it_did(written: Warehouse) -> None:
    with pytest.raises(WarehouseError, match="neither wrote nor read sales") as raised:
        known_at.version(written, "shop", SALES, Run(DAY))
    assert raised.value.hint == "It wrote or read: events, staged_events."
    with pytest.raises(WarehouseError, match="sales@0: there is no such version") as raised:
        known_at.version(written, "shop", SALES, 0)
    assert raised.value.hint == "The table was never written."
