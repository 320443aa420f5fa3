"""What is compared: 33 columns, by their names in this project, of all series and days of M5, and how it is told."""

import datetime as dt
import json
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

FIRST = dt.date(2011, 1, 29)
DAYS = 1969
"""With the 28 days ahead of the data, whose demand is unknown."""

LAGS = (1, 7, 14, 28, 364)
WIDTHS = (7, 28, 56)
SHIFTS = (1, 28)
LAG_COLUMNS = [f"lag_{days}" for days in LAGS]
WINDOW_COLUMNS = [f"{of}_{width}_back_{shift - 1}" for shift in SHIFTS for of in ("mean", "std") for width in WIDTHS]
"""``back`` counts from the origin, the day before the row's: 0 is a shift of 1, 27 one of 28."""
PRICE_COLUMNS = ["price_mean_28", "price_relative"]
TOTAL_COLUMNS = [f"{of}_total_{what}" for of in ("location", "product") for what in ("lag_1", "lag_28", "mean_28")]
DATE_COLUMNS = ["weekday", "day_of_month", "week", "month", "year"]
EVENT_COLUMNS = ["payday", "event", "event_tomorrow"]
ALL = [*LAG_COLUMNS, *WINDOW_COLUMNS, *PRICE_COLUMNS, *TOTAL_COLUMNS, *DATE_COLUMNS, *EVENT_COLUMNS]


def sampled(items: Sequence[str]) -> list[str]:
    """Return the items of a store, given sorted, whose values are compared with the oracle."""
    return [items[0], items[len(items) // 2]]


class Clock:
    """Wall and CPU seconds of this process, all its threads included, from its making to :meth:`stop`."""

    def __init__(self) -> None:
        self._begun = (time.perf_counter(), time.process_time())

    def stop(self) -> dict[str, float]:
        """Return both, by name."""
        return {"seconds": time.perf_counter() - self._begun[0], "cpu": time.process_time() - self._begun[1]}


def report(out: Path, took: dict[str, float], checked: dict[str, dict[str, np.ndarray]], **more: float) -> None:
    """Write what one run took and the values, by series and column, that are compared with the oracle."""
    out.write_text(json.dumps({**took, **more}), encoding="utf-8")
    values = {f"{series}|{name}": column for series, columns in checked.items() for name, column in columns.items()}
    np.savez(out.with_suffix(".npz"), **values)
