"""What calibration promises: it corrects what past mornings got wrong, within bounds, and from nothing else."""

import datetime as dt
from collections import defaultdict

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marketday import calibration, steps
from marketday.errors import StepError
from marketday.retailers import Calibration, Retailer
from marketday.steps import Outputs
from marketday.tables import CALIBRATION, FEATURES, FORECASTS
from marketday.warehouse import conform, content_hash, empty

DAY = dt.date(2025, 3, 31)
HORIZON = 14


def days(first: int, last: int) -> list[dt.date]:
    return [DAY + dt.timedelta(days=n) for n in range(first, last + 1)]


def predicted(run_day: dt.date, mean: float, *, product: str = "milk", model: str = "gbm@1", mode: str = "fresh"):
    ahead = range(HORIZON)
    return pl.DataFrame(
        {
            "location_id": "store_01",
            "product_id": product,
            "day": [run_day + dt.timedelta(days=n) for n in ahead],
            "horizon": [n + 1 for n in ahead],
            "mean": float(mean),
            "dispersion": 0.25,
            "zero_share": 0.1,
            "common_dispersion": 0.05,
            "family": "negative_binomial",
            "model": model,
            "mode": mode,
            "block": "000",
            "run_day": run_day,
        }
    )


def features(predictions: pl.DataFrame) -> pl.DataFrame:
    """Return the features that the predictions were made from, as far as calibration looks at them."""
    given = predictions.select("location_id", "product_id", "day", "horizon", "block", "run_day")
    nullable = {field.name for field in FEATURES.schema if field.nullable}
    return given.with_columns(
        pl.lit(None if name in nullable else "x" if dtype == pl.String else 1).cast(dtype).alias(name)
        for name, dtype in empty(FEATURES).schema.items()
        if name not in given.columns
    )


@pytest.fixture
def calibrate(run_step):
    """Run the step on predictions, on their own features unless others are given, and on other tables by name."""

    def run(predictions: pl.DataFrame | None = None, *, due: pl.DataFrame | None = None, retailer=None, **tables):
        if predictions is not None:
            tables |= {"predictions": predictions, "features": features(predictions if due is None else due)}
        return run_step("calibrate", DAY, tables, **({"retailer": retailer} if retailer else {}))

    return run


def sold(units: float, on: list[dt.date], *, product: str = "milk", location: str = "store_01") -> pl.DataFrame:
    return pl.DataFrame({"location_id": location, "product_id": product, "day": on, "units": float(units)})


def mornings(first: int, last: int, mean: float, **kwargs: str) -> list[pl.DataFrame]:
    return [predicted(day, mean, **kwargs) for day in days(first, last)]


def factors(outputs: Outputs) -> dict[str, float]:
    return dict(outputs.tables["calibration"].select("segment", "factor").iter_rows())


def test_the_recent_bias_of_a_segment_is_taken_out_of_the_mean_and_nothing_else(calibrate) -> None:
    given = pl.concat([*mornings(-28, -1, 10.0), predicted(DAY, 10.0)])
    outputs = calibrate(given, sales=sold(11.0, days(-28, -1)))
    (row,) = outputs.tables["calibration"].rows(named=True)
    assert row["segment"] == "fast|store_01|gbm"
    assert (row["observations"], row["actual"], row["predicted"]) == (28, 308.0, 280.0)
    assert row["raw_factor"] == pytest.approx(1.1)
    assert row["factor"] == pytest.approx((308 + 200) / (280 + 200))
    forecasts = conform(outputs.tables["forecasts"], FORECASTS, DAY)
    assert forecasts["mean"].to_list() == pytest.approx([10.0 * row["factor"]] * HORIZON)
    assert set(forecasts.select("dispersion", "zero_share", "common_dispersion").rows()) == {(0.25, 0.1, 0.05)}
    assert outputs.facts["data_until"] == "2025-03-30"


def test_without_history_every_factor_is_1(calibrate) -> None:
    outputs = calibrate(predicted(DAY, 3.0), sales=sold(9.0, days(-28, -1)))
    assert factors(outputs) == {"medium|store_01|gbm": 1.0}
    (row,) = outputs.tables["calibration"].rows(named=True)
    assert (row["observations"], row["raw_factor"]) == (0, None)
    assert outputs.tables["forecasts"]["mean"].to_list() == [3.0] * HORIZON


