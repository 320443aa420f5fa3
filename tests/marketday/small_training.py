"""The small shop as a model learns from it: a few seconds of training in all."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import polars as pl
from small_shop import ORIGIN, facts

from marketday.features.build import training_matrices
from marketday.features.declare import get
from marketday.features.matrix import TrainingMatrices
from marketday.features.panel import Facts
from marketday.models import Gbm
from marketday.models.dispersion import Dispersion
from marketday.models.gbm import FEATURES
from marketday.retailers import Retailer, Training
from marketday.steps.features import READS

TRAINING = Training(rounds=30, leaves=8, history_days=120)
SHOP = Retailer(name="shop", title="Small shop", time_zone="Europe/Berlin", horizon=14, block_size=2, training=TRAINING)


def lazy(given: Mapping[str, pl.DataFrame]) -> Facts:
    """Return the tables as features read them."""
    return Facts(*(given[table.name].lazy() for table in READS))


def matrices(
    given: Mapping[str, pl.DataFrame] | None = None, retailer: Retailer = SHOP, features: Sequence[str] = FEATURES
) -> TrainingMatrices:
    """Return what is learnt from, and the last horizon held out."""
    declared = [get(name) for name in features]
    return training_matrices(lazy(given or facts()), retailer, ORIGIN, "synchronous", declared)


def fit(data: TrainingMatrices, training: Training = TRAINING) -> Gbm:
    """Return a small model with the usual dispersion: so few held-out days are no measure of it."""
    return replace(Gbm.fit(data, training), dispersion=Dispersion())
