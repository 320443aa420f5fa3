"""Models: from the rows of the table `features` to a distribution of demand, by kind.

A model is a class with what :class:`Model` asks for; a new one is a new module and its line in ``KINDS``.
"""

import datetime as dt
from typing import TYPE_CHECKING, ClassVar, Protocol, Self

import polars as pl

from marketday.errors import StepError, listed
from marketday.models.gbm import Gbm
from marketday.models.seasonal import Seasonal
from marketday.models.text import Text
from marketday.retailers import Training

if TYPE_CHECKING:
    from marketday.features.build import TrainingMatrices


class Model(Protocol):
    """What the steps ask of a model."""

    kind: ClassVar[str]

    @classmethod
    def fit(cls, data: "TrainingMatrices", training: Training) -> Self:
        """Fit on the rows of ``data``, and what lies around the mean on its held-out days, which they do not reach."""
        ...

    def predict(self, features: pl.DataFrame, data_until: dt.date) -> pl.DataFrame:
        """Return location_id, product_id, day, horizon, mean, dispersion and family, in the rows' order.

        ``features`` are whole series of the table `features`; ``data_until`` is the last day of their recent demand.
        """
        ...

    def to_text(self) -> Text:
        """Return the model as text that runs nothing when it is loaded."""
        ...

    @classmethod
    def from_text(cls, text: Text) -> Self:
        """Rebuild what :meth:`to_text` returned; raises StepError if it cannot be read."""
        ...


KINDS: dict[str, type[Model]] = {model.kind: model for model in (Gbm, Seasonal)}


def from_text(kind: str, text: Text) -> Model:
    """Rebuild a model of that kind.

    Raises:
        StepError: there is no such kind, or the text is not one of its models.

    """
    if kind not in KINDS:
        raise StepError(f"There is no model kind {kind!r}", hint=f"Use one of: {listed(KINDS)}.")
    return KINDS[kind].from_text(text)


__all__ = ["KINDS", "Gbm", "Model", "Seasonal", "Text", "from_text"]
