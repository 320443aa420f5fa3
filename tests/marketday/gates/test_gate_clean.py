"""The gate after cleaning: what passes, warns and fails, and what is left behind when it does."""

import socket

import polars as pl
import pytest
from gate_cases import (
    BEFORE,
    DAY,
    HISTORY,
    ORIGIN,
    PAIRS,
    PUBLISHED,
    STORES,
    TODAYS,
    publications,
    unmet,
    verdicts,
)

from marketday.calls import Call
from marketday.errors import GateFailed, StepError
from marketday.steps.execution import execute

MISSING = "sales.location_id missing"


def ingested(**rows: int) -> pl.DataFrame:
    delivery = {"delivery": "d", "sequence": 1, "kind": "daily", "sha256": "00"}
    return pl.DataFrame([{**delivery, "table": table, "rows": number} for table, number in rows.items()])


def test_an_ordinary_delivery_passes_with_every_verdict_and_a_page(write, gate, page, warehouse) -> None:
    write(BEFORE, sales=HISTORY)
    write(staged_sales=TODAYS)
    result = gate("gate_clean")
    assert unmet(warehouse) == {}
    assert verdicts(warehouse)["sales.units in total"]["observed"] == "1"
    assert {row["block"] for row in verdicts(warehouse).values()} == {"gate_clean"}
    assert "passed" in page(result.links["Data Docs"])
    assert publications(warehouse) == []


def test_a_hundredfold_delivery_fails_after_its_evidence_is_written(write, gate, page, warehouse) -> None:
    write(BEFORE, sales=HISTORY, publications=PUBLISHED)
    write(staged_sales=TODAYS.with_columns(pl.col("units") * 100))
    with pytest.raises(GateFailed) as raised:
        gate("gate_clean")
    assert raised.value.message.startswith("gate_clean failed: ")
    assert "sales.units in total (2025-03-09: 100)" in raised.value.message
    assert "between 0.25 and 4 times" in raised.value.message
    assert "clear the run from `ingest` on" in raised.value.hint
    assert raised.value.evidence.endswith("/reports/simulated/2025-03-10/gate_clean/index.html")
    assert "2025-03-09: 100" in page(raised.value.evidence)
    assert unmet(warehouse) == {
        "sales.units in total": "fail",
        "sales.units, locations outside": "fail",
        "sales.units per location": "warn",
    }


def test_when_a_gate_fails_the_last_published_forecast_stays_in_force_without_orders(write, gate, warehouse) -> None:
    write(BEFORE, sales=HISTORY, publications=PUBLISHED)
    write(staged_sales=TODAYS.with_columns(pl.col("units") * 100))
    with pytest.raises(GateFailed):
        gate("gate_clean")
    (held,) = publications(warehouse)
    assert held.pop("reason").startswith("gate_clean failed: sales.units in total")
    expected = {**PUBLISHED.row(0, named=True), "run_day": DAY}
    del expected["reason"]
    assert held == expected


def test_before_anything_was_published_a_failure_publishes_nothing(write, gate, warehouse) -> None:
    write(BEFORE, sales=HISTORY)
    write(staged_sales=TODAYS.with_columns(pl.col("units") * 100))
    with pytest.raises(GateFailed):
        gate("gate_clean")
    assert publications(warehouse) == []


def test_one_unusual_location_is_a_warning_and_the_run_goes_on(write, gate, warehouse) -> None:
    write(BEFORE, sales=HISTORY)
    write(staged_sales=_where("store_1", units=pl.col("units") * 10))
    gate("gate_clean")
    assert unmet(warehouse) == {"sales.units per location": "warn"}
    assert verdicts(warehouse)["sales.units per location"]["observed"] == "store_1: 10 (1 of 6)"


def test_more_than_a_third_of_the_locations_outside_fails_although_the_total_is_right(write, gate, warehouse) -> None:
    write(BEFORE, sales=HISTORY)
    write(staged_sales=_where("store_1", "store_2", "store_3", units=pl.col("units") / 10))
    with pytest.raises(GateFailed, match=r"locations outside \(2025-03-09: 0.5\)"):
        gate("gate_clean")
    assert unmet(warehouse) == {"sales.units, locations outside": "fail", "sales.units per location": "warn"}


