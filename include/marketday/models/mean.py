"""A model that says what it learns and what its mean is: the distribution around it and its text come with it."""

import datetime as dt
import json
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass, field, replace
from typing import ClassVar, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from marketday.features.matrix import TrainingMatrices
from marketday.models.dispersion import Dispersion
from marketday.models.rows import Rows, arrange, prediction
from marketday.models.text import Text
from marketday.retailers import Training


@dataclass(frozen=True, kw_only=True)
class MeanModel(ABC):
    """Base of models that are a dataclass; whatever is no JSON among its fields needs a text of its own."""

    kind: ClassVar[str]
    features: ClassVar[tuple[str, ...]] = ()
    dispersion: Dispersion = field(default_factory=Dispersion)
    """What lies around the mean, fitted to the held-out days."""

    @classmethod
    @abstractmethod
    def learn(cls, data: TrainingMatrices, training: Training) -> Self:
        """Return the model without its dispersion, fitted on what lies before the held-out days."""

    @abstractmethod
    def mean(self, rows: Rows) -> NDArray[np.float64]:
        """Return the mean of each sorted row, in units; 0 or more."""

    @classmethod
    def fit(cls, data: TrainingMatrices, training: Training) -> Self:
        """Fit the mean on the rows to learn from, and the dispersion on the last horizon, which they have not seen."""
        learnt = cls.learn(data, training)
        rows = arrange(data.held_out, data.held_out_origin)
        actual = rows.told(data.truth)
        return replace(learnt, dispersion=Dispersion.fit(rows, learnt.mean(rows), actual))

    def predict(self, features: pl.DataFrame, data_until: dt.date) -> pl.DataFrame:
        """Return mean and distribution of each row of the table `features`."""
        rows = arrange(features, data_until)
        mean = self.mean(rows)
        return prediction(rows, mean, self.dispersion.predict(rows, mean))

    def to_text(self) -> Text:
        """Return the fields as JSON."""
        return Text(json.dumps(asdict(self), sort_keys=True), "")

    @classmethod
    def from_text(cls, text: Text) -> Self:
        """Rebuild a model."""
        kept = json.loads(text.parameters)
        return cls(**{**kept, "dispersion": Dispersion(**kept["dispersion"])})