def test_past_fallback_predictions_do_not_correct_the_model(calibrate) -> None:
    wrong = mornings(-28, -1, 40.0, model="seasonal@1", mode="fallback")
    given = pl.concat([*wrong, predicted(DAY, 10.0)])
    outputs = calibrate(given, sales=sold(10.0, days(-28, -1)))
    assert factors(outputs) == {"fast|store_01|gbm": 1.0}


def test_days_on_which_stock_ran_out_are_not_compared(calibrate) -> None:
    given = pl.concat([*mornings(-28, -1, 10.0), predicted(DAY, 10.0)])
    sales = pl.concat([sold(10.0, days(-28, -11)), sold(1.0, days(-10, -1))])
    stock = sales.select("location_id", "product_id", "day").with_columns(
        on_hand=0.0, on_order=0.0, stockout_share=pl.Series([0.0] * 9 + [None] * 9 + [0.5] * 10)
    )
    outputs = calibrate(given, sales=sales, stock=stock)
    assert outputs.facts["observations"] == 18
    assert factors(outputs) == {"fast|store_01|gbm": 1.0}


def test_nothing_after_the_origin_and_no_later_morning_is_looked_at(calibrate) -> None:
    given = pl.concat([*mornings(-28, -1, 10.0), predicted(DAY, 10.0)])
    later = pl.concat([*mornings(1, 5, 99.0)])
    before = calibrate(given, sales=sold(11.0, days(-28, -1)))
    corrected = sold(500.0, days(-28, 4)).with_columns(run_day=pl.lit(DAY + dt.timedelta(days=5)))
    after = calibrate(later, sales=corrected)
    assert before.tables["calibration"].equals(after.tables["calibration"])
    assert before.tables["forecasts"].equals(after.tables["forecasts"])


def test_a_missing_sales_row_is_zero_only_where_the_retailer_says_so_and_the_location_reports(
    calibrate, simulated: Retailer
) -> None:
    given = pl.concat([*mornings(-28, -1, 10.0), predicted(DAY, 10.0)])
    other = sold(5.0, days(-14, -1), product="tea")
    missing = calibrate(given, sales=pl.concat([sold(10.0, days(-28, -15)), other]))
    zero = calibrate(retailer=simulated.model_copy(update={"absent_sales": "zero"}))
    assert (missing.facts["observations"], zero.facts["observations"]) == (14, 28)
    assert zero.tables["calibration"]["actual"].to_list() == [140.0]


def test_without_predictions_the_step_says_what_to_run(calibrate) -> None:
    with pytest.raises(StepError, match="no predictions of 2025-03-31") as caught:
        calibrate(sales=sold(1.0, days(-3, -1)))
    assert "predict" in caught.value.hint


def in_block(predictions: pl.DataFrame, block: str) -> pl.DataFrame:
    return predictions.with_columns(block=pl.lit(block))


def test_locations_that_a_corrected_delivery_took_away_are_not_forecast(calibrate) -> None:
    gone = in_block(predicted(DAY, 9.0).with_columns(location_id=pl.lit("store_02")), "001")
    outputs = calibrate(pl.concat([predicted(DAY, 3.0), gone]), due=predicted(DAY, 3.0), sales=sold(3.0, days(-28, -1)))
    assert factors(outputs) == {"medium|store_01|gbm": 1.0}
    assert set(outputs.tables["forecasts"]["location_id"]) == {"store_01"}


def test_a_series_that_other_blocks_hold_now_is_forecast_once_from_its_block_of_today(calibrate) -> None:
    current = predicted(DAY, 3.0)
    left_over = in_block(predicted(DAY, 9.0), "001")
    outputs = calibrate(pl.concat([current, left_over]), due=current, sales=sold(3.0, days(-28, -1)))
    forecasts = conform(outputs.tables["forecasts"], FORECASTS, DAY)
    assert forecasts["mean"].to_list() == [3.0] * HORIZON


@pytest.mark.parametrize("model", ["gbm@1", "seasonal@1"])
def test_what_past_mornings_left_in_other_blocks_is_not_compared(calibrate, model: str) -> None:
    current = pl.concat([*mornings(-28, -1, 10.0), predicted(DAY, 10.0, model=model)])
    left_over = in_block(pl.concat(mornings(-28, -1, 40.0, model=model)), "001")
    expected = calibrate(current, sales=sold(10.0, days(-28, -1)))
    outputs = calibrate(pl.concat([current, left_over]), due=current, sales=sold(10.0, days(-28, -1)))
    assert outputs.tables["calibration"].equals(expected.tables["calibration"])