def test_too_few_reporting_locations_fail(write, gate, warehouse) -> None:
    write(BEFORE, sales=HISTORY)
    write(staged_sales=TODAYS.filter(pl.col("location_id").is_in(STORES[:2])))
    with pytest.raises(GateFailed, match=r"reporting \(2025-03-09: 0.333\)"):
        gate("gate_clean")


def test_one_location_that_does_not_report_is_a_warning(write, gate, warehouse) -> None:
    write(BEFORE, sales=HISTORY)
    write(staged_sales=TODAYS.filter(pl.col("location_id") != STORES[2]))
    gate("gate_clean")
    assert unmet(warehouse) == {"sales.location_id missing": "warn"}
    assert verdicts(warehouse)["sales.location_id missing"]["observed"] == "store_3: 1 (1 of 6)"
    assert verdicts(warehouse)["sales.location_id missing"]["code"] == "missing_locations"


@pytest.mark.parametrize(("rows", "severities"), [(10_000, {"sales, end": "fail"}), (9_999, {MISSING: "warn"})])
def test_without_the_last_location_a_round_number_of_rows_is_a_cut_table(
    write, gate, warehouse, rows: int, severities: dict[str, str]
) -> None:
    write(BEFORE, sales=HISTORY)
    write(staged_sales=TODAYS.filter(pl.col("location_id") < STORES[5]), ingested=ingested(sales=rows))
    if rows == 10_000:
        with pytest.raises(GateFailed, match=r"sales, end \(sales, up to store_5: 1\)"):
            gate("gate_clean")
    else:
        gate("gate_clean")
    assert unmet(warehouse) == severities


def test_a_table_that_ends_within_a_location_is_a_cut_table_whatever_its_rows(write, gate, warehouse) -> None:
    write(BEFORE, sales=HISTORY)
    write(staged_sales=TODAYS.sort("location_id", "product_id").head(9), ingested=ingested(sales=9))
    with pytest.raises(GateFailed, match="sales, up to store_5"):
        gate("gate_clean")
    assert unmet(warehouse) == {"sales, end": "fail"}


def test_a_stock_table_of_a_round_number_of_rows_that_ends_before_the_sales_is_cut(write, gate, warehouse) -> None:
    stock = TODAYS.drop("units").with_columns(on_hand=pl.lit(5.0))
    write(BEFORE, sales=HISTORY)
    write(staged_sales=TODAYS, staged_stock=stock.head(8), ingested=ingested(sales=12, stock=65_536))
    with pytest.raises(GateFailed, match="stock, end"):
        gate("gate_clean")
    assert unmet(warehouse) == {"stock, end": "fail"}


def test_what_only_warns_is_a_verdict_with_its_rows(write, gate, warehouse) -> None:
    notice = {"table": "sales", "reason": "decimal_comma", "rows": 7, "example": "read with a decimal point: units=1,5"}
    write(BEFORE, sales=HISTORY)
    write(staged_sales=TODAYS, notices=pl.DataFrame([notice]))
    gate("gate_clean")
    assert unmet(warehouse) == {"accepted rows, decimal_comma": "warn"}
    assert verdicts(warehouse)["accepted rows, decimal_comma"]["observed"] == "sales: 7 (1 of 6)"


def test_a_retailer_may_leave_a_check_out_or_be_warned_only(write, gate, warehouse, settings, tmp_path) -> None:
    definition = (settings.retailers / "simulated.yaml").read_text()
    (tmp_path / "simulated.yaml").write_text(
        f"{definition}checks:\n  {{left_out: [no_history], severity: {{volume: warn}}}}\n"
    )
    lenient = settings.model_copy(update={"retailers": tmp_path})
    write(BEFORE, sales=HISTORY)
    write(staged_sales=TODAYS.with_columns(pl.col("units") * 100))
    execute(Call(step="gate_clean", retailer="simulated", day=DAY), lenient)
    assert set(unmet(warehouse).values()) == {"warn"}
    assert "sales.units history" not in verdicts(warehouse)


def test_closed_locations_are_not_missed(write, gate, warehouse) -> None:
    closed = [{"location_id": store, "day": ORIGIN, "name": "Fair", "kind": "closed"} for store in STORES[2:]]
    write(BEFORE, sales=HISTORY, events=pl.DataFrame(closed))
    write(staged_sales=TODAYS.filter(pl.col("location_id").is_in(STORES[:2])))
    gate("gate_clean")
    assert unmet(warehouse) == {}


