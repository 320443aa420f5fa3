"""The usual way with stock-outs: days that had one are left out, of the features and of what is learnt."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import replace

import lightgbm
import numpy as np
import polars as pl

from marketday.features.build import compute, per_block, training_span
from marketday.features.declare import get
from marketday.features.inputs import panel_inputs, vocabulary
from marketday.features.matrix import Matrix, future_rows, groups, training_rows
from marketday.features.panel import Facts, Panel
from marketday.features.totals import Totals
from marketday.models.gbm import CATEGORICAL, FEATURES
from marketday.retailers import Retailer

PARAMETERS = {
    "objective": "poisson",
    "num_leaves": 63,
    "learning_rate": 0.075,
    "num_threads": 2,
    "deterministic": True,
    "force_row_wise": True,
    "seed": 1,
    "verbosity": -1,
}
ROUNDS = 150
COLUMNS = [*FEATURES, "ahead"]


def forecast(facts: Facts, retailer: Retailer, origin: dt.date) -> pl.DataFrame:
    """Return location_id, product_id, day and mean of the days after ``origin``: LightGBM, Poisson, direct.

    The features are this project's own, computed as if the demand of days with a stock-out were unknown.
    """
    features, names = [get(name) for name in FEATURES], vocabulary(facts)

    def make(panel: Panel, products: Totals | None) -> tuple[Matrix, Matrix]:
        bare = replace(panel, demand=np.where(panel.exposure < 1.0, np.float32(np.nan), panel.demand))
        inputs = panel_inputs(bare, products, names, groups(features))
        _, rows = training_rows(bare, inputs, features, retailer.training, retailer.horizon, most=bare.demand.size)
        return rows, future_rows(bare, inputs, features, retailer.horizon)

    span = training_span(origin, retailer.training.history_days, retailer.horizon, features)
    span = span._replace(last=origin + dt.timedelta(days=retailer.horizon))
    made = compute(list(per_block(facts, retailer, span, features, make).values()), "threads")
    learnt, ahead = ([both[i] for both in made] for i in (0, 1))
    label = np.concatenate([rows.demand for rows in learnt])
    options = {"feature_name": COLUMNS, "categorical_feature": list(CATEGORICAL), "params": PARAMETERS}
    booster = lightgbm.train(PARAMETERS, lightgbm.Dataset(inputs_of(learnt), label, **options), ROUNDS)
    mean = booster.predict(inputs_of(ahead), num_threads=PARAMETERS["num_threads"])
    keys = [rows.pairs.select("location_id", "product_id")[rows.series].with_columns(rows.dates()) for rows in ahead]
    return pl.concat(keys).with_columns(mean=pl.Series(mean))


def inputs_of(blocks: Sequence[Matrix]) -> np.ndarray:
    """Return the blocks' rows with the days ahead, rows x COLUMNS."""
    return np.concatenate([np.column_stack([rows.values, rows.ahead]) for rows in blocks])
