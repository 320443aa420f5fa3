"""What every registered kind of model promises, on the small shop: pieces and weight, and a product that is new."""

import datetime as dt
import json
import re
import sys
from contextlib import contextmanager

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from small_shop import DAY
from small_training import SHOP, TRAINING, matrices

from marketday import distributions, models
from marketday.distributions import QUANTILE_LEVELS
from marketday.errors import StepError
from marketday.models import Text
from marketday.models.rows import FAMILIES
from marketday.tables import PREDICTIONS
from marketday.warehouse import conform

KINDS = models.kinds()
ROW = ["location_id", "product_id", "day", "horizon"]
DISTRIBUTION = ["mean", "dispersion", "zero_share", "common_dispersion", "family"]
LATE = 3
"""Days of a missed delivery, which a forecast reaches further ahead."""
RUNS_CODE = {"exec", "compile", "import", "marshal.loads", "pickle.find_class", "os.system", "subprocess.Popen"}
"""Audit events (PEP 578) of what carries something out."""
_AUDITS: list[set[str]] = []
sys.addaudithook(lambda event, _: [seen.add(event) for seen in _AUDITS])


@contextmanager
def audited():
    """Give the set of audit events of the block."""
    _AUDITS.append(set())
    try:
        yield _AUDITS[-1]
    finally:
        _AUDITS.pop()


@pytest.fixture(params=KINDS, scope="module")
def kind(request):
    return models.get(request.param)


@pytest.fixture(scope="module")
def learnt(kind):
    return matrices(features=kind.features)


@pytest.fixture(scope="module")
def model(kind, learnt):
    return kind.fit(learnt, TRAINING)


@pytest.fixture(scope="module")
def features(learnt):
    """The held-out days with a product that has never sold in one location, and one that nobody has heard of."""
    new = (pl.col("location_id") == "north") & (pl.col("product_id") == "bread")
    never_sold = learnt.held_out.with_columns(recent=pl.when(~new).then("recent"))
    unheard_of = never_sold.filter(new).with_columns(product_id=pl.lit("eels"), product_level=pl.lit(None, pl.Float32))
    return pl.concat([never_sold, unheard_of])


@pytest.fixture(scope="module")
def predicted(model, features, learnt):
    return model.predict(features, learnt.held_out_origin)


def test_a_model_says_what_it_is(kind):
    assert re.fullmatch(r"[a-z][a-z0-9_]*", kind.kind)
    assert kind.__doc__.split("\n")[0].endswith("."), "the first line of its docstring, in one sentence"


def test_every_row_has_its_distribution_in_the_given_order(predicted, features):
    assert predicted.columns == [*ROW, *DISTRIBUTION]
    assert_frame_equal(predicted.select(ROW), features.select(ROW))
    told = predicted.with_columns(model=pl.lit("it"), mode=pl.lit("fresh"), block=pl.lit("000"))
    assert conform(told, PREDICTIONS, DAY).height == features.height


def test_a_distribution_is_one(predicted):
    numbers = predicted.select(DISTRIBUTION[:-1])
    assert numbers.select(pl.all().is_finite().all()).row(0) == (True,) * 4
    assert min(numbers.min().row(0)) >= 0.0
    assert predicted["zero_share"].max() < 1.0


def test_pieces_are_counted_and_weight_is_measured(predicted, features):
    assert features["unit"].unique().sort().to_list() == ["pieces", "weight"]
    assert predicted["family"].to_list() == [FAMILIES[unit] for unit in features["unit"]]


def test_quantiles_do_not_cross_and_are_not_negative(predicted):
    levels = distributions.with_quantiles(predicted).select(*QUANTILE_LEVELS).to_numpy()
    assert np.isfinite(levels).all()
    assert (np.diff(levels, axis=1) >= 0.0).all()
    assert (levels >= 0.0).all()


def test_the_mean_is_that_of_the_distribution(predicted):
    """The integral of what lies above, for every tenth row."""
    for row in predicted[::10].iter_rows(named=True):
        counted = row["family"] == "negative_binomial"
        shape = [row["mean"], row["dispersion"], row["family"]]
        most = distributions.quantile(*shape, [1 - 1e-9], row["zero_share"]).item()
        at = np.arange(most + 2) if counted else np.linspace(0.0, most, 20_001)
        above = 1.0 - distributions.cdf(at, *shape, row["zero_share"])
        mean = above.sum() if counted else np.trapezoid(above, at)
        assert mean == pytest.approx(row["mean"], rel=1e-3, abs=1e-6)


def test_a_new_product_gets_its_row_and_it_sells(predicted):
    eels = predicted.filter(product_id="eels")
    assert eels.height == SHOP.horizon
    assert eels["mean"].min() > 0.0, "its like do"


def test_after_a_missed_delivery_a_model_looks_further_ahead(model, learnt):
    last_days = learnt.held_out.filter(pl.col("horizon") > SHOP.horizon - LATE)
    later = last_days.with_columns(pl.col("day") + dt.timedelta(days=LATE), pl.col("horizon") + LATE)
    longer = pl.concat([learnt.held_out, later])
    found = model.predict(longer, learnt.held_out_origin)
    assert_frame_equal(found.select(ROW), longer.select(ROW))
    assert found["mean"].is_finite().all()


def test_a_row_does_not_depend_on_the_order_of_the_rows(model, features, learnt, predicted):
    shuffled = features.sample(fraction=1.0, shuffle=True, seed=5)
    found = model.predict(shuffled, learnt.held_out_origin)
    assert_frame_equal(found.sort(ROW), predicted.sort(ROW))


def test_the_features_that_are_given_stay_as_they_are(model, features, learnt):
    before = features.clone()
    model.predict(features, learnt.held_out_origin)
    assert_frame_equal(features, before)


def test_a_model_fitted_twice_is_the_same_text(kind, model, learnt):
    assert kind.fit(learnt, TRAINING).to_text() == model.to_text()


def test_a_model_read_back_predicts_the_same(kind, model, features, learnt, predicted):
    back = models.from_text(kind.kind, model.to_text())
    assert back.to_text() == model.to_text()
    assert_frame_equal(back.predict(features, learnt.held_out_origin), predicted)


def test_what_is_kept_is_text_and_runs_nothing_when_it_is_loaded(kind, model):
    text = model.to_text()
    json.loads(text.parameters)
    assert isinstance(text.artefact, str)
    models.from_text(kind.kind, text)  # what is imported for it is there now
    with audited() as seen:
        models.from_text(kind.kind, text)
    assert seen & RUNS_CODE == set()


def test_text_that_is_no_model_is_refused(kind, model):
    kept = model.to_text()
    for text in (Text("not json", kept.artefact), Text("[]", ""), Text('{"odd": 1}', "odd")):
        with pytest.raises(StepError, match="The model cannot be loaded"):
            models.from_text(kind.kind, text)
