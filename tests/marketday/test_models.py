"""The models: a baseline on series made by hand, and boosted trees on the small shop."""

import datetime as dt
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from small_shop import DAY, ORIGIN
from small_training import TRAINING, fit, matrices

from marketday import models
from marketday.distributions import variance
from marketday.errors import StepError
from marketday.features.declare import get
from marketday.models import Gbm, Seasonal, Text, gbm
from marketday.models.dispersion import Dispersion
from marketday.models.rows import LIKE_DAYS, arrange, with_history
from marketday.tables import RECENT_DAYS

KEY = ["location_id", "product_id", "day"]
NEW = (pl.col("location_id") == "north") & (pl.col("product_id") == "bread")


@pytest.fixture(scope="module")
def data():
    return matrices()


@pytest.fixture(scope="module")
def model(data):
    return fit(data)


def means(model, data, **changed):
    """Return the means of the held-out days with other features."""
    return model.predict(data.held_out.with_columns(**changed), data.held_out_origin)["mean"].to_list()


def without_history(data):
    """Return the held-out rows as if bread had never sold in the north."""
    recent = pl.when(~NEW).then(pl.col("recent"))
    return data.held_out.with_columns(recent=recent)


def one_series(recent, *, unit="pieces", days=14, location="north", product="bread", department="bakery"):
    """Features of one series with this recent demand."""
    padded = [None] * (RECENT_DAYS - len(recent)) + list(recent)
    rows = {
        "location_id": [location] * days,
        "product_id": [product] * days,
        "day": [DAY + dt.timedelta(days=d) for d in range(days)],
        "horizon": list(range(1, days + 1)),
        "department": [department] * days,
        "unit": [unit] * days,
        "recent": [padded] + [None] * (days - 1),
    }
    return pl.DataFrame(rows, schema_overrides={"recent": pl.List(pl.Float32)})


def test_the_baseline_repeats_a_weekly_rhythm():
    week = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 0.0]
    found = Seasonal().predict(one_series(week * 4), ORIGIN)
    assert found["mean"].to_list() == pytest.approx(week * 2)
    assert found["family"].unique().to_list() == ["negative_binomial"]
    assert found.columns == [
        "location_id",
        "product_id",
        "day",
        "horizon",
        "mean",
        "dispersion",
        "zero_share",
        "common_dispersion",
        "family",
    ]


def test_the_baseline_weighs_later_weeks_more():
    assert Seasonal().predict(one_series([0.0] * 7 + [1.0] * 7), ORIGIN)["mean"][0] == pytest.approx(1 / 1.9)


def test_the_baseline_uses_the_other_weekdays_where_one_is_unknown():
    found = Seasonal().predict(one_series([None, 2.0, 2.0, 2.0, 4.0, 4.0, 4.0]), ORIGIN)
    assert found["mean"][0] == pytest.approx(3.0)


def test_the_baseline_of_an_empty_series_is_the_mean_of_like_products():
    frame = pl.concat(
        [
            one_series([2.0] * 14),
            one_series([4.0] * 14, product="buns"),
            one_series([90.0] * 14, product="milk", department="dairy"),
            one_series([], product="new"),
            one_series([], product="cream", location="south", department="dairy"),
            one_series([], product="soap", department="household"),
        ]
    )
    found = Seasonal().predict(frame, ORIGIN).filter(horizon=1)
    means = dict(zip(found["product_id"], found["mean"], strict=True))
    assert (means["new"], means["cream"], means["soap"]) == pytest.approx((3.0, 90.0, 32.0))


def test_the_baseline_of_nothing_at_all_is_zero():
    assert Seasonal().predict(one_series([]), ORIGIN)["mean"].to_list() == [0.0] * 14


def test_predictions_come_in_the_order_of_the_given_rows(data):
    shuffled = data.held_out.sort("day", "product_id", "location_id")
    found = Seasonal().predict(shuffled, data.held_out_origin)
    assert_frame_equal(
        found.select("location_id", "product_id", "day"), shuffled.select("location_id", "product_id", "day")
    )
    ordered = Seasonal().predict(data.held_out, data.held_out_origin)
    key = ["location_id", "product_id", "day"]
    assert_frame_equal(found.sort(key), ordered.sort(key))


