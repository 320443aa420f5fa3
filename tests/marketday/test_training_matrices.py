"""What is learnt from and what is judged by: rows of the small shop, and nothing of the last horizon among them."""

import datetime as dt

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from small_shop import ORIGIN, change, facts
from small_training import SHOP, TRAINING, fit, lazy, matrices

from marketday.features.build import features_table
from marketday.features.declare import get
from marketday.features.evaluate import latest
from marketday.features.matrix import Matrix
from marketday.models import gbm
from marketday.models.rows import arrange
from marketday.tables import RECENT_DAYS

HELD_OUT_ORIGIN = ORIGIN - dt.timedelta(days=SHOP.horizon)
LATER = pl.col("day") > HELD_OUT_ORIGIN
PAIR = ["location_id", "product_id"]
KEY = [*PAIR, "day"]
NOT_FORECAST = ("temperature", "precipitation")
"""Observed, as far as training knows; nobody kept the forecast of that morning."""
SERIES = 12


@pytest.fixture(scope="module")
def data():
    return matrices()


@pytest.fixture(scope="module")
def model(data):
    return fit(data)


def keys(blocks: list[Matrix]) -> pl.DataFrame:
    """Return location, product and day of each row, with its demand."""
    return pl.concat(
        rows.pairs.select(PAIR)[rows.series].with_columns(rows.dates(), demand=pl.Series(rows.demand))
        for rows in blocks
    )


def test_both_matrices_have_the_same_rows_one_day_ahead_and_up_to_a_horizon_ahead(data):
    assert_frame_equal(keys(data.near), keys(data.far))
    for near, far in zip(data.near, data.far, strict=True):
        np.testing.assert_array_equal(near.exposure, far.exposure)
        assert set(near.ahead) == {1}
        assert set(far.ahead) == set(range(1, SHOP.horizon + 1))


def test_every_known_day_of_the_history_but_the_held_out_ones_is_a_row(data):
    rows = keys(data.near)
    first = HELD_OUT_ORIGIN - dt.timedelta(days=TRAINING.history_days - 1)
    assert rows.height == SERIES * TRAINING.history_days
    assert (rows["day"].min(), rows["day"].max()) == (first, HELD_OUT_ORIGIN)
    sold = facts()["sales"].rename({"units": "demand"}).cast({"demand": pl.Float32})
    assert_frame_equal(rows, rows.drop("demand").join(sold, on=KEY, how="left"))


def test_nothing_of_the_held_out_days_is_learnt_from(data, model):
    given = facts()
    given["sales"] = change(given["sales"], LATER, units=pl.col("units") * 3 + 20)
    given["weather"] = change(given["weather"], LATER & (pl.col("source") == "observed"), temperature=pl.lit(-40.0))
    given["stock"] = change(given["stock"], LATER & (pl.col("product_id") == "dates"), stockout_share=pl.lit(0.5))
    other = matrices(given)
    assert fit(other).to_text() == model.to_text()
    assert_frame_equal(other.held_out, data.held_out)
    assert other.held_out_origin == HELD_OUT_ORIGIN
    assert other.truth["demand"].min() >= 20.0


def test_only_days_on_which_stock_lasted_judge(data):
    assert data.truth.height == data.held_out.height == SERIES * SHOP.horizon
    given = facts()
    out = LATER & (pl.col("location_id") == "south") & (pl.col("product_id") == "dates")
    given["stock"] = change(given["stock"], out, stockout_share=pl.lit(0.1))
    found = matrices(given)
    assert_frame_equal(found.truth, data.truth.filter(~out))
    assert found.held_out.height == data.held_out.height


def test_days_on_which_stock_ran_out_are_rows_that_say_so(data):
    given = facts()
    out = pl.col("day") == HELD_OUT_ORIGIN - dt.timedelta(days=5)
    given["stock"] = change(given["stock"], out, stockout_share=pl.lit(0.75))
    found = matrices(given)
    assert_frame_equal(keys(found.near).drop("demand"), keys(data.near).drop("demand"))
    exposure = np.concatenate([rows.exposure for rows in found.near])
    assert set(exposure[keys(found.near).select(out).to_series()]) == {0.25}
    assert set(exposure[~keys(found.near).select(out).to_series().to_numpy()]) == {1.0}


def sampled(rows: int):
    return matrices(retailer=SHOP.model_copy(update={"training": TRAINING.model_copy(update={"rows": rows})}))


def test_of_too_many_rows_as_many_are_drawn_as_wanted_and_the_same_ones_every_time(data):
    once, again = sampled(1000), sampled(1000)
    assert 990 <= keys(once.near).height <= 1000
    assert_frame_equal(keys(once.near), keys(again.near))
    assert_frame_equal(keys(once.near), keys(once.far))
    assert keys(once.near).join(keys(data.near), on=KEY).height == keys(once.near).height
    share = keys(once.near)["location_id"].value_counts()["count"] / 1000
    assert share.to_list() == pytest.approx([1 / 3] * 3, abs=0.05), "no location is left out"


def test_of_no_more_rows_than_wanted_all_are_kept(data):
    assert_frame_equal(keys(sampled(SERIES * TRAINING.history_days).near), keys(data.near))


def test_training_rows_see_what_the_daily_features_of_their_origin_see(model):
    given = facts(days=560)
    data = matrices(given)
    origin = HELD_OUT_ORIGIN - dt.timedelta(days=30)
    table = features_table(lazy(given), SHOP, origin + dt.timedelta(days=1), origin, "synchronous")
    rows = arrange(table, origin)
    own = [get(name) for name in gbm.OWN]
    known, compared = model.known(rows), 0
    for step in range(1, SHOP.horizon + 1):
        now = rows.ahead == step
        demand = latest(own, {"demand": rows.recent}, RECENT_DAYS - 1, step)[rows.series[now]]
        served = np.column_stack([known[now, : len(gbm.FEATURES) - len(own)], demand])
        place = rows.frame.filter(pl.Series(now)).select(PAIR).with_row_index()
        for block in (*data.near, *data.far):
            of_origin = (block.dates() == origin + dt.timedelta(days=step)).to_numpy() & (block.ahead == step)
            learnt = block.where(of_origin)
            same = learnt.pairs[learnt.series].select(PAIR).join(place, on=PAIR, maintain_order="left")["index"]
            for i, name in enumerate(gbm.FEATURES):
                if name not in NOT_FORECAST:
                    expected = learnt.values[:, i]
                    np.testing.assert_allclose(served[same, i], expected, rtol=1e-5, atol=1e-6, err_msg=name)
            compared += len(learnt)
    assert compared > 2 * SERIES
