"""What publishing promises: one pointer, moved once, to rows that nobody can change unseen."""

import datetime as dt

import polars as pl
import pytest

from marketday import publishing
from marketday.errors import StepError
from marketday.retailers import Retailer
from marketday.tables import FORECASTS, ORDERS, PUBLICATIONS
from marketday.warehouse import Warehouse, content_hash

DAY = dt.date(2025, 3, 31)
NEXT = dt.date(2025, 4, 1)


def forecasts(mean: float = 4.0, *, modes: tuple[str, ...] = ("fresh", "fresh", "fresh")) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "location_id": "store_01",
            "product_id": "milk",
            "day": [DAY + dt.timedelta(days=n) for n in range(len(modes))],
            "horizon": range(1, len(modes) + 1),
            "mean": mean,
            "dispersion": 0.3,
            "zero_share": 0.0,
            "common_dispersion": 0.0,
            "family": "negative_binomial",
            "model": "lightgbm@1",
            "mode": modes,
        }
    )


def orders(packs: int = 2) -> pl.DataFrame:
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
            "mode": ["fresh"],
        }
    )


@pytest.fixture
def publish(run_step, warehouse: Warehouse, simulated: Retailer):
    """Publish a day as the morning does: the step, then its commit."""

    def run(day: dt.date = DAY, tables: dict[str, pl.DataFrame] | None = None, *, retailer: Retailer = simulated):
        outputs = run_step("publish", day, tables or {}, retailer=retailer)
        warehouse.write(retailer.name, PUBLICATIONS, outputs.tables["publications"], run_day=day)
        return outputs

    return run


def test_a_day_is_published_with_the_version_hash_and_worst_mode_of_each_table(publish, warehouse: Warehouse) -> None:
    given = forecasts(modes=("fresh", "fallback", "degraded"))
    outputs = publish(DAY, {"forecasts": given, "orders": orders()})
    rows = {r["table"]: r for r in outputs.tables["publications"].rows(named=True)}
    assert set(rows) == {"forecasts", "orders"}
    stored = warehouse.scan("simulated", FORECASTS).collect()
    assert rows["forecasts"] == {
        "table": "forecasts",
        "of_day": DAY,
        "reason": "",
        "version": warehouse.version("simulated", FORECASTS),
        "content_hash": content_hash(stored, FORECASTS),
        "rows": 3,
        "mode": "fallback",
    }
    assert outputs.facts["published"] == {name: row["content_hash"] for name, row in rows.items()}


def test_to_publish_again_changes_nothing_even_after_other_days_were_written(publish, warehouse: Warehouse) -> None:
    first = publish(DAY, {"forecasts": forecasts(), "orders": orders()})
    publish(NEXT, {"forecasts": forecasts(5.0), "orders": orders(3)})
    version = warehouse.version("simulated", PUBLICATIONS)
    second = publish(DAY)
    assert first.tables["publications"].equals(second.tables["publications"])
    assert warehouse.version("simulated", PUBLICATIONS) == version


def test_a_rerun_with_other_rows_moves_the_pointer(publish, run_step) -> None:
    first = publish(DAY, {"forecasts": forecasts(), "orders": orders()}).tables["publications"]
    second = publish(DAY, {"forecasts": forecasts(9.0)}).tables["publications"]
    changed = first["content_hash"] != second["content_hash"]
    assert dict(zip(second["table"], changed, strict=True)) == {"forecasts": True, "orders": False}
    assert second.filter(table="orders").equals(first.filter(table="orders"))
    assert run_step("verify", DAY, {}).facts["published"] == dict(second.select("table", "content_hash").rows())


def test_a_retailer_without_orders_publishes_forecasts_only(publish, simulated: Retailer) -> None:
    outputs = publish(DAY, {"forecasts": forecasts()}, retailer=simulated.model_copy(update={"orders": None}))
    assert outputs.tables["publications"]["table"].to_list() == ["forecasts"]


def test_nothing_is_published_without_a_forecast(publish) -> None:
    with pytest.raises(StepError, match="forecasts has no rows of 2025-03-31"):
        publish(DAY, {"orders": orders()})


def test_a_day_without_an_offer_publishes_its_forecasts_all_the_same(publish) -> None:
    outputs = publish(DAY, {"forecasts": forecasts()})
    assert outputs.tables["publications"]["table"].to_list() == ["forecasts"]


