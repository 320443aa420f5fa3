"""The steps `clean` and `load`: from delivered rows to facts, on a real warehouse."""

import datetime as dt
import io
from collections.abc import Callable
from typing import Any

import polars as pl
import pytest

from marketday import deliveries, tables
from marketday.calls import Call
from marketday.settings import Settings
from marketday.steps.execution import execute
from marketday.warehouse import Warehouse

DAY = dt.date(2025, 3, 10)
ORIGIN = dt.date(2025, 3, 9)
Rows = list[dict[str, Any]]

PRODUCTS: Rows = [
    {"product_id": "milk", "category": "food", "department": "dairy", "unit": "pieces"},
    {"product_id": "apple", "category": "food", "department": "fruit", "unit": "weight"},
]
LOCATIONS: Rows = [{"location_id": "north", "region": "hills"}]


def sale(product: str, units: float, day: dt.date = ORIGIN) -> dict[str, Any]:
    return {"location_id": "north", "product_id": product, "day": day, "units": units}


@pytest.fixture
def deliver(settings: Settings) -> Callable[..., None]:
    def accept(day: dt.date = DAY, **delivery: Rows) -> None:
        for name, given in delivery.items():
            content = io.BytesIO()
            pl.DataFrame(given).write_parquet(content)
            deliveries.put_table(settings.deliveries_url, "simulated", day, name, content.getvalue())
        kind = "history" if "products" in delivery else "daily"
        now = dt.datetime.combine(day, dt.time(4), tzinfo=dt.UTC)
        deliveries.complete(settings.deliveries_url, "simulated", day, kind, now)

    return accept


@pytest.fixture
def run(settings: Settings) -> Callable[..., dict[str, Any]]:
    def steps(*names: str, day: dt.date = DAY) -> dict[str, Any]:
        return {name: execute(Call(step=name, retailer="simulated", day=day), settings) for name in names}

    return steps


def facts(warehouse: Warehouse, table: tables.Table, day: dt.date = DAY) -> pl.DataFrame:
    return warehouse.scan("simulated", table).filter(pl.col("run_day") == day).collect()


def test_a_delivery_becomes_facts_and_what_is_wrong_goes_to_quarantine(warehouse, deliver, run) -> None:
    deliver(
        products=PRODUCTS,
        locations=LOCATIONS,
        sales=[sale("milk", 3.0), sale("milk", 3.0), sale("apple", 0.4), sale("pear", 1.0), sale("apple", -1.0)],
    )
    result = run("ingest", "clean", "load")["clean"]
    assert facts(warehouse, tables.SALES).select("product_id", "units").rows() == [("apple", 0.4), ("milk", 3.0)]
    assert facts(warehouse, tables.PRODUCTS).height == 2
    assert facts(warehouse, tables.QUARANTINE).select("table", "row", "reason").rows() == [
        ("sales", 3, "unknown_product"),
        ("sales", 4, "negative_sales"),
    ]
    assert result.facts["accepted"]["sales"] == 2
    assert result.facts["refused"]["sales"] == 2
    assert result.facts["reasons"] == {"negative_sales": 1, "unknown_product": 1}
    assert result.facts["collapsed"] == 1


def test_a_later_delivery_may_refer_to_what_the_warehouse_knows(warehouse, deliver, run) -> None:
    deliver(products=PRODUCTS, locations=LOCATIONS, sales=[sale("milk", 3.0)])
    run("ingest", "clean", "load")
    tomorrow = DAY + dt.timedelta(days=1)
    deliver(tomorrow, sales=[sale("milk", 2.0, DAY), sale("apple", 0.7, DAY)])
    run("ingest", "clean", "load", day=tomorrow)
    assert facts(warehouse, tables.SALES, tomorrow).height == 2
    assert facts(warehouse, tables.QUARANTINE, tomorrow).is_empty()


def test_only_the_first_delivery_may_bring_old_sales(warehouse, deliver, run) -> None:
    old = dt.date(2024, 1, 1)
    deliver(products=PRODUCTS, locations=LOCATIONS, sales=[sale("milk", 3.0, old)])
    run("ingest", "clean", "load")
    tomorrow = DAY + dt.timedelta(days=1)
    deliver(tomorrow, sales=[sale("milk", 2.0, old)])
    run("ingest", "clean", "load", day=tomorrow)
    assert facts(warehouse, tables.SALES)["day"].to_list() == [old]
    assert facts(warehouse, tables.QUARANTINE, tomorrow)["reason"].to_list() == ["wrong_day"]


def test_an_outage_longer_than_the_late_days_can_be_made_up(warehouse, deliver, run) -> None:
    deliver(products=PRODUCTS, locations=LOCATIONS, sales=[sale("milk", 3.0)])
    run("ingest", "clean", "load")
    back = DAY + dt.timedelta(days=12)
    missed = [ORIGIN + dt.timedelta(days=n) for n in range(1, 13)]
    deliver(back, sales=[sale("milk", 2.0, day) for day in (ORIGIN, *missed)])
    run("ingest", "clean", "load", day=back)
    assert facts(warehouse, tables.SALES, back)["day"].to_list() == missed
    refused = facts(warehouse, tables.QUARANTINE, back)
    assert refused["reason"].to_list() == ["wrong_day"], "what was known already stays closed"
    assert f"allowed are {missed[0]} to {missed[-1]}" in refused["message"].item()


def test_a_corrected_delivery_replaces_what_the_first_one_loaded(warehouse, deliver, run) -> None:
    deliver(products=PRODUCTS, locations=LOCATIONS, sales=[sale("milk", 300.0), sale("apple", -1.0)])
    run("ingest", "clean", "load")
    deliver(products=PRODUCTS[:1], locations=LOCATIONS, sales=[sale("milk", 3.0), sale("apple", 1.0)])
    run("ingest", "clean", "load")
    assert facts(warehouse, tables.SALES).select("product_id", "units").rows() == [("milk", 3.0)]
    assert facts(warehouse, tables.QUARANTINE)["reason"].to_list() == ["unknown_product"]


def test_a_second_run_changes_nothing(warehouse, deliver, run) -> None:
    deliver(products=PRODUCTS, locations=LOCATIONS, sales=[sale("milk", 3.0), sale("pear", 1.0)])
    first, again = run("ingest", "clean", "load"), run("ingest", "clean", "load")
    for name in ("clean", "load"):
        assert first[name].hashes == again[name].hashes
    assert warehouse.version("simulated", tables.SALES) == first["load"].snapshots["sales"]


def test_without_a_delivery_everything_is_empty_and_goes_on(warehouse, run) -> None:
    result = run("clean", "load")
    assert set(result["clean"].rows.values()) == {0}
    assert facts(warehouse, tables.SALES).is_empty()
