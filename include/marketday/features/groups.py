"""Features from the demand of groups of series: a location, a product over locations, a category, a department.

The recursive forecast of one block cannot know what the others will sell, so the platform reads these a whole horizon
before the target, where everything is known at every origin.
"""

from typing import Literal, get_args

from marketday.features.declare import Compute, Feature, Per, View, declare, ending
from marketday.features.kernels import Array

Group = Literal["location", "product", "category", "department"]
GROUPS: tuple[Group, ...] = get_args(Group)


def total_lag(per: Group, days: int) -> Feature:
    """Declare the group's demand of ``days`` days before the day after the origin; 1 is the origin itself."""
    doc = f"Demand of the {per} {days} days before the first day ahead, which is {ending(days - 1)}."
    return _of_group(f"{per}_total_lag_{days}", per, _total, lookback=1, back=days - 1, doc=doc)


def total_mean(per: Group, width: int) -> Feature:
    """Declare the mean of the group's daily demand over ``width`` days."""

    def compute(view: View) -> Array:
        return view.windows("demand").mean(width)

    doc = f"Mean daily demand of the {per} over the {width} days up to the origin."
    return _of_group(f"{per}_total_mean_{width}", per, compute, lookback=width, doc=doc, daywise=True)


def level(per: Group, width: int) -> Feature:
    """Declare the mean demand of the group's series over ``width`` days."""

    def compute(view: View) -> Array:
        level: Array = (view.windows("demand").sum(width) / view.windows("known").sum(width)).astype("float32")
        return level

    doc = f"Mean daily demand per series of the {per} over the {width} days up to the origin."
    return _of_group(
        f"{per}_level_{width}", per, compute, lookback=width, doc=doc, inputs=("demand", "known"), daywise=True
    )


def _of_group(
    name: str,
    per: Per,
    compute: Compute,
    *,
    lookback: int,
    doc: str,
    back: int = 0,
    inputs: tuple[str, ...] = ("demand",),
    daywise: bool = False,
) -> Feature:
    return declare(
        Feature(
            name=name,
            inputs=inputs,
            lookback=lookback,
            knows="origin",
            compute=compute,
            doc=doc,
            per=per,
            back=back,
            daywise=daywise,
        )
    )


def _total(view: View) -> Array:
    return view.demand


TOTAL_LAGS = [total_lag(per, days) for per in GROUPS for days in (1, 28)]
TOTAL_MEANS = [total_mean(per, 28) for per in GROUPS]
LEVELS = [level(per, 28) for per in ("location", "product")]
