"""What a model is: the protocol, the decorator that registers a class, and the registry.

Every module of this package is looked through, and those that ``MARKETDAY_STEP_MODULES`` names: a new model is a new
file. A retailer chooses it by its kind, ``training.model`` in its definition.
"""

import datetime as dt
from functools import cache
from typing import ClassVar, Protocol, Self, TypeVar

import polars as pl

from marketday import discovery
from marketday.errors import StepError, listed
from marketday.features.matrix import TrainingMatrices
from marketday.models.text import Text
from marketday.retailers import Training


class Model(Protocol):
    """What the steps ask of a model."""

    kind: ClassVar[str]
    """Its name in a retailer's definition and in the table `models`."""
    features: ClassVar[tuple[str, ...]]
    """Declared features that the training matrices have, in the order of their columns."""

    @classmethod
    def fit(cls, data: TrainingMatrices, training: Training) -> Self:
        """Fit on the rows of ``data``, and what lies around the mean on its held-out days, which they do not reach.

        The same data give the same model.
        """
        ...

    def predict(self, features: pl.DataFrame, data_until: dt.date) -> pl.DataFrame:
        """Return location_id, product_id, day, horizon, mean, the distribution and family, in the rows' order.

        ``features`` are whole series of the table `features`; ``data_until`` is the last day of their recent demand.
        """
        ...

    def to_text(self) -> Text:
        """Return the model as text that runs nothing when it is loaded."""
        ...

    @classmethod
    def from_text(cls, text: Text) -> Self:
        """Rebuild what :meth:`to_text` returned; whatever it raises means that the text is not one of its models."""
        ...


_REGISTRY: dict[str, type[Model]] = {}
_Kind = TypeVar("_Kind", bound=type[Model])


def model(made: _Kind) -> _Kind:
    """Register a class as a kind of model.

    Raises:
        StepError: another class is of that kind.

    """
    known = _REGISTRY.setdefault(made.kind, made)
    if (known.__module__, known.__qualname__) != (made.__module__, made.__qualname__):
        raise StepError(
            f"Two models are of the kind {made.kind}: {known.__module__}.{known.__qualname__} and "
            f"{made.__module__}.{made.__qualname__}",
            hint="Give one of them another kind.",
        )
    return made


def kinds() -> list[str]:
    """Return the kinds of all models, by name."""
    _load_all()
    return sorted(_REGISTRY)


def get(kind: str) -> type[Model]:
    """Return the model class of that kind.

    Raises:
        StepError: there is none.

    """
    if kind not in kinds():
        raise StepError(f"There is no model kind {kind!r}", hint=f"Use one of: {listed(kinds(), most=50)}.")
    return _REGISTRY[kind]


def from_text(kind: str, text: Text) -> Model:
    """Rebuild a model of that kind.

    Raises:
        StepError: there is no such kind, or the text is not one of its models.

    """
    found = get(kind)
    try:
        return found.from_text(text)
    except MemoryError:  # the job's, not the text's
        raise
    except Exception as error:
        raise StepError(
            f"The model cannot be loaded: {type(error).__name__}: {error}", hint="Train again: the step `train`."
        ) from error


@cache
def _load_all() -> None:
    discovery.load(discovery.modules("marketday.models"))
