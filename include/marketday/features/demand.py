"""Features from a series' own demand. Each family is a function; each call of it below declares one feature."""

from functools import lru_cache

from marketday.features import kernels
from marketday.features.declare import Compute, Feature, View, declare, ending, feature
from marketday.features.kernels import Array

WEEK = 7


def lag(days: int) -> Feature:
    """Declare the demand of ``days`` days before the day after the origin; 1 is the origin itself."""
    doc = f"Demand {days} days before the first day ahead, which is {ending(days - 1)}."
    return _own(f"lag_{days}", _demand, lookback=1, back=days - 1, doc=doc)


def same_weekday(number: int) -> Feature:
    """Declare the demand of the ``number``-th last known day with the target's weekday."""
    doc = f"Demand of the last day but {number - 1} up to the origin that has the target's weekday."
    return _own(f"weekday_{number}", _demand, lookback=1, back=WEEK * (number - 1), same_weekday=True, doc=doc)


def mean(width: int, back: int = 0) -> Feature:
    """Declare the mean over ``width`` days that end ``back`` days before the origin."""
    doc = f"Mean demand of {width} days, the last of them {ending(back)}."
    return _own(f"mean_{width}_back_{back}", _mean(width), lookback=width, back=back, doc=doc, daywise=True)


def std(width: int, back: int = 0) -> Feature:
    """Declare the sample standard deviation over ``width`` days that end ``back`` days before the origin."""
    doc = f"Standard deviation of demand over {width} days, the last of them {ending(back)}."
    return _own(f"std_{width}_back_{back}", _std(width), lookback=width, back=back, doc=doc, daywise=True)


def ewm(half_life: int) -> Feature:
    """Declare a mean in which a day counts half as much as one ``half_life`` days later; ends after 8 half-lives."""
    width = 8 * half_life

    def compute(view: View) -> Array:
        return view.windows("demand", half_life).mean(width)

    doc = f"Mean demand of {width} days; a day counts half as much as one {half_life} days after it."
    return _own(f"ewm_{half_life}", compute, lookback=width, doc=doc, daywise=True)


def highest(width: int) -> Feature:
    """Declare the largest demand of ``width`` days."""

    def compute(view: View) -> Array:
        return kernels.rolling_max(view.demand, width)

    return _own(f"max_{width}", compute, lookback=width, doc=f"Largest demand of the {width} days up to the origin.")


def selling(width: int) -> Feature:
    """Declare the share of known days that sold a unit or more, among ``width`` days; less than one counts in part."""

    def compute(view: View) -> Array:
        # Capped rather than counted: a recursive forecast puts its means, which are never 0, in the place of demand.
        return view.windows("demand", at_most=1.0).mean(width)

    doc = f"Mean over the {width} days up to the origin of demand, at most one unit a day: the share of selling days."
    return _own(f"selling_{width}", compute, lookback=width, doc=doc, daywise=True)


@feature(inputs=("demand",), lookback=91, knows="origin")
def days_since_sale(view: View) -> Array:
    """Days from the last day with demand to the origin; 91 where there was none in 91 days."""
    return kernels.days_since(view.demand > 0, 91)


def _own(
    name: str,
    compute: Compute,
    *,
    lookback: int,
    doc: str,
    back: int = 0,
    same_weekday: bool = False,
    daywise: bool = False,
) -> Feature:
    return declare(
        Feature(
            name=name,
            inputs=("demand",),
            lookback=lookback,
            knows="origin",
            compute=compute,
            back=back,
            same_weekday=same_weekday,
            daywise=daywise,
            doc=doc,
        )
    )


def _demand(view: View) -> Array:
    return view.demand


def _four_weeks(view: View) -> Array:
    return kernels.mean_of_known(*(kernels.lag(view.demand, WEEK * week) for week in range(4)))


@lru_cache
def _mean(width: int) -> Compute:
    """Return one function per width, so that features that differ only in ``back`` share its result."""
    return lambda view: view.windows("demand").mean(width)


@lru_cache
def _std(width: int) -> Compute:
    return lambda view: view.windows("demand").std(width)


LAGS = [lag(days) for days in (1, 7, 14, 28, 364)]
WEEKDAYS = [same_weekday(number) for number in (1, 2, 3, 4)]
WEEKDAY_MEAN = _own(
    "weekday_mean",
    _four_weeks,
    lookback=3 * WEEK + 1,
    same_weekday=True,
    doc="Mean demand of the last four days up to the origin that have the target's weekday.",
)
MEANS = [mean(width, back) for width, back in ((7, 0), (28, 0), (7, 7), (28, 7), (7, 28), (28, 28), (91, 0))]
LONG_MEANS = [mean(182), mean(364), mean(28, 350)]
WIDER_MEANS = [mean(56), *(mean(width, 27) for width in (7, 28, 56))]
STDS = [std(width, back) for back in (0, 27) for width in (7, 28, 56)]
LEVELS = [*(ewm(half_life) for half_life in (3, 7, 14, 28)), highest(28)]
SELLING = [selling(width) for width in (7, 14, 28, 91)]