def test_a_fitted_model_is_better_than_the_mean_where_there_is_a_rhythm(model, data):
    both = model.predict(data.held_out, data.held_out_origin).join(data.truth, on=KEY)
    assert both.height == data.held_out.height
    error = (both["mean"] - both["demand"]).abs().sum()
    assert error < 0.6 * (both["demand"].mean() - both["demand"]).abs().sum()


def test_the_mean_is_that_of_both_ways_to_look_ahead(model, data):
    rows = arrange(data.held_out, data.held_out_origin)
    near, far = model.both(rows)
    assert model.mean(rows) == pytest.approx((near + far) / 2)
    assert not np.allclose(near, far, rtol=0.01)


def test_a_model_fitted_twice_is_the_same_text(model, data):
    assert fit(data).to_text() == model.to_text()


def test_a_model_read_back_from_text_predicts_the_same(model, data):
    back = models.from_text("gbm", model.to_text())
    origin = data.held_out_origin
    assert_frame_equal(back.predict(data.held_out, origin), model.predict(data.held_out, origin))


def test_an_unknown_category_is_missing_and_not_an_error(model, data):
    unknown = means(model, data, department=pl.lit("garden"), event=pl.lit("Never seen"))
    nothing = pl.lit(None, pl.String)
    assert unknown == means(model, data, department=nothing, event=nothing)


def test_a_number_that_was_never_missing_in_training_is_its_mean_where_it_is_missing(data):
    random = np.random.default_rng(1)

    def warm(rows):
        warmth = random.uniform(5.0, 25.0, len(rows)).astype(np.float32)
        values = rows.values.copy()
        values[:, rows.names.index("temperature")] = warmth
        return replace(rows, values=values, demand=warmth)

    learnt = data._replace(near=[warm(rows) for rows in data.near], far=[warm(rows) for rows in data.far])
    model = fit(learnt)
    typical = np.concatenate([rows.column("temperature") for rows in learnt.near]).mean()
    missing = means(model, data, temperature=pl.lit(None, pl.Float32))
    assert missing == means(model, data, temperature=pl.lit(typical).round(6))
    assert missing != means(model, data, temperature=pl.lit(0.0)), "which LightGBM makes of a missing number"


def test_the_recursion_feeds_its_own_means_back(model, data):
    """A day later, with its own first means as what sold, the model says the same of the other days."""
    rows = arrange(data.held_out, data.held_out_origin)
    whole, _ = model.both(rows)
    first = rows.ahead == 1
    told = np.append(rows.recent[:, 1:], whole[first][:, None].astype(np.float32), axis=1)
    tomorrow = data.held_out_origin + dt.timedelta(days=1)
    carried = pl.Series("recent", told.tolist(), dtype=pl.List(pl.Float32))
    later = rows.frame.drop("at").filter(~pl.Series(first))
    starts = later["day"] == tomorrow + dt.timedelta(days=1)
    place = pl.Series(np.where(starts, np.cumsum(starts) - 1, -1)).replace(-1, None)
    again, _ = model.both(arrange(later.with_columns(carried.gather(place)), tomorrow))
    assert again == pytest.approx(whole[~first], rel=1e-4)


def test_a_series_carries_all_the_demand_that_the_trees_look_back_on():
    assert max(get(name).reach for name in gbm.OWN) <= RECENT_DAYS


def test_a_series_without_history_starts_from_its_like(data):
    rows = arrange(without_history(data), data.held_out_origin)
    history = with_history(rows)
    (new,) = np.flatnonzero(~np.isfinite(rows.recent).any(axis=1))
    level = data.held_out.filter(NEW, pl.col("day") == data.held_out["day"].min())["product_level"].item()
    assert history[new, -LIKE_DAYS:] == pytest.approx(level)
    assert np.isnan(history[new, :-LIKE_DAYS]).all()
    np.testing.assert_array_equal(np.delete(history, new, axis=0), np.delete(rows.recent, new, axis=0))


