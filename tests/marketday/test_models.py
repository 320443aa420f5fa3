import datetime as dt
import json

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from small_shop import DAY, ORIGIN, facts

from marketday import models
from marketday.distributions import variance
from marketday.errors import StepError
from marketday.features.build import training_data
from marketday.features.panel import Facts
from marketday.models import Gbm, Seasonal, Text
from marketday.models.dispersion import Dispersion
from marketday.models.rows import arrange
from marketday.retailers import Training
from marketday.steps.features import READS
from marketday.tables import RECENT_DAYS

HORIZON = 14


@pytest.fixture
def data(simulated):
    lazy = Facts(*(facts()[table.name].lazy() for table in READS))
    return training_data(lazy, simulated, ORIGIN, "synchronous")


@pytest.fixture(params=["recursive", "direct"])
def fitted(request, simulated):
    """A small model of each scheme, and the features of the held-out days."""
    training = Training(scheme=request.param, rounds=30, leaves=8, history_days=120)
    retailer = simulated.model_copy(update={"training": training})
    lazy = Facts(*(facts()[table.name].lazy() for table in READS))
    data = training_data(lazy, retailer, ORIGIN, "synchronous")
    return Gbm.fit(data.rows.filter(pl.col("day") <= data.held_out_origin), training), data


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
    return pl.DataFrame(rows, schema_overrides={"recent": pl.Array(pl.Float32, RECENT_DAYS)})


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


def test_training_rows_see_at_the_first_step_what_the_daily_features_see(simulated):
    training = Training(history_days=120)
    retailer = simulated.model_copy(update={"training": training})
    data = training_data(Facts(*(facts()[t.name].lazy() for t in READS)), retailer, ORIGIN, "synchronous")
    first = data.held_out_origin + dt.timedelta(days=1)
    key = ["location_id", "product_id"]
    learnt, served = (f.filter(pl.col("day") == first).sort(key) for f in (data.rows, data.held_out))
    weather = ["temperature", "precipitation"]
    shared = [name for name in served.columns if name not in ("recent", "horizon", *weather)]
    assert_frame_equal(learnt.select(shared), served.select(shared))
    assert served.select(weather).null_count().row(0) == (12, 12), "what came of the weather was not known"
    served = served.with_columns(learnt.select(weather))
    model = Gbm.fit(data.rows, training)
    in_training = model.booster.predict(_matrix(model, learnt))
    assert model.predict(served, data.held_out_origin)["mean"].to_numpy() == pytest.approx(in_training, rel=1e-5)


def _matrix(model, rows):
    coded = rows.with_columns(
        pl.col(name).replace_strict(known, range(len(known)), default=None).cast(pl.Float32)
        for name, known in model.encodings.items()
    )
    return coded.select(model.columns).cast(pl.Float32).to_numpy()


def test_a_fitted_model_is_better_than_the_baseline_where_there_is_a_rhythm(fitted):
    model, data = fitted
    found = model.predict(data.held_out, data.held_out_origin)
    truth = data.rows.select("location_id", "product_id", "day", "demand")
    both = found.join(truth, on=["location_id", "product_id", "day"])
    assert both.height == data.held_out.height
    error = (both["mean"] - both["demand"]).abs().sum() / both["demand"].sum()
    naive = (both["demand"].mean() - both["demand"]).abs().sum() / both["demand"].sum()
    assert error < 0.6 * naive


def test_a_model_fitted_twice_is_the_same_text(fitted, simulated):
    model, data = fitted
    training = Training(scheme=model.scheme, rounds=30, leaves=8, history_days=120)
    again = Gbm.fit(data.rows.filter(pl.col("day") <= data.held_out_origin), training)
    assert again.to_text() == model.to_text()


def test_a_model_read_back_from_text_predicts_the_same(fitted):
    model, data = fitted
    back = models.from_text("gbm", model.to_text())
    origin = data.held_out_origin
    assert_frame_equal(back.predict(data.held_out, origin), model.predict(data.held_out, origin))


