"""What scoring promises: a right distribution is found right, a wrong one wrong, and the same rows score the same."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketday import scoring
from marketday.distributions import cdf

ROWS = 40_000


def drawn(family: str, *, zero_share: float = 0.3, dispersion: float = 0.6) -> pl.DataFrame:
    """Return rows whose actuals come from their own distribution."""
    random = np.random.default_rng(4)
    mean = random.uniform(0.1, 12.0, ROWS)
    inner = mean / (1 - zero_share)
    if family == "gamma":
        demand = random.gamma(1 / dispersion, inner * dispersion)
    else:
        demand = random.negative_binomial(1 / dispersion, 1 / (1 + dispersion * inner))
    actual = np.where(random.random(ROWS) < zero_share, 0.0, demand)
    return pl.DataFrame(
        {
            "actual": actual,
            "mean": mean,
            "dispersion": dispersion,
            "zero_share": zero_share,
            "family": family,
            "velocity": np.where(mean < 3.0, "slow", "fast"),
            "promotion": random.random(ROWS) < 0.2,
        }
    )


@pytest.mark.parametrize("family", ["negative_binomial", "gamma"])
def test_the_transform_of_demand_by_its_own_distribution_is_uniform(family):
    pit = scoring.with_pit(drawn(family))["pit"].to_numpy()
    assert np.histogram(pit, 20, (0.0, 1.0))[0] / ROWS == pytest.approx(np.full(20, 0.05), abs=0.005)


@pytest.mark.parametrize("family", ["negative_binomial", "gamma"])
def test_right_intervals_cover_what_they_say_in_every_segment_and_narrow_ones_less(family):
    rows = drawn(family)
    right = scoring.calibration_table(rows, ["velocity", "promotion"])
    assert right.select("velocity", "promotion").rows() == [
        ("fast", False), ("fast", True), ("slow", False), ("slow", True),
    ]  # fmt: skip
    for name, nominal in scoring.INTERVALS.items():
        assert right[name].to_numpy() == pytest.approx(np.full(4, nominal), abs=0.025)
    narrow = scoring.calibration_table(rows.with_columns(dispersion=pl.lit(0.1)), [])
    assert narrow["coverage_95"].item() < 0.9
    assert narrow["observations"].item() == ROWS


def test_the_table_says_bias_and_error_of_each_segment():
    rows = drawn("negative_binomial").with_columns(pl.col("mean") * 1.1)
    found = scoring.calibration_table(rows, ["velocity"])
    for row in found.rows(named=True):
        part = rows.filter(pl.col("velocity") == row["velocity"])
        assert row["bias"] == pytest.approx(scoring.bias(part["actual"], part["mean"]))
        assert row["wape"] == pytest.approx(scoring.wape(part["actual"], part["mean"]))
        assert row["bias"] == pytest.approx(0.1, abs=0.05)
        assert row["pit"] < 0.5, "forecasts that are too high lie above what is sold"


def test_the_same_rows_have_the_same_transform_and_the_order_of_segments_is_theirs():
    rows = drawn("negative_binomial")
    assert scoring.with_pit(rows).equals(scoring.with_pit(rows))
    assert scoring.calibration_table(rows, ["velocity"])["velocity"].to_list() == ["fast", "slow"]


@given(
    actual=st.integers(0, 60),
    mean=st.floats(0.0, 40.0),
    dispersion=st.floats(0.0, 4.0),
    zero_share=st.floats(0.0, 0.9),
)
def test_the_transform_lies_between_what_is_below_and_what_is_up_to_the_actual(actual, mean, dispersion, zero_share):
    pit = scoring.randomised_pit([actual], mean, dispersion, "negative_binomial", zero_share)[0]
    low, high = (cdf(y, mean, dispersion, "negative_binomial", zero_share) for y in (actual - 1, actual))
    assert low <= pit <= high


def test_coverage_is_the_share_inside_the_central_interval():
    assert scoring.coverage([0.1, 0.3, 0.5, 0.96], [0.5, 0.9]).tolist() == [0.5, 0.75]
    assert np.isnan(scoring.coverage([], 0.5)).all()


def test_scores_relative_to_nothing_sold_are_unknown():
    assert np.isnan(scoring.wape([0.0], [1.0]))
    assert np.isnan(scoring.bias([0.0], [1.0]))
    rows = drawn("gamma").head(3).with_columns(actual=pl.lit(0.0))
    assert scoring.calibration_table(rows, []).select("bias", "wape").row(0) == (None, None)
