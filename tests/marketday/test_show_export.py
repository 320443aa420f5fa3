"""What `show`, `export` and `status` promise: what is in force, exactly, and why if it is not today's."""

import datetime as dt
from pathlib import Path

import polars as pl
import pytest
import typer
from typer.testing import CliRunner

from marketday.cli.console import ReadableErrors
from marketday.cli.export import export
from marketday.cli.show import show
from marketday.cli.status import status
from marketday.tables import FORECASTS, ORDERS, PRODUCTS, PUBLICATIONS, QUARANTINE, RUNS, SALES, STOCK
from marketday.warehouse import Warehouse, known_at

DAY = dt.date(2025, 3, 31)
NEXT = dt.date(2025, 4, 1)
NAME = "simulated"
COLUMNS = [
    *("location_id", "product_id", "day", "horizon", "mean", "dispersion", "zero_share"),
    *("q005", "q025", "q165", "q250", "q500", "q750", "q835", "q975", "q995"),
    *("model", "mode"),
]

app = typer.Typer(cls=ReadableErrors)
for command in (show, export, status):
    app.command()(command)


def marketday(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, [str(a) for a in arguments], env={"COLUMNS": "160"})
    assert result.exit_code == code, result.output
    return result.output


def series(product: str, days: list[dt.date]) -> pl.DataFrame:
    return pl.DataFrame({"location_id": "store_01", "product_id": product, "day": days})


def forecasts(mean: float) -> pl.DataFrame:
    """Two products from the day before the business day (a gap day) to a week ahead."""
    days = [DAY + dt.timedelta(days=n) for n in range(-1, 7)]
    return pl.concat([series("milk", days), series("tea", days)]).with_columns(
        horizon=(pl.col("day") - DAY).dt.total_days() + 1,
        mean=pl.lit(mean),
        dispersion=pl.lit(0.3),
        zero_share=pl.lit(0.1),
        common_dispersion=pl.lit(0.05),
        family=pl.lit("negative_binomial"),
        model=pl.lit("lightgbm@1"),
        mode=pl.lit("degraded"),
    )


def orders(packs: int) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "location_id": ["store_01"],
            "product_id": ["milk"],
            "supplier_id": ["dairy"],
            "arrives": [NEXT],
            "covers_until": [NEXT],
            "expected_demand": [8.0],
            "target": [12.0],
            "on_hand": [0.0],
            "on_order": [0.0],
            "stock_day": [DAY],
            "packs": [packs],
            "quantity": [packs * 6.0],
            "value": [packs * 3.0],
            "mode": ["degraded"],
        }
    )


@pytest.fixture
def published(run_step, warehouse: Warehouse) -> Warehouse:
    """A published day whose tables were changed afterwards, so that only the published version has mean 4."""
    outputs = run_step("publish", DAY, {"forecasts": forecasts(4.0), "orders": orders(7)})
    warehouse.write(NAME, PUBLICATIONS, outputs.tables["publications"], run_day=DAY)
    warehouse.write(NAME, FORECASTS, forecasts(99.0), run_day=DAY)
    warehouse.write(NAME, ORDERS, orders(99), run_day=DAY)
    before = [DAY - dt.timedelta(days=n) for n in range(2, 20)]
    sales = series("milk", before).with_columns(units=pl.lit(4.0))
    warehouse.write(NAME, SALES, sales, run_day=DAY)
    stock = sales.drop("units").with_columns(
        on_hand=pl.lit(1.0), on_order=pl.lit(0.0), stockout_share=pl.lit(None, pl.Float64)
    )
    warehouse.write(NAME, STOCK, stock, run_day=DAY)
    product = {"product_id": "milk", "name": "Whole milk", "category": "food", "department": "dairy", "unit": "pieces"}
    empty = dict.fromkeys(("supplier_id", "launched", "delisted", "shelf_life"))
    warehouse.write(NAME, PRODUCTS, pl.DataFrame([product | empty]), run_day=DAY)
    return warehouse


