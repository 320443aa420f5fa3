import datetime as dt
import hashlib
import json

import numpy as np
import polars as pl
import pytest
from small_shop import DAY, ORIGIN, change, facts

from marketday.errors import StepError
from marketday.retailers import Training
from marketday.tables import MODELS, PREDICTIONS
from marketday.warehouse import conform

SMALL = Training(rounds=100, leaves=8, history_days=120)


@pytest.fixture
def shop(simulated):
    return simulated.model_copy(update={"training": SMALL})


@pytest.fixture
def trained(run_step, shop):
    return run_step("train", DAY, facts(), retailer=shop)


@pytest.fixture
def features(run_step, shop):
    return run_step("features", DAY, facts(), retailer=shop).tables["features"]


def test_training_releases_one_model_named_by_its_content(trained):
    row = conform(trained.tables["models"], MODELS, DAY).row(0, named=True)
    assert trained.tables["models"].height == 1
    assert row["model"] == "gbm@" + hashlib.sha256((row["parameters"] + row["artefact"]).encode()).hexdigest()[:12]
    assert (row["trained_to"], trained.facts["model"]) == (ORIGIN, row["model"])
    scores = json.loads(row["scores"])
    assert scores["model"]["pinball"] < scores["baseline"]["pinball"]
    assert scores["origin"] == (ORIGIN - dt.timedelta(days=14)).isoformat()
    assert scores["observations"] == 12 * 14


def test_training_again_on_the_same_facts_gives_the_same_model(trained, run_step, shop):
    again = run_step("train", DAY, {}, retailer=shop)
    assert again.tables["models"].equals(trained.tables["models"])


def test_a_model_whose_width_alone_is_another_has_another_name(trained, run_step, shop):
    given = facts()
    held_out = pl.col("day") > ORIGIN - dt.timedelta(days=14)
    given["sales"] = change(given["sales"], held_out, units=pl.col("units") * 1.1)
    wider = run_step("train", DAY, given, retailer=shop.model_copy(update={"name": "wider"})).tables["models"]
    assert wider["artefact"].item() == trained.tables["models"]["artefact"].item()
    assert wider["model"].item() != trained.facts["model"]


def test_training_does_not_look_beyond_the_origin(trained, run_step, shop):
    later = facts(until=ORIGIN + dt.timedelta(days=5))["sales"].filter(pl.col("day") > ORIGIN)
    given = {**facts(), "sales": pl.concat([facts()["sales"], later])}
    told = run_step("train", DAY, given, retailer=shop.model_copy(update={"name": "told"}))
    assert told.tables["models"].equals(trained.tables["models"])


MORNING = {"only_if_missing": True}


def test_the_morning_leaves_the_model_of_the_days_training_run_alone(trained, run_step, shop):
    assert trained.tables["models"]["made_by"].to_list() == ["training"]
    outputs = run_step("train", DAY, trained.tables, params=MORNING, retailer=shop)
    assert outputs.tables == {}
    assert outputs.facts == {"model": trained.facts["model"], "trained": False}


def test_the_morning_leaves_a_model_of_an_earlier_day_alone_whoever_made_it(run_step, shop):
    given = {**facts(), "models": _earlier(run_step, shop)}
    outputs = run_step("train", DAY, given, params=MORNING, retailer=shop)
    assert outputs.tables == {}
    assert outputs.facts["model"] == given["models"]["model"].item()


def _earlier(run_step, shop):
    other = shop.model_copy(update={"name": "other"})
    made = run_step("train", DAY, facts(), params=MORNING, retailer=other).tables["models"]
    assert made["made_by"].to_list() == ["daily"]
    return made.with_columns(run_day=pl.lit(DAY - dt.timedelta(days=1)))


def test_a_cleared_morning_makes_its_own_model_again_and_the_same_from_the_same_data(run_step, shop):
    first = run_step("train", DAY, facts(), params=MORNING, retailer=shop).tables["models"]
    again = run_step("train", DAY, {"models": first}, params=MORNING, retailer=shop).tables["models"]
    assert again.equals(first)


def test_a_cleared_morning_makes_its_own_model_anew_from_corrected_data(run_step, shop):
    first = run_step("train", DAY, facts(), params=MORNING, retailer=shop).tables["models"]
    corrected = facts()["sales"].with_columns(pl.col("units") * 2)
    outputs = run_step("train", DAY, {"models": first, "sales": corrected}, params=MORNING, retailer=shop)
    assert outputs.facts["trained"] is True
    assert outputs.tables["models"]["model"].item() != first["model"].item()