@pytest.mark.parametrize(("levels", "expected"), [((None, 3.0), 3.0), ((None, None), 0.0), ((2.0, 3.0), 2.0)])
def test_the_like_of_a_product_that_is_new_everywhere_are_those_of_its_location(data, levels, expected):
    product, location = (pl.lit(level, pl.Float32) for level in levels)
    frame = without_history(data).filter(NEW).with_columns(product_level=product, location_level=location)
    assert with_history(arrange(frame, data.held_out_origin))[0, -1] == expected


def test_a_series_without_history_gets_a_mean_near_its_like_and_a_wider_distribution(model, data):
    level = data.held_out.filter(NEW)["product_level"].mean()
    with_sales, new = (
        model.predict(frame, data.held_out_origin).filter(NEW) for frame in (data.held_out, without_history(data))
    )
    assert new["mean"].mean() == pytest.approx(level, rel=0.4)
    assert new["dispersion"].mean() > 1.2 * with_sales["dispersion"].mean()


def test_days_without_stock_hardly_move_the_model(model, data):
    def spoilt(rows, exposure):
        third = np.arange(len(rows)) % 3 == 0
        share = np.where(third, exposure, 1.0).astype(np.float32)
        return replace(rows, demand=np.where(third, 50.0, rows.demand).astype(np.float32), exposure=share)

    def total(exposure):
        changed = [[spoilt(rows, exposure) for rows in blocks] for blocks in (data.near, data.far)]
        return sum(means(fit(data._replace(near=changed[0], far=changed[1])), data))

    right = sum(means(model, data))
    assert total(0.0) == pytest.approx(right, rel=0.25)
    assert total(1.0) > 2.0 * right


def test_what_the_trees_see_over_the_base_is_bounded_and_the_same_for_fast_and_slow_movers():
    matrix = np.random.default_rng(2).gamma(1.0, 5.0, (50, len(gbm.COLUMNS))).astype(np.float32)
    matrix[0, gbm.COLUMNS.index("weekday_1")] = 1e6
    base = np.linspace(0.5, 5.0, 50)
    slow = gbm._over_base(matrix.copy(), np.log(base))
    fast = gbm._over_base(matrix * 8.0, np.log(base * 8.0))
    relative = [gbm.COLUMNS.index(name) for name in gbm.RELATIVE]
    assert slow[:, relative] == pytest.approx(fast[:, relative], rel=1e-5)
    assert slow[:, relative].max() == gbm.MOST_RELATIVE
    assert slow[:, gbm.COLUMNS.index("base")] == pytest.approx(base, rel=1e-6)


def test_text_that_is_no_model_is_refused():
    for text in (Text("{}", "tree"), Text("not json", ""), Text("[]", "")):
        with pytest.raises(StepError, match="cannot be loaded"):
            models.from_text("gbm", text)
    with pytest.raises(StepError, match="no model kind 'oracle'"):
        models.from_text("oracle", Text("{}", ""))


def test_training_on_nothing_is_refused(data):
    nothing = [rows.where(np.zeros(len(rows), dtype=bool)) for rows in data.near]
    empty = data._replace(near=nothing, far=nothing)
    with pytest.raises(StepError, match="nothing to train on"):
        Gbm.fit(empty, TRAINING)


def test_a_fitted_dispersion_covers_the_held_out_days(data):
    model = Gbm.fit(data, TRAINING)
    rows = arrange(data.held_out, data.held_out_origin)
    actual = rows.told(data.truth)
    mean = model.mean(rows)
    spread = model.dispersion.predict(rows, mean)
    for family in ("negative_binomial", "gamma"):
        mine = rows.family[rows.series] == family
        expected = variance(mean[mine], spread.dispersion[mine], family, spread.zero_share[mine]).sum()
        assert expected == pytest.approx(((actual - mean)[mine] ** 2).sum(), rel=0.4)
    assert model.dispersion == Dispersion.fit(rows, mean, actual)
    assert model.dispersion.spread["gamma"]["unknown"] == 1.0, "which series with a history cannot tell"