def test_exported_forecasts_have_exactly_these_columns_from_horizon_1_on(published: Warehouse, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "forecasts.parquet"
    assert "14 rows of forecasts" in marketday("export", "forecasts", NAME, "--day", DAY, "--out", out)
    rows = pl.read_parquet(out)
    assert rows.columns == COLUMNS
    assert rows["horizon"].min() == 1
    assert set(rows["mean"]) == {4.0}, "the published version, not the table's latest"
    quantiles = rows.select(pl.concat_list(pl.col("^q[0-9]{3}$")).alias("levels"))["levels"]
    assert all(list(levels) == sorted(levels) for levels in quantiles)
    assert [path.name for path in out.parent.iterdir()] == ["forecasts.parquet"]


def test_orders_can_be_exported_as_csv(published: Warehouse, tmp_path: Path) -> None:
    out = tmp_path / "orders.csv"
    marketday("export", "orders", NAME, "--out", out)
    rows = pl.read_csv(out)
    assert rows.columns == ORDERS.delivered_schema.names
    assert rows["packs"].to_list() == [7]


def test_the_quarantine_of_a_day_can_be_exported(published: Warehouse, tmp_path: Path) -> None:
    row = {"table": "sales", "row": 3, "reason": "negative", "message": "units is -1", "content": "{}"}
    published.write(NAME, QUARANTINE, pl.DataFrame([row]), run_day=DAY)
    out = tmp_path / "quarantine.csv"
    marketday("export", "quarantine", NAME, "--day", DAY, "--out", out)
    assert pl.read_csv(out).rows(named=True) == [row]


@pytest.mark.parametrize(("what", "name"), [("forecasts", "f.xlsx"), ("features", "f.csv")])
def test_a_file_that_cannot_hold_it_is_refused(published: Warehouse, tmp_path: Path, what: str, name: str) -> None:
    marketday("export", what, NAME, "--out", tmp_path / name, code=2)
    assert list(tmp_path.glob("*.*sv*")) == []


def test_what_was_in_force_can_be_looked_back_at(published: Warehouse, run_step, tmp_path: Path) -> None:
    before = published.version(NAME, PUBLICATIONS)
    outputs = run_step("publish", DAY, {})
    published.write(NAME, PUBLICATIONS, outputs.tables["publications"], run_day=DAY)
    entries = known_at.entries(published, NAME, PUBLICATIONS, range(before, before + 2))
    moment = entries[-1].at - dt.timedelta(milliseconds=1)
    out = tmp_path / "orders.csv"
    for as_of, packs in (((), 99), (("--as-of", moment.isoformat()), 7), (("--as-of", entries[-1].at.isoformat()), 99)):
        marketday("export", "orders", NAME, "--out", out, *as_of)
        assert pl.read_csv(out)["packs"].to_list() == [packs]
    assert "7 packs worth" in marketday("show", NAME, "--as-of", before, "--chart", tmp_path / "then.svg")
    assert "99 packs worth" in marketday("show", NAME, "--chart", tmp_path / "now.svg")


def test_any_table_can_be_exported_at_any_version_as_made_or_as_known(published: Warehouse, tmp_path: Path) -> None:
    out, before = tmp_path / "rows.parquet", published.version(NAME, SALES)
    corrected = series("milk", [DAY - dt.timedelta(days=2)]).with_columns(units=pl.lit(9.0))
    published.write(NAME, SALES, corrected, run_day=NEXT)

    def sold(*arguments: object) -> float:
        marketday("export", "sales", NAME, "--out", out, *arguments)
        rows = pl.read_parquet(out)
        assert rows.columns == SALES.delivered_schema.names
        return rows["units"].sum()

    assert (sold(), sold("--day", DAY), sold("--as-of", before)) == (18 * 4.0 + 5.0, 18 * 4.0, 18 * 4.0)
    latest = published.version(NAME, FORECASTS)
    marketday("export", "forecasts", NAME, "--out", out, "--as-of", latest)
    assert set(pl.read_parquet(out)["mean"]) == {99.0}, "a version is one of the table itself, published or not"
    assert "There is no table 'salse'" in marketday("export", "salse", NAME, "--out", out, code=1)
    assert "neither a version" in marketday("export", "sales", NAME, "--out", out, "--as-of", "then", code=1)


def test_what_was_never_published_says_what_to_do(settings, tmp_path: Path) -> None:
    marketday("export", "forecasts", NAME, "--out", tmp_path / "f.parquet", code=1)
    assert not (tmp_path / "f.parquet").exists()


@pytest.mark.parametrize("what", ["features", "quarantine"])
def test_a_retailer_that_is_not_defined_has_nothing_to_export(settings, tmp_path: Path, what: str) -> None:
    out = tmp_path / "f.parquet"
    assert "There is no retailer 'nobody'" in marketday("export", what, "nobody", "--out", out, code=1)
    assert not out.exists()


def test_the_summary_shows_demand_orders_and_a_chart(published: Warehouse, settings) -> None:
    output = marketday("show", NAME)
    assert "business day 2025-03-31: degraded" in output
    assert "7 packs worth 21.00 in all" in output
    chart = settings.reports_path / NAME / "2025-03-31" / "forecast-total.svg"
    assert str(chart) in output
    assert chart.read_text().startswith("<svg")


def test_one_series_is_shown_with_its_quantiles_and_its_fan_chart(published: Warehouse, tmp_path: Path) -> None:
    chart = tmp_path / "fan.svg"
    output = marketday("show", NAME, "--location", "store_01", "--product", "milk", "--chart", chart)
    assert "Mon 03-31" in output
    assert "97.5 %" in output
    svg = chart.read_text()
    assert "Whole milk in store_01, forecast of 2025-03-31 (degraded)" in svg
    assert "pieces per day" in svg


def test_a_location_without_a_product_is_refused(published: Warehouse) -> None:
    marketday("show", NAME, "--location", "store_01", code=2)
    marketday("show", NAME, "--location", "store_01", "--product", "unknown", code=1)


def test_a_day_that_a_gate_stopped_shows_what_is_still_in_force_and_why(published: Warehouse) -> None:
    held = published.scan(NAME, PUBLICATIONS).filter(pl.col("table") == "forecasts").drop("run_day").collect()
    reason = "gate_forecast failed: forecasts.mean [x]"
    published.write(NAME, PUBLICATIONS, held.with_columns(reason=pl.lit(reason)), run_day=NEXT)
    output = marketday("show", NAME, "--day", NEXT)
    assert f"of 2025-03-31 still in force: {reason}" in output
    assert "Order proposals" not in output
    assert reason in marketday("status", NAME)


def test_status_names_what_is_in_force_what_failed_and_what_was_refused(published: Warehouse) -> None:
    run = {
        "step": "gate_orders@1",
        "state": "failed",
        "key": "k",
        **dict.fromkeys(("call", "definition", "inputs", "outputs", "written"), "{}"),
        "release": "marketday 0.1.0",
        "message": "too many packs\nmore",
        "started": dt.datetime(2025, 3, 31, 4, 5, tzinfo=dt.UTC),
        "seconds": 2.0,
        "block": "gate_orders",
    }
    published.write(NAME, RUNS, pl.DataFrame([run]), run_day=DAY, block="gate_orders")
    refused = [{"table": "sales", "row": n, "reason": "r", "message": "m", "content": "{}"} for n in range(3)]
    published.write(NAME, QUARANTINE, pl.DataFrame(refused), run_day=DAY)
    output = marketday("status")
    assert "forecasts of 2025-03-31: degraded, 16 rows, version 1" in output
    assert "gate_orders failed at 04:05 UTC: too many packs\n" in output
    assert "3 rows of sales" in output
    assert "is not published; due by 06:30" in output
    assert "Walmart (M5)" in output
    assert "nothing is published yet" in output