def test_a_cleared_morning_whose_model_is_no_longer_released_withdraws_it(run_step, shop):
    first = run_step("train", DAY, facts(), params=MORNING, retailer=shop).tables["models"]
    outputs = run_step("train", DAY, {"models": first}, params=MORNING, retailer=_lame(shop))
    assert "not released" in outputs.facts["reason"]
    assert conform(outputs.tables["models"], MODELS, DAY).is_empty()


def test_only_if_missing_trains_where_the_only_model_is_of_a_later_day(trained, run_step, shop):
    later = trained.tables["models"].with_columns(run_day=pl.lit(DAY + dt.timedelta(days=1)))
    outputs = run_step("train", DAY, {"models": later}, params=MORNING, retailer=shop)
    assert outputs.facts["trained"] is True


def test_a_model_that_does_not_beat_the_baseline_is_not_released(run_step, shop):
    lame = _lame(shop)
    with pytest.raises(StepError, match="not released") as caught:
        run_step("train", DAY, facts(), retailer=lame)
    assert "stays in use" in caught.value.hint
    in_the_morning = run_step("train", DAY, {}, params=MORNING, retailer=lame)
    assert not in_the_morning.tables, "the morning goes on without a model"
    assert "not released" in in_the_morning.facts["reason"]


def _lame(shop):
    return shop.model_copy(update={"training": Training(rounds=2, leaves=2, learning_rate=1e-6, history_days=120)})


def test_days_without_stock_neither_mislead_nor_judge(run_step, shop, trained):
    given = facts()
    out = pl.Series(np.arange(given["sales"].height) % 3 == 0)
    given["sales"] = given["sales"].with_columns(units=pl.when(out).then(0.0).otherwise(pl.col("units")))
    given["stock"] = given["stock"].with_columns(stockout_share=out.cast(pl.Float64))
    outputs = run_step("train", DAY, given, retailer=shop.model_copy(update={"name": "empty_shelves"}))
    assert outputs.facts["rows"] == trained.facts["rows"]
    scores = outputs.facts["scores"]
    assert scores["observations"] == 12 * 10, "four of the fourteen days had none"
    assert abs(scores["model"]["bias"]) < 0.1, "though a third of all days sold nothing"


def test_a_block_is_predicted_by_the_model_in_force(trained, features, run_step, shop):
    outputs = run_step("predict", DAY, {"features": features, **trained.tables}, block="001", retailer=shop)
    rows = conform(outputs.tables["predictions"], PREDICTIONS, DAY)
    assert rows["location_id"].unique().to_list() == ["west"]
    assert rows.height == 4 * 14
    assert rows["model"].unique().to_list() == [trained.facts["model"]]
    assert rows["mode"].unique().to_list() == ["fresh"]
    assert rows.filter(product_id="cheese")["family"].unique().to_list() == ["gamma"]
    assert rows["mean"].min() > 0.0
    assert "reason" not in outputs.facts


def test_without_a_model_the_baseline_stands_in_and_says_so(features, run_step, shop):
    outputs = run_step("predict", DAY, {"features": features}, block="000", retailer=shop)
    rows = outputs.tables["predictions"]
    assert rows.select("model", "mode").unique().row(0) == ("seasonal", "fallback")
    assert outputs.facts["reason"] == "No model is released for use on 2026-03-02"


def test_a_model_of_a_later_day_is_not_in_force_yet(trained, features, run_step, shop):
    later = trained.tables["models"].with_columns(run_day=pl.lit(DAY + dt.timedelta(days=1)))
    outputs = run_step("predict", DAY, {"features": features, "models": later}, block="000", retailer=shop)
    assert outputs.facts["mode"] == "fallback"


def test_a_model_that_cannot_be_loaded_falls_back_with_its_reason(trained, features, run_step, shop):
    broken = trained.tables["models"].with_columns(artefact=pl.lit("no trees"))
    outputs = run_step("predict", DAY, {"features": features, "models": broken}, block="000", retailer=shop)
    assert outputs.facts["mode"] == "fallback"
    assert outputs.facts["reason"].startswith(f"{trained.facts['model']}: The model cannot be loaded")


def test_after_a_missed_delivery_predictions_are_degraded_and_cover_the_gap(trained, run_step, shop):
    late = ORIGIN - dt.timedelta(days=1)
    given = {**facts(), "sales": facts()["sales"].filter(pl.col("day") <= late)}
    missed = shop.model_copy(update={"name": "missed"})
    features = run_step("features", DAY, given, retailer=missed).tables["features"]
    outputs = run_step("predict", DAY, {"features": features, **trained.tables}, block="000", retailer=missed)
    assert outputs.facts["mode"] == "degraded"
    assert outputs.tables["predictions"]["horizon"].min() == 0


def test_a_block_that_is_not_there_is_refused(features, run_step, shop):
    with pytest.raises(StepError, match="block '007'"):
        run_step("predict", DAY, {"features": features}, block="007", retailer=shop)
