"""Features are declared once: what they read, how far back, what they know, and a function over whole arrays.

A function gets a :class:`View` and returns one array, rows x days, in which the value of a day rests on that day and
the ``lookback`` - 1 days before it, and on nothing after it:

* ``knows="origin"``: a day is an origin, and its value is what is known at its END. For a target day the platform reads
  the column of its origin.
* ``knows="planned"``: a day is a target, and its value is what is planned for it. Nothing observed may be read.

The same function serves the matrix of all days, the daily run and each step of a recursive forecast, which hand it as
many days as it asks for. `tests/conformance/test_features.py` proves of every declared feature that it keeps its word.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from marketday import discovery
from marketday.errors import StepError, listed
from marketday.features.kernels import Array, Windows

Knows = Literal["origin", "planned"]
Per = Literal["series", "location", "product", "category", "department", "day"]


class Input(NamedTuple):
    """An array that features may read."""

    per: Per
    """What its rows are; `series` features read it repeated for each of their rows."""
    observed: bool
    """Known only once the day is over."""
    doc: str


INPUTS: dict[str, Input] = {
    "demand": Input(
        "series", True, "Units sold; NaN: unknown or censored. Per group: the total; NaN: nothing is known"
    ),
    "known": Input("series", True, "Number of series whose demand is known"),
    "price": Input("series", False, "Shelf price"),
    "promotion": Input("series", False, "Discount while on promotion, 0.001 if undiscounted, else 0"),
    "first_sale": Input("series", False, "Column of the first sale, the same on all days; NaN: never sold"),
    "column": Input("day", False, "Number of the day's column: what `first_sale` counts in"),
    "category": Input("series", False, "Code of the product's category"),
    "department": Input("series", False, "Code of the product's department"),
    "unit": Input("series", False, "Code of how the product is counted"),
    "location": Input("series", False, "Code of the location"),
    "product": Input("series", False, "Code of the product"),
    "region": Input("location", False, "Code of the location's region"),
    "temperature": Input("location", False, "Mean of the day, as forecast where it is to come"),
    "precipitation": Input("location", False, "Total of the day, as forecast where it is to come"),
    "payday": Input("location", False, "1 on a payday, else 0"),
    "event": Input("location", False, "Code of the main event, -1 for none"),
    "event_tomorrow": Input("location", False, "Code of the next day's main event, -1 for none"),
    "weekday": Input("day", False, "ISO weekday, 1 is Monday"),
    "day_of_month": Input("day", False, "1 to 31"),
    "week": Input("day", False, "ISO week"),
    "month": Input("day", False, "1 to 12"),
    "year": Input("day", False, "Calendar year"),
}
_HEAVY = ("build",)
"""Modules that declare nothing and take long to import: this one brings Dask along."""
GROUPED = ("demand", "known")
"""Inputs that are also there as totals per location, product, category and department."""


Shared = dict[tuple[str, float, float], Windows]


class View:
    """The declared inputs of one feature as arrays, rows x days: ``view.demand``."""

    def __init__(
        self, feature: "Feature", read: Callable[[str], NDArray[Any]], shared: Shared, *, last_only: bool
    ) -> None:
        self._feature, self._read, self._shared, self._last_only = feature, read, shared, last_only

    def __getattr__(self, name: str) -> Array:
        if name not in self._feature.inputs:
            raise StepError(
                f"Feature {self._feature.name} reads {name!r} but declares only: {listed(self._feature.inputs)}",
                hint="Add it to inputs=(…) of the feature.",
            )
        return self._read(name)

    def windows(self, name: str, half_life: float = np.inf, at_most: float = np.inf) -> Windows:
        """Return the windows over an input, its values capped; features that ask for the same ones share them."""
        values, key = getattr(self, name), (name, half_life, at_most)
        if key not in self._shared:
            given = np.minimum(values, np.float32(at_most)) if np.isfinite(at_most) else values
            self._shared[key] = Windows(given, half_life, last_only=self._last_only)
        return self._shared[key]


Compute = Callable[[View], NDArray[Any]]


@dataclass(frozen=True, kw_only=True)
class Feature:
    """A declared feature; see the module."""

    name: str
    inputs: tuple[str, ...]
    lookback: int
    """Days that ``compute`` needs for one value, the value's own day included."""
    knows: Knows
    compute: Compute
    doc: str
    per: Per = "series"
    """What the rows of its arrays are. The platform repeats the values for each series."""
    back: int = 0
    """Days before the origin (or target) at which the value is read."""
    daywise: bool = False
    """``compute`` does nothing but combine a day's windows, so that one day can be computed alone, and much faster."""
    same_weekday: bool = False
    """Read at the last day up to the origin that has the target's weekday, and ``back`` days before that."""
    dtype: DTypeLike = np.float32
    vocabulary: str = ""
    """Names that its whole numbers stand for; -1 is none of them."""

    @property
    def reach(self) -> int:
        """Days of history, the origin (or target) included, that one value may rest on."""
        return self.lookback + self.back + (6 if self.same_weekday else 0)

    def behind(self, ahead: Any) -> Any:
        """Return the days from the target back to where the value is read, for targets ``ahead`` days away."""
        if self.knows == "planned":
            return self.back + 0 * ahead
        return ahead + self.back + (-ahead % 7 if self.same_weekday else 0)

    def apply(
        self, read: Callable[[str], NDArray[Any]], shared: Shared | None = None, *, last_only: bool = False
    ) -> NDArray[Any]:
        """Compute the values from the arrays that ``read`` returns by name; of the last day only if that is enough."""
        # A share or a quotient of what is not there is NaN, and that is what it should be.
        with np.errstate(divide="ignore", invalid="ignore"):
            return self.compute(
                View(self, read, {} if shared is None else shared, last_only=last_only and self.daywise)
            )


