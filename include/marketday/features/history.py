"""Columns from a series' own demand, as known at the end of an origin, for a target day.

One function serves training, the direct scheme (origin fixed, target moves on) and the recursive one (origin is always
the day before the target, and predictions stand in for the demand of the days between).
"""

import numpy as np

from marketday.features.kernels import Array, Index, at, mean_of_known, running_sums, window_mean

WEEK = 7
SAME_WEEKDAY = (1, 2, 3, 4)
"""The last, second to last, … known day with the target's weekday."""
WINDOWS = ((7, 0), (28, 0), (7, 7), (28, 7), (7, 28), (28, 28), (91, 0))
"""Means over (width) days that end (back) days before the origin."""


HISTORY_COLUMNS = (
    *(f"weekday_{k}" for k in SAME_WEEKDAY),
    "weekday_mean",
    *(f"mean_{width}_back_{back}" for width, back in WINDOWS),
)


def own_history(demand: Array, series: Index, origin: Index, target: Index) -> dict[str, Array]:
    """Return the HISTORY_COLUMNS for rows given by series and by columns of ``demand``: origin and target.

    Nothing after ``origin`` is looked at. Values are NaN where nothing is known.
    """
    latest = target - WEEK * -((origin - target) // WEEK)
    weekdays = np.stack([at(demand, series, latest - WEEK * (k - 1)) for k in SAME_WEEKDAY])
    running = running_sums(demand)
    means = [window_mean(running, series, origin - back, width) for width, back in WINDOWS]
    return dict(zip(HISTORY_COLUMNS, (*weekdays, mean_of_known(weekdays), *means), strict=True))