def test_an_unknown_category_is_missing_and_not_an_error(fitted):
    model, data = fitted
    renamed = data.held_out.with_columns(department=pl.lit("garden"), event=pl.lit("Never seen"))
    found = model.predict(renamed, data.held_out_origin)["mean"]
    missing = data.held_out.with_columns(department=pl.lit(None, pl.String), event=pl.lit(None, pl.String))
    assert found.to_list() == model.predict(missing, data.held_out_origin)["mean"].to_list()


def test_a_number_that_was_never_missing_in_training_is_its_mean_where_it_is_missing(data):
    warmth = pl.Series(np.random.default_rng(1).uniform(5.0, 25.0, data.rows.height), dtype=pl.Float32)
    learnt = data.rows.with_columns(temperature=warmth, demand=warmth)
    model = Gbm.fit(learnt, Training(rounds=30, leaves=8))

    def predicted(temperature):
        rows = data.held_out.with_columns(temperature=pl.lit(temperature, pl.Float32), precipitation=pl.lit(1.0))
        return model.predict(rows, data.held_out_origin)["mean"].to_list()

    assert predicted(None) == predicted(learnt["temperature"].mean())
    assert predicted(None) != predicted(0.0), "which is what LightGBM makes of a number that is missing"


def test_the_recursion_feeds_its_own_means_back(simulated):
    training = Training(scheme="recursive", rounds=30, leaves=8, history_days=120)
    retailer = simulated.model_copy(update={"training": training})
    data = training_data(Facts(*(facts()[t.name].lazy() for t in READS)), retailer, ORIGIN, "synchronous")
    model = Gbm.fit(data.rows, training)
    rows = arrange(data.held_out, data.held_out_origin)
    whole = model.mean(rows)
    first = rows.ahead == 1
    told = np.append(rows.recent[:, 1:], whole[first][:, None].astype(np.float32), axis=1)
    later = data.held_out.filter(pl.col("day") > data.held_out_origin + dt.timedelta(days=1))
    start = pl.col("day") == data.held_out_origin + dt.timedelta(days=2)
    later = later.sort("location_id", "product_id", "day")
    carried = pl.DataFrame({"recent": pl.Series(told.tolist(), dtype=pl.Array(pl.Float32, RECENT_DAYS))})
    at_start = later.filter(start).drop("recent").hstack(carried)
    moved = pl.concat([at_start, later.filter(~start)], how="diagonal_relaxed").select(later.columns)
    again = model.mean(arrange(moved, data.held_out_origin + dt.timedelta(days=1)))
    assert again == pytest.approx(whole[~first], rel=1e-4)


def test_text_that_is_no_model_is_refused():
    for text in (Text("{}", "tree"), Text("not json", ""), Text("[]", "")):
        with pytest.raises(StepError, match="cannot be loaded"):
            models.from_text("gbm", text)
    with pytest.raises(StepError, match="no model kind 'oracle'"):
        models.from_text("oracle", Text("{}", ""))


def test_training_on_nothing_is_refused(data):
    with pytest.raises(StepError, match="nothing to train on"):
        Gbm.fit(data.rows.clear(), Training())


def test_a_fitted_dispersion_covers_the_held_out_days(fitted):
    model, data = fitted
    rows = arrange(data.held_out, data.held_out_origin)
    key = ["location_id", "product_id", "day"]
    actual = rows.frame.join(data.rows, on=key, how="left", maintain_order="left")["demand"].to_numpy().astype(float)
    mean = model.mean(rows)
    fitted_dispersion = Dispersion.fit(rows, mean, actual)
    spread = fitted_dispersion.predict(rows, mean)
    for family in ("negative_binomial", "gamma"):
        mine = rows.family[rows.series] == family
        expected = variance(mean[mine], spread.dispersion[mine], family, spread.zero_share[mine]).sum()
        assert expected == pytest.approx(((actual - mean)[mine] ** 2).sum(), rel=0.4)
    assert json.loads(json.dumps(fitted_dispersion.to_dict())) == fitted_dispersion.to_dict()
