"""Mornings of the simulated retailer, one after the other, on a real Airflow and a real step service."""

import datetime as dt
import time

import polars as pl
import pytest
from conftest import Shop

from marketday import tables

pytestmark = pytest.mark.e2e

FIRST, DIRTY, SPOILT, SILENT = (dt.date(2025, 3, 3) + dt.timedelta(n) for n in range(4))
ROW_FAULTS = ("unknown_product", "unknown_location", "negative_price", "duplicate_key", "wrong_day")


@pytest.fixture(scope="module")
def first_morning(shop: Shop):
    shop.deliver(FIRST)
    return shop.run(FIRST)


def series(shop: Shop, table: tables.Table, day: dt.date) -> set[tuple[str, str]]:
    return set(shop.rows(table, day).select("location_id", "product_id").unique().iter_rows())


def test_a_delivery_becomes_published_order_proposals(shop: Shop, first_morning):
    assert first_morning.state == "success", shop.errors(first_morning)
    published = shop.published(FIRST)
    assert set(published) == {"forecasts", "orders"}
    assert {row["mode"] for row in published.values()} == {"fresh"}
    assert {row["of_day"] for row in published.values()} == {FIRST}
    assert series(shop, tables.FORECASTS, FIRST) == series(shop, tables.FEATURES, FIRST) != set()
    assert shop.rows(tables.ORDERS, FIRST)["packs"].sum() > 0
    assert shop.rows(tables.VERDICTS, FIRST)["gate"].unique().sort().to_list() == ["clean", "forecast", "orders"]


def test_a_second_run_of_the_same_day_changes_nothing(shop: Shop, first_morning):
    before = shop.published(FIRST)
    assert shop.run(FIRST).state == "success"
    assert shop.published(FIRST) == before


def test_clearing_any_single_task_changes_nothing(shop: Shop, first_morning):
    before = shop.published(FIRST)
    tries = {task.name: task.try_number for task in shop.airflow.tasks(first_morning)}
    for task_id in dict.fromkeys(task.task_id for task in shop.airflow.tasks(first_morning)):
        again = shop.clear(first_morning, [task_id], downstream=False)
        assert again.state == "success", (task_id, shop.errors(again))
        assert shop.published(FIRST) == before, task_id
    assert all(task.try_number > tries[task.name] for task in shop.airflow.tasks(first_morning))


def test_refused_rows_are_kept_with_their_reasons_and_every_valid_series_is_forecast(shop: Shop, first_morning):
    shop.deliver(DIRTY, *ROW_FAULTS)
    assert shop.run(DIRTY).state == "success"
    refused = shop.rows(tables.QUARANTINE, DIRTY)
    reasons = {"negative_price": "out_of_range"}
    assert set(refused["reason"]) == {reasons.get(fault, fault) for fault in ROW_FAULTS}
    assert set(refused.filter(reason="out_of_range")["table"]) == {"prices"}
    raw = dict(shop.rows(tables.INGESTED, DIRTY).select("table", "rows").iter_rows())
    staged = {name: shop.rows(tables.STAGED[name], DIRTY).height for name in tables.STAGED}
    refused_rows = refused.group_by("table").agg(pl.col("row").n_unique())
    assert {name: raw[name] - staged[name] for name in raw if raw[name] != staged[name]} == dict(
        refused_rows.iter_rows()
    )
    # A product may be launched overnight; none that was forecast yesterday may be missing today.
    delisted = shop.rows(tables.PRODUCTS, DIRTY).filter(pl.col("delisted") <= DIRTY + dt.timedelta(13))["product_id"]
    valid = {pair for pair in series(shop, tables.FORECASTS, FIRST) if pair[1] not in set(delisted)}
    assert valid <= series(shop, tables.FORECASTS, DIRTY)


def test_a_spoilt_delivery_stops_at_the_gate_and_a_corrected_one_makes_the_day_green(shop: Shop, first_morning):
    shop.deliver(SPOILT, "units_times_100")
    run = shop.run(SPOILT)
    assert run.state == "failed"
    states = shop.states(run)
    assert [name for name, state in states.items() if state == "failed"] == ["gate_clean"]
    assert states["publish"] == states["load"] == "upstream_failed"
    gate = next(task for task in shop.airflow.tasks(run) if task.task_id == "gate_clean")
    assert gate.try_number == 1, "a failed gate is not retried"
    message = shop.errors(run)["gate_clean"]
    assert "sales.units in total" in message
    assert "What to do: " in message
    assert f"Evidence: {shop.settings.service_url}/reports/simulated/{SPOILT}/gate_clean/index.html" in message
    held = shop.published(SPOILT)
    assert set(held) == {"forecasts"}, "no orders are published"
    assert held["forecasts"]["of_day"] == DIRTY
    assert "gate_clean failed" in held["forecasts"]["reason"]

    assert shop.deliver(SPOILT)["sequence"] == 2
    assert shop.clear(run, ["ingest"], downstream=True).state == "success"
    published = shop.published(SPOILT)
    assert set(published) == {"forecasts", "orders"}
    assert {row["of_day"] for row in published.values()} == {SPOILT}


def test_without_a_delivery_the_run_goes_on_degraded_and_says_so_on_every_row(shop: Shop, first_morning):
    run = shop.run(SILENT)
    assert run.state == "success"
    assert shop.states(run)["wait_for_delivery"] == "skipped"
    assert set(shop.rows(tables.FORECASTS, SILENT)["mode"]) == {"degraded"}
    assert set(shop.rows(tables.ORDERS, SILENT)["mode"]) == {"degraded"}
    assert {row["mode"] for row in shop.published(SILENT).values()} == {"degraded"}
    warned = shop.rows(tables.VERDICTS, SILENT).filter(~pl.col("passed") & (pl.col("severity") == "warn"))
    assert {"clean", "forecast"} <= set(warned["gate"])


def test_a_newly_trained_model_is_used_from_its_day_on_and_not_before(shop: Shop, first_morning):
    assert shop.run(SILENT, kind="training").state == "success"
    (new,) = shop.rows(tables.MODELS, SILENT)["model"]
    assert shop.run(SILENT).state == shop.run(SPOILT).state == "success"
    assert set(shop.rows(tables.FORECASTS, SILENT)["model"]) == {new}
    assert set(shop.rows(tables.FORECASTS, SPOILT)["model"]) == set(shop.rows(tables.MODELS, FIRST)["model"])


def test_a_definition_with_a_typo_is_one_import_error_and_harms_nobody_else(shop: Shop, first_morning):
    corner = shop.settings.retailers / "corner.yaml"
    corner.write_text("title: Corner shop\ntime_zone: Europe/Berlin\nhorizn: 3\n", encoding="utf-8")
    try:
        errors = wait_for(shop.airflow.import_errors)
        assert len(errors) == 1
        assert f"{corner}:3: horizn: there is no such key; did you mean `horizon`? Allowed: name" in errors[0]
        for dag_id in ("daily__simulated", "daily__m5", "training__freshretailnet"):
            shop.airflow.wait_for_dag(dag_id, seconds=0)
    finally:
        corner.unlink()


def wait_for(look, seconds: float = 60.0):
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline
        time.sleep(0.5)
    return found
