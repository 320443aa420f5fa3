"""Scores by hand, against the law of large numbers, and against an outside scorer where there is one."""

import datetime as dt
import importlib.util
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from marketday import settings
from marketday.adapters.m5 import M5
from marketday.backtest import scores
from marketday.backtest.rows import joined, revenue, scales
from marketday.distributions import QUANTILE_LEVELS, with_quantiles
from marketday.scoring import INTERVALS

ORIGIN = dt.date(2025, 3, 2)


def rows(actual: list[list[float]], mean: list[list[float]], **columns: list[object]) -> pl.DataFrame:
    """Rows of one system: series x days of what was sold, and of the mean, which is every quantile as well."""
    size, days = np.shape(actual)
    flat = np.ravel(mean).astype(float)
    series = {name: [value for value in values for _ in range(days)] for name, values in columns.items()}
    return pl.DataFrame(
        {
            "origin": [ORIGIN] * len(flat),
            "system": "model",
            "location_id": "north",
            "product_id": np.repeat([f"p{i}" for i in range(size)], days),
            "horizon": np.tile(np.arange(1, days + 1), size),
            "units": np.ravel(actual).astype(float),
            "mean": flat,
            **dict.fromkeys(QUANTILE_LEVELS, flat),
            "stockout_share": 0.0,
            "velocity": "fast",
            "category": "food",
            "promotion": "no promotion",
            "weekday": "Mon",
            "pit": 0.5,
            **series,
        },
        schema_overrides=dict.fromkeys(("squared", "absolute", "weight"), pl.Float64),
    )


def overall(scored: pl.DataFrame, which: str = scores.UNCENSORED) -> dict[str, object]:
    return scored.filter(by="all", rows=which).row(0, named=True)


# Series 0 changes by 2 and 3 before the origin, series 1 by 0, 2, 0 and 0, series 2 never sold.
SCALES = {"squared": [6.5, 1.0, None], "absolute": [2.5, 0.5, None], "weight": [3.0, 1.0, 0.0]}
ACTUAL = [[2, 4], [3, 3], [0, 0]]
MEAN = [[3, 3], [1, 3], [0, 0]]


def test_the_measures_are_those_worked_out_by_hand():
    found = overall(scores.score(rows(ACTUAL, MEAN, **SCALES)))
    assert found["observations"] == 6
    assert found["wape"] == pytest.approx(4 / 12)
    assert found["bias"] == pytest.approx((10 - 12) / 12)
    assert found["wrmsse"] == pytest.approx(0.75 * np.sqrt(1 / 6.5) + 0.25 * np.sqrt(2.0))
    # Pinball of series 0: (1 - u + u) / 2 = 0.5 at every level; of series 1: 2u / 2 = u, whose mean is 0.5.
    assert found["wspl"] == pytest.approx(0.75 * 0.5 / 2.5 + 0.25 * 0.5 / 0.5)


def test_rows_of_days_without_stock_are_left_out_of_the_headline_and_shown_beside_it():
    censored = rows(ACTUAL, MEAN, **SCALES).with_columns(
        stockout_share=pl.when(pl.col("product_id") == "p1").then(0.25).otherwise(None)
    )
    scored = scores.score(censored)
    assert overall(scored)["units"] == 6.0
    assert overall(scored)["bias"] == 0.0
    assert overall(scored, scores.ALL_ROWS)["units"] == 12.0


def test_segments_are_scored_with_weights_of_their_own():
    scored = scores.score(rows(ACTUAL, MEAN, **SCALES, velocity=["fast", "slow", "slow"]))
    by_class = {r["segment"]: r for r in scored.filter(by="velocity", rows=scores.ALL_ROWS).iter_rows(named=True)}
    assert by_class["fast"]["wrmsse"] == pytest.approx(np.sqrt(1 / 6.5))
    assert by_class["slow"]["wrmsse"] == pytest.approx(np.sqrt(2.0))
    assert by_class["slow"]["bias"] == pytest.approx(-2 / 6)
    assert set(scored["by"]) == {"all", *scores.SEGMENTS}


def test_a_segment_that_sold_nothing_has_no_relative_error():
    scored = scores.score(rows([[0.0]], [[1.0]], squared=[None], absolute=[None], weight=[0.0]))
    found = overall(scored)
    assert (found["wape"], found["bias"], found["wrmsse"]) == (None, None, None)
    assert found["forecast"] == 1.0