def test_what_a_gate_held_over_is_replaced_once_the_day_is_good(publish, warehouse: Warehouse) -> None:
    publish(DAY, {"forecasts": forecasts(), "orders": orders()})
    held = warehouse.scan("simulated", PUBLICATIONS).drop("run_day").collect()
    held = held.with_columns(reason=pl.lit("gate_forecast failed"))
    warehouse.write("simulated", PUBLICATIONS, held, run_day=NEXT)
    outputs = publish(NEXT, {"forecasts": forecasts(), "orders": orders()})
    assert outputs.tables["publications"].select("of_day", "reason").unique().rows() == [(NEXT, "")]


def test_in_force_is_the_latest_days_publication_and_stale_if_of_an_earlier_day(publish, warehouse: Warehouse) -> None:
    publish(DAY, {"forecasts": forecasts(), "orders": orders()})
    held = warehouse.scan("simulated", PUBLICATIONS).drop("run_day").collect().filter(table="forecasts")
    warehouse.write("simulated", PUBLICATIONS, held.with_columns(reason=pl.lit("stopped")), run_day=NEXT)
    publications = warehouse.scan("simulated", PUBLICATIONS).collect()

    def seen(day: dt.date) -> set[tuple[object, ...]]:
        return set(publishing.in_force(publications, day).select("table", "of_day", "reason", "stale").rows())

    assert publishing.in_force(publications, DAY - dt.timedelta(days=1)).is_empty()
    assert seen(DAY) == {("forecasts", DAY, "", False), ("orders", DAY, "", False)}
    assert seen(NEXT) == {("forecasts", DAY, "stopped", True)}, "a gate that stops the run stops the orders"
    assert seen(NEXT + dt.timedelta(days=9)) == {("forecasts", DAY, "stopped", True)}


def test_what_is_published_is_verified(publish, run_step) -> None:
    outputs = publish(DAY, {"forecasts": forecasts(), "orders": orders()})
    assert run_step("verify", DAY, {}).facts["published"] == outputs.facts["published"]


def test_an_edited_prediction_is_detected_and_the_published_rows_can_still_be_read(
    publish, run_step, warehouse: Warehouse
) -> None:
    publish(DAY, {"forecasts": forecasts(), "orders": orders()})
    edited = forecasts().with_columns(mean=pl.when(pl.col("horizon") == 2).then(99.0).otherwise(pl.col("mean")))
    warehouse.write("simulated", FORECASTS, edited, run_day=DAY)
    with pytest.raises(StepError, match="forecasts of 2025-03-31: 1 rows differ") as caught:
        run_step("verify", DAY, {})
    assert "as an input" in caught.value.hint
    assert caught.value.evidence == "store_01 milk 2025-04-01"
    _, rows = publishing.read(warehouse, "simulated", FORECASTS, DAY)
    assert rows["mean"].to_list() == [4.0] * 3


def test_removed_order_lines_are_counted_too(publish, run_step, warehouse: Warehouse) -> None:
    publish(DAY, {"forecasts": forecasts(), "orders": orders()})
    warehouse.write("simulated", ORDERS, orders().clear(), run_day=DAY)
    with pytest.raises(StepError, match="orders of 2025-03-31: 1 rows differ"):
        run_step("verify", DAY, {})


def test_a_version_that_does_not_hold_what_was_recorded_is_refused(publish, run_step, warehouse: Warehouse) -> None:
    outputs = publish(DAY, {"forecasts": forecasts(), "orders": orders()})
    forged = outputs.tables["publications"].with_columns(content_hash=pl.lit("0" * 64))
    warehouse.write("simulated", PUBLICATIONS, forged, run_day=DAY)
    with pytest.raises(StepError, match="behind the warehouse's back"):
        run_step("verify", DAY, {})


def test_a_day_that_is_not_published_cannot_be_verified(run_step) -> None:
    with pytest.raises(StepError, match="Nothing of 2025-03-31 is published"):
        run_step("verify", DAY, {})


def test_nothing_published_says_so(warehouse: Warehouse) -> None:
    with pytest.raises(StepError, match="No forecasts of simulated are in force on 2025-03-31"):
        publishing.read(warehouse, "simulated", FORECASTS, DAY)