_REGISTRY: dict[str, Feature] = {}


def declare(made: Feature) -> Feature:
    """Put a feature into the registry and return it.

    Raises:
        StepError: its name is taken, an input does not exist, or it would leak.

    """
    known = _REGISTRY.get(made.name)
    if known is not None:
        raise StepError(f"Two features are called {made.name}", hint="Rename one of them.")
    strange = [name for name in made.inputs if name not in INPUTS]
    if strange:
        raise StepError(f"Feature {made.name} reads {listed(strange)}", hint=f"Inputs: {listed(INPUTS, most=50)}.")
    if made.knows == "planned":
        observed = [name for name in made.inputs if INPUTS[name].observed]
        if observed:
            raise StepError(
                f"Feature {made.name} knows what is planned but reads {listed(observed)}, known only afterwards",
                hint='Declare it with knows="origin".',
            )
    if made.lookback < 1 or made.back < 0:
        raise StepError(
            f"Feature {made.name}: lookback is {made.lookback}, at least 1; back is {made.back}, at least 0"
        )
    if made.per != "series" and not all(_has_rows(name, made.per) for name in made.inputs):
        raise StepError(
            f"Feature {made.name} is per {made.per}, and not all of its inputs are: {listed(made.inputs)}",
            hint=f"Per group there are {listed(GROUPED)}; every series has all inputs.",
        )
    _REGISTRY[made.name] = made
    return made


def feature(
    *, inputs: tuple[str, ...], lookback: int, knows: Knows, per: Per = "series", dtype: DTypeLike = np.float32
) -> Callable[[Compute], Feature]:
    """Declare the decorated function as a feature of its name and docstring."""

    def register(compute: Compute) -> Feature:
        return declare(
            Feature(
                name=compute.__name__,
                inputs=inputs,
                lookback=lookback,
                knows=knows,
                compute=compute,
                doc=(compute.__doc__ or "").strip(),
                per=per,
                dtype=dtype,
            )
        )

    return register


def ending(back: int) -> str:
    """Say on which day something ends that ends ``back`` days before the origin."""
    return {0: "the origin", 1: "the day before the origin"}.get(back, f"{back} days before the origin")


def get(name: str) -> Feature:
    """Return the feature of that name.

    Raises:
        StepError: there is none.

    """
    known = registry()
    if name not in known:
        family = name.partition("_")[0]
        alike = [other for other in known if other.partition("_")[0] == family] or list(known)
        raise StepError(f"There is no feature {name!r}", hint=f"Use one of: {listed(alike, most=20)}.")
    return known[name]


def registry() -> Mapping[str, Feature]:
    """Return every declared feature by name: those of this package's modules, and of what else was imported."""
    _load_all()
    return _REGISTRY


@cache
def _load_all() -> None:
    discovery.load(discovery.modules("marketday.features", but=_HEAVY))


def _has_rows(name: str, per: Per) -> bool:
    given = INPUTS[name].per
    return given in (per, "day") or (name in GROUPED and per in ("location", "product", "category", "department"))
