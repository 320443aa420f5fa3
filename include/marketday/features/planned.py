"""Features of the target day itself: what is planned or known of it beforehand."""

import numpy as np
from numpy.typing import DTypeLike

from marketday.features import kernels
from marketday.features.declare import INPUTS, Feature, View, declare, feature
from marketday.features.kernels import Array

PRICE_WINDOW = 91
"""Days that a price is compared with: one quarter, longer than most promotions."""
RECENT_WINDOW = 28
"""Days that a price or promotion is compared with besides: those that most weigh in the recent level of demand."""


def plain(name: str, dtype: DTypeLike = np.float32, vocabulary: str = "") -> Feature:
    """Declare an input as a feature, as it is."""
    given = INPUTS[name]
    return declare(
        Feature(
            name=name,
            inputs=(name,),
            lookback=1,
            knows="planned",
            compute=lambda view: getattr(view, name),
            doc=f"{given.doc}.",
            per=given.per,
            dtype=dtype,
            vocabulary=vocabulary,
        )
    )


def price_mean(width: int) -> Feature:
    """Declare the mean price of ``width`` days up to the target."""
    return declare(
        Feature(
            name=f"price_mean_{width}",
            inputs=("price",),
            lookback=width,
            knows="planned",
            compute=lambda view: view.windows("price").mean(width),
            daywise=True,
            doc=f"Mean price of the {width} days up to the target.",
        )
    )


PLAIN = [plain(name) for name in ("price", "promotion", "temperature", "precipitation", "payday")]
CALENDAR = [
    *(plain(name, np.int8) for name in ("weekday", "day_of_month", "week", "month")),
    plain("year", np.int16),
]
CODES = [
    *(plain(name, np.int16, vocabulary=name) for name in ("category", "department", "region", "unit")),
    *(plain(name, np.int32, vocabulary=name) for name in ("location", "product")),
    *(plain(name, np.int16, vocabulary="event") for name in ("event", "event_tomorrow")),
]
PRICE_MEANS = [price_mean(28)]


@feature(inputs=("price",), lookback=RECENT_WINDOW + 1, knows="planned")
def price_change(view: View) -> Array:
    """Price over its mean of the 28 days before the target: recent demand rests on those prices."""
    return view.price / kernels.lag(view.windows("price").mean(RECENT_WINDOW), 1)


@feature(inputs=("price",), lookback=PRICE_WINDOW + 1, knows="planned")
def price_relative(view: View) -> Array:
    """Price over its mean of the 91 days before the target."""
    return view.price / kernels.lag(view.windows("price").mean(PRICE_WINDOW), 1)


@feature(inputs=("promotion",), lookback=RECENT_WINDOW + 1, knows="planned")
def promotion_change(view: View) -> Array:
    """Promotion less its mean of the 28 days before the target: recent demand rests on promotions of its own."""
    return view.promotion - kernels.lag(view.windows("promotion").mean(RECENT_WINDOW), 1)


@feature(inputs=("first_sale", "column"), lookback=1, knows="planned")
def age(view: View) -> Array:
    """Days since the first sale; unknown up to that day."""
    days = view.column - view.first_sale
    return np.where(days > 0, days, np.float32(np.nan))
