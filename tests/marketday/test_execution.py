"""What an execution reads: the versions that the call pins, but the newest of what the step wants as it is now."""

import datetime as dt

import polars as pl
import pytest

from marketday import steps
from marketday.calls import Call, Result
from marketday.settings import Settings
from marketday.steps import Context, Outputs, contract, step
from marketday.steps.execution import execute
from marketday.tables import EVENTS, FORECASTS, PUBLICATIONS
from marketday.warehouse import Warehouse

DAY = dt.date(2025, 3, 31)
NEXT = dt.date(2025, 4, 1)


def event(day: dt.date) -> pl.DataFrame:
    return pl.DataFrame({"location_id": ["*"], "day": [day], "name": ["Spring day"], "kind": ["national"]})


def forecast(day: dt.date, mean: float) -> pl.DataFrame:
    row = {"location_id": "a", "product_id": "milk", "day": day, "horizon": 1, "mean": mean, "dispersion": 0.3}
    spread = {"zero_share": 0.0, "common_dispersion": 0.0, "family": "gamma"}
    return pl.DataFrame([row | spread | {"model": "lightgbm@1", "mode": "fresh"}])


def publication(day: dt.date) -> pl.DataFrame:
    row = {"table": "forecasts", "of_day": day, "reason": "", "version": 1, "content_hash": "f00d", "rows": 1}
    return pl.DataFrame([row | {"mode": "fresh"}])


@pytest.fixture
def look(monkeypatch: pytest.MonkeyPatch) -> None:
    """Register one step, and no others, for the length of a test."""
    monkeypatch.setattr(contract, "_MODULES", ())
    monkeypatch.setattr(contract, "_REGISTRY", {})

    @step("look", reads=(EVENTS, FORECASTS, PUBLICATIONS), latest=(PUBLICATIONS,))
    def look(context: Context) -> Outputs:
        return Outputs(facts={table.name: context.scan(table).collect().height for table in (EVENTS, PUBLICATIONS)})


@pytest.mark.usefixtures("look")
def test_a_pinned_table_is_read_as_it_was_and_one_wanted_at_its_latest_as_it_is(
    settings: Settings, warehouse: Warehouse
) -> None:
    for day in (DAY, NEXT):
        warehouse.write("simulated", EVENTS, event(day), run_day=day)
        warehouse.write("simulated", PUBLICATIONS, publication(day), run_day=day)
    pinned = {"events": 1, "publications": 1, "sales": 7}
    result = execute(Call(step="look", retailer="simulated", day=NEXT, inputs=pinned), settings)
    assert result.facts == {"events": 1, "publications": 2}
    assert result.snapshots == {"events": 1, "publications": 2, "sales": 7}


def test_a_day_that_was_published_after_the_inputs_were_fixed_keeps_its_pointer(
    settings: Settings, warehouse: Warehouse
) -> None:
    def publish(day: dt.date, **inputs: int) -> Result:
        return execute(Call(step="publish", retailer="m5", day=day, inputs=inputs), settings)

    first = warehouse.write("m5", FORECASTS, forecast(DAY, 4.0), run_day=DAY).version
    publish(DAY)
    second = warehouse.write("m5", FORECASTS, forecast(NEXT, 5.0), run_day=NEXT).version
    before = warehouse.version("m5", PUBLICATIONS)
    publish(NEXT, forecasts=second)
    third = warehouse.write("m5", FORECASTS, forecast(DAY, 4.5), run_day=DAY).version
    publish(NEXT, forecasts=third, publications=before)
    published = warehouse.scan("m5", PUBLICATIONS).sort("run_day").collect()
    assert published["version"].to_list() == [first, second]


def test_every_step_that_moves_the_pointer_looks_where_it_points_now() -> None:
    moving = [found for found in map(steps.get, steps.names()) if PUBLICATIONS in found.writes]
    assert [found.name for found in moving] == ["gate_clean", "gate_forecast", "gate_orders", "publish"]
    assert all(found.latest == (PUBLICATIONS,) for found in moving)
