"""The gate after the forecast: complete, sound, plausible, and mostly not a fallback."""

from collections.abc import Callable

import polars as pl
import pytest
from gate_cases import (
    BEFORE,
    DAY,
    FORECASTS,
    HISTORY,
    PUBLISHED,
    TODAYS,
    publications,
    unmet,
    verdicts,
)

from marketday import tables
from marketday.calls import Result
from marketday.errors import GateFailed
from marketday.warehouse import empty

SEGMENTS = pl.DataFrame(
    {
        "segment": ["fast|store_1"],
        "observations": [9],
        "actual": [9.0],
        "predicted": [9.0],
        "raw_factor": [1.0],
        "factor": [1.0],
    }
)


def features(due: pl.DataFrame = FORECASTS) -> pl.DataFrame:
    given = due.select("location_id", "product_id", "day", "horizon")
    schema = {n: t for n, t in empty(tables.FEATURES).schema.items() if n not in ("run_day", *given.columns)}
    nullable = {f.name for f in tables.FEATURES.schema if f.nullable}
    return given.with_columns(
        pl.lit(None, t).alias(n) if n in nullable else pl.lit("x" if t == pl.String else 1).cast(t).alias(n)
        for n, t in schema.items()
    )


@pytest.fixture
def forecast(write, gate) -> Callable[..., Result]:
    def judge(
        forecasts: pl.DataFrame = FORECASTS,
        segments: pl.DataFrame = SEGMENTS,
        due: pl.DataFrame = FORECASTS,
        **inputs: int,
    ) -> Result:
        write(BEFORE, sales=HISTORY, publications=PUBLISHED)
        write(sales=TODAYS, features=features(due), forecasts=forecasts, calibration=segments)
        return gate("gate_forecast", **inputs)

    return judge


def test_a_complete_and_plausible_forecast_passes(forecast, warehouse) -> None:
    forecast()
    assert unmet(warehouse) == {}
    assert verdicts(warehouse)["forecasts.mean level"]["observed"] == "1"
    assert {row["gate"] for row in verdicts(warehouse).values()} == {"forecast"}


MILK = (pl.col("location_id") == "store_3") & (pl.col("product_id") == "milk")


@pytest.mark.parametrize("off_sale", [pl.col("horizon") > 5, pl.col("horizon") < 5], ids=["delisted", "launched"])
def test_a_product_that_is_delisted_or_launched_within_the_horizon_is_due_only_while_it_is_on_sale(
    forecast, warehouse, off_sale: pl.Expr
) -> None:
    on_sale = FORECASTS.filter(~(MILK & off_sale))
    forecast(on_sale, due=on_sale)
    assert unmet(warehouse) == {}


def test_one_row_short_of_the_days_on_sale_is_missing_and_one_beyond_them_is_surplus(forecast, warehouse) -> None:
    due = FORECASTS.filter(~(MILK & (pl.col("horizon") > 5)))
    shifted = FORECASTS.filter(~(MILK & ((pl.col("horizon") > 6) | (pl.col("horizon") == 2))))
    with pytest.raises(GateFailed):
        forecast(shifted, due=due)
    assert unmet(warehouse) == {"forecasts, missing rows": "fail", "forecasts, surplus rows": "fail"}
    assert verdicts(warehouse)["forecasts, missing rows"]["observed"] == "store_3: 1 (1 of 6)"
    assert verdicts(warehouse)["forecasts, surplus rows"]["observed"] == "store_3: 1 (1 of 6)"


def test_the_days_before_a_degraded_morning_are_neither_missing_nor_surplus(forecast, warehouse) -> None:
    day_before = FORECASTS.filter(horizon=1).with_columns(pl.col("horizon") - 1, pl.col("day").dt.offset_by("-1d"))
    forecast(FORECASTS, due=pl.concat([day_before, FORECASTS]))
    assert unmet(warehouse) == {}
    forecast(pl.concat([day_before, FORECASTS]), due=pl.concat([day_before, FORECASTS]))
    assert unmet(warehouse) == {}


def test_a_rerun_that_fails_leaves_what_is_published_of_the_day_in_force(forecast, write, warehouse) -> None:
    forecast()
    before = warehouse.version("simulated", tables.PUBLICATIONS)
    write(publications=PUBLISHED.with_columns(of_day=pl.lit(DAY)))
    published = publications(warehouse)
    with pytest.raises(GateFailed):
        forecast(FORECASTS.with_columns(mean=30.0), publications=before)
    assert unmet(warehouse) == {"forecasts.mean level": "fail"}
    assert publications(warehouse) == published
    assert {row["of_day"] for row in published} == {DAY}


def test_a_rerun_that_fails_again_holds_the_last_forecast_over_again(forecast, warehouse) -> None:
    for mean in (30.0, 1.0):
        with pytest.raises(GateFailed) as raised:
            forecast(FORECASTS.with_columns(mean=mean))
        (held,) = publications(warehouse)
        assert held["reason"] == raised.value.message.splitlines()[0]
        assert held["of_day"] == BEFORE


@pytest.mark.parametrize(
    ("change", "subject"),
    [
        (FORECASTS.filter((pl.col("location_id") != "store_3") | (pl.col("horizon") != 5)), "forecasts, missing rows"),
        (FORECASTS.filter(pl.col("location_id") != "store_3"), "forecasts, missing rows"),
        (FORECASTS.with_columns(mean=30.0), "forecasts.mean level"),
        (FORECASTS.with_columns(mean=1.0), "forecasts.mean level"),
        (
            FORECASTS.with_columns(mean=pl.when(horizon=3).then(float("nan")).otherwise("mean")),
            "forecasts.mean, unsound values",
        ),
        (
            FORECASTS.with_columns(mean=pl.when(horizon=3).then(-1.0).otherwise("mean")),
            "forecasts.mean, unsound values",
        ),
        (FORECASTS.with_columns(dispersion=float("inf")), "forecasts.dispersion, unsound values"),
        (FORECASTS.with_columns(zero_share=1.0), "forecasts.zero_share, unsound values"),
        (FORECASTS.with_columns(common_dispersion=-0.1), "forecasts.common_dispersion, unsound values"),
        (FORECASTS.clear(), "forecasts"),
    ],
)
def test_a_forecast_that_is_incomplete_or_unsound_fails_and_the_last_one_stays(
    forecast, warehouse, change: pl.DataFrame, subject: str
) -> None:
    with pytest.raises(GateFailed) as raised:
        forecast(change)
    assert unmet(warehouse)[subject] == "fail"
    assert subject in raised.value.message
    assert [row["of_day"] for row in publications(warehouse)] == [BEFORE]


def test_a_bias_factor_out_of_bounds_fails(forecast) -> None:
    with pytest.raises(GateFailed, match=r"calibration.factor \(fast\|store_1: 3\)"):
        forecast(segments=SEGMENTS.with_columns(factor=3.0))


@pytest.mark.parametrize("mode", ["fallback", "degraded"])
def test_a_forecast_that_is_mostly_stood_in_for_is_a_warning(forecast, warehouse, mode: str) -> None:
    forecast(FORECASTS.with_columns(mode=pl.lit(mode)))
    assert unmet(warehouse) == {f"forecasts.mode {mode}": "warn"}