def slow_factors(predictions: pl.DataFrame, sales: pl.DataFrame, rules: Calibration) -> dict[str, float]:
    """Say it again, one row at a time."""
    units = {(r["location_id"], r["product_id"], r["day"]): r["units"] for r in sales.rows(named=True)}
    by_morning = defaultdict(list)
    for r in predictions.rows(named=True):
        by_morning[r["run_day"], r["location_id"], r["product_id"]].append(r)
    compared, wanted = defaultdict(list), set()
    for (run_day, location, product), rows in by_morning.items():
        velocity = np.mean([r["mean"] for r in rows])
        name = "slow" if velocity < 0.5 else "medium" if velocity < 5 else "fast"
        segment = f"{name}|{location}|{rows[0]['model'].split('@')[0]}"
        if run_day == DAY:
            wanted.add(segment)
            continue
        for r in rows:
            recent = DAY - dt.timedelta(days=rules.window_days) <= r["day"] < DAY
            if r["horizon"] <= 7 and recent and (location, product, r["day"]) in units:
                compared[segment, product, r["day"]].append(r["mean"])
    expected = {}
    for segment in wanted:
        cells = {k: v for k, v in compared.items() if k[0] == segment}
        mean = sum(np.mean(v) for v in cells.values())
        actual = sum(units[segment.split("|")[1], product, day] for _, product, day in cells)
        raw = (actual + rules.prior_units) / (mean + rules.prior_units)
        expected[segment] = min(max(raw, rules.lower), rules.upper)
    return expected


def test_it_agrees_with_the_slow_obvious_way(calibrate, simulated: Retailer) -> None:
    rng = np.random.default_rng(5)
    products = {"milk": 12.0, "tea": 2.0, "salt": 0.3, "rice": 5.0}
    made = [
        predicted(day, level * rng.uniform(0.7, 1.1), product=name)
        for name, level in products.items()
        for day in days(-40, 0)
    ]
    sales = pl.concat(
        sold(float(rng.poisson(level)), [day], product=name)
        for name, level in products.items()
        for day in days(-60, -1)
        if rng.random() < 0.9
    )
    rules = Calibration(prior_units=20.0)
    retailer = simulated.model_copy(update={"calibration": rules})
    outputs = calibrate(pl.concat(made), sales=sales, retailer=retailer)
    expected = slow_factors(pl.concat(made), sales, rules)
    assert len(expected) == 3
    assert factors(outputs) == pytest.approx(expected, rel=1e-6)
    again = calibrate(retailer=retailer)
    for table in (CALIBRATION, FORECASTS):
        first, second = (conform(o.tables[table.name], table, DAY) for o in (outputs, again))
        assert content_hash(first, table) == content_hash(second, table)


@settings(max_examples=50, deadline=None)
@given(
    actual=st.floats(0, 1e9),
    predicted_units=st.floats(0, 1e9),
    prior=st.floats(0, 1e6),
    observations=st.integers(0, 1000),
)
def test_a_factor_never_leaves_its_bounds(
    actual: float, predicted_units: float, prior: float, observations: int
) -> None:
    rules = Calibration(prior_units=prior)
    today = pl.DataFrame({"segment": ["fast|a|m", "slow|a|m"]})
    compared = pl.DataFrame(
        {"segment": ["fast|a|m"], "observations": [observations], "actual": [actual], "predicted": [predicted_units]},
        schema_overrides={"observations": pl.Int32},
    )
    made = calibration.factors(today, compared, rules)
    assert made["segment"].to_list() == ["fast|a|m", "slow|a|m"]
    assert made["factor"].is_between(rules.lower, rules.upper).all()
    assert made["factor"][1] == 1.0
    assert (made["raw_factor"][0] is None) == (predicted_units == 0)
    conform(made, CALIBRATION, DAY)


def test_the_step_declares_what_it_touches() -> None:
    step = steps.get("calibrate")
    assert [t.name for t in step.writes] == ["calibration", "forecasts"]
    assert (step.size, step.repeatable) == ("M", True)