def drawn(family: str, *, said: float) -> pl.DataFrame:
    """Sales that come from a mean of 3 and dispersion 0.5, forecast with the dispersion ``said``."""
    random = np.random.default_rng(5)
    size = 20_000
    units = random.gamma(2.0, 1.5, size)
    frame = pl.DataFrame(
        {
            "location_id": "north",
            "product_id": "p",
            "day": [ORIGIN + dt.timedelta(days=d) for d in range(size)],
            "units": units if family == "gamma" else random.poisson(units).astype(float),
            "mean": 3.0,
            "dispersion": said,
            "zero_share": 0.0,
            "family": family,
        }
    )
    return scores.with_pit(with_quantiles(frame))


@pytest.mark.parametrize("family", ["negative_binomial", "gamma"])
def test_the_pit_of_a_right_forecast_is_uniform_and_its_intervals_cover(family):
    pit = drawn(family, said=0.5)["pit"].to_numpy()
    counts = np.histogram(pit, bins=20, range=(0, 1))[0] / len(pit)
    assert np.abs(counts - 0.05).max() < 0.006
    for nominal in INTERVALS.values():
        assert np.mean((pit > (1 - nominal) / 2) & (pit < (1 + nominal) / 2)) == pytest.approx(nominal, abs=0.01)


def test_a_forecast_that_is_too_narrow_covers_too_little():
    pit = drawn("gamma", said=0.2)["pit"].to_numpy()
    assert np.mean((pit > 0.025) & (pit < 0.975)) < 0.9


def test_the_same_rows_have_the_same_pit_in_any_order():
    once = drawn("negative_binomial", said=0.5)
    again = scores.with_pit(once.drop("pit").sample(fraction=1.0, shuffle=True, seed=1))
    assert again["pit"].equals(once["pit"])


def test_what_nobody_forecast_has_no_pit():
    unlisted = drawn("gamma", said=0.5).head(3).drop("pit").with_columns(family=pl.lit(None, dtype=pl.String))
    assert scores.with_pit(unlisted)["pit"].null_count() == 3


@pytest.mark.data
def test_m5_scores_are_those_of_the_outside_scorer():
    data = settings.load().data
    scorer = data.parent / "tools" / "score.py"
    if not (data / "m5").is_dir() or not scorer.is_file():
        pytest.skip(f"no M5 data in {data} or no scorer at {scorer}")
    origin = dt.date(2016, 2, 28)
    tables = M5(data / "m5", 28).deliver(origin + dt.timedelta(days=1), since=None)
    later = M5(data / "m5", 28).deliver(origin + dt.timedelta(days=29), since=origin + dt.timedelta(days=1))
    store = pl.col("location_id") == "CA_4"
    history, after = tables["sales"].filter(store), later["sales"].filter(store)
    frame = _as_rows(history, after, origin)
    series = scales(history).join(revenue(history, tables["prices"], origin), on=["location_id", "product_id"])
    scored = scores.score(_segmented(frame.filter(pl.col("units").is_not_null())).join(series, on=_PAIR, how="left"))
    wanted = _outside(scorer).score(
        frame.to_pandas(), _outside(scorer).load_actuals(data / "m5"), str(origin), subset=True
    )
    for measure in ("wape", "bias", "wrmsse", "wspl"):
        assert overall(scored)[measure] == pytest.approx(wanted[measure], rel=1e-6)


_PAIR = ["location_id", "product_id"]


def _as_rows(history: pl.DataFrame, after: pl.DataFrame, origin: dt.date) -> pl.DataFrame:
    """Forecast every series by its mean of 28 days."""
    recent = history.filter(pl.col("day") > origin - dt.timedelta(days=28))
    mean = recent.group_by(_PAIR).agg(pl.col("units").mean().alias("mean"))
    days = pl.DataFrame({"day": [origin + dt.timedelta(days=h) for h in range(1, 29)], "horizon": range(1, 29)})
    forecast = mean.join(days, how="cross").with_columns(
        dispersion=pl.lit(0.5),
        zero_share=pl.lit(0.0),
        family=pl.lit("negative_binomial"),
        model=pl.lit("mean"),
        mode=pl.lit("fresh"),
    )
    stock = after.select(*_PAIR, "day").clear().with_columns(stockout_share=pl.lit(None, dtype=pl.Float64))
    nobody = mean.select(_PAIR).clear()
    return joined(forecast, after, stock, origin=origin, horizon=28, pairs=nobody, absent_is_zero=False)


def _segmented(frame: pl.DataFrame) -> pl.DataFrame:
    labels = {name: pl.lit("one") for name in ("velocity", "category", "promotion", "weekday", "system")}
    return scores.with_pit(frame).with_columns(**labels)


def _outside(path: Path):
    spec = importlib.util.spec_from_file_location("outside_scorer", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