def test_too_many_refused_rows_fail(write, gate, warehouse) -> None:
    write(BEFORE, sales=HISTORY)
    refused = {"table": "sales", "row": 99, "reason": "missing", "message": "units is missing", "content": "{}"}
    write(staged_sales=TODAYS, quarantine=pl.DataFrame([refused]))
    with pytest.raises(GateFailed, match=r"delivered rows \(sales: 0.0769 \(1 of 1\)\)"):
        gate("gate_clean")


def test_no_delivery_is_a_warning_so_that_the_run_goes_on(write, gate, warehouse) -> None:
    write(BEFORE, sales=HISTORY)
    gate("gate_clean")
    assert unmet(warehouse) == {"sales": "warn"}
    assert "degraded" in verdicts(warehouse)["sales"]["advice"]


def test_the_first_history_is_judged_by_its_own_weeks(write, gate, warehouse) -> None:
    write(staged_sales=pl.concat([HISTORY, TODAYS.with_columns(pl.col("units") * 100)]))
    with pytest.raises(GateFailed, match=r"in total \(2025-03-09: 100 \(1 of 8\)\)"):
        gate("gate_clean")


def test_without_history_volumes_are_not_judged_and_that_is_a_warning(write, gate, warehouse) -> None:
    write(staged_sales=TODAYS)
    gate("gate_clean")
    assert unmet(warehouse) == {"sales.units history": "warn"}
    assert verdicts(warehouse)["sales.units in total"]["observed"] == "nothing to compare"


def test_a_correction_of_a_few_rows_is_judged_with_the_rest_of_its_day(write, gate, warehouse) -> None:
    write(BEFORE, sales=HISTORY)
    corrected = HISTORY.filter(pl.col("day") == pl.col("day").max()).head(1)
    write(staged_sales=pl.concat([TODAYS, corrected]))
    gate("gate_clean")
    assert unmet(warehouse) == {}


def test_prices_in_another_currency_are_a_warning(write, gate, warehouse) -> None:
    prices = PAIRS.with_columns(day=pl.lit(DAY), price=pl.lit(2.0))
    write(BEFORE, sales=HISTORY, prices=prices.with_columns(pl.col("day") - pl.duration(days=30)))
    write(staged_sales=TODAYS, staged_prices=prices.with_columns(pl.col("price") * 100))
    gate("gate_clean")
    assert unmet(warehouse) == {"prices.price median change": "warn"}


def test_the_same_run_leaves_the_same_verdicts(write, gate, warehouse) -> None:
    write(BEFORE, sales=HISTORY)
    write(staged_sales=_where("store_1", units=pl.col("units") * 10))
    assert gate("gate_clean").hashes == gate("gate_clean").hashes


def test_a_page_loads_nothing_and_runs_nothing_that_was_delivered(write, gate, page, monkeypatch) -> None:
    evil = "<script>alert(1)</script>"
    both = [frame.with_columns(pl.col("location_id").replace("store_1", evil)) for frame in (HISTORY, TODAYS)]
    write(BEFORE, sales=both[0])
    write(
        staged_sales=both[1].with_columns(
            pl.when(pl.col("location_id") == evil).then(99.0).otherwise("units").alias("units")
        )
    )
    monkeypatch.setattr(socket, "getaddrinfo", _no_network)
    text = page(gate("gate_clean").links["Data Docs"])
    assert "&lt;script&gt;alert(1)" in text
    assert "<script" not in text
    assert "<link" not in text
    assert 'src="http' not in text


def _no_network(*args: object, **kwargs: object) -> None:
    raise AssertionError(f"a gate looked up {args[0]}")


def _where(*stores: str, **columns: pl.Expr) -> pl.DataFrame:
    at = pl.col("location_id").is_in(stores)
    return TODAYS.with_columns(
        pl.when(at).then(value).otherwise(pl.col(name)).alias(name) for name, value in columns.items()
    )


def test_an_expectation_that_cannot_be_evaluated_is_an_error_not_a_verdict() -> None:
    import great_expectations.expectations as gxe

    from marketday import gates

    words = {"severity": "fail", "expected": "x", "advice": "y"}
    wrong = gates.expect(gxe.ExpectColumnValuesToBeBetween, "x", column="absent", max_value=1, **words)
    with pytest.raises(StepError, match="on absent of the summary days could not be evaluated"):
        gates.run_gate("clean", {"days": pl.DataFrame({"day": ["a"]})}, {"days": [wrong]}, retailer="r", day=DAY)
