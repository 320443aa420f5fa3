"""A made-up block of series as arrays, with every input that a feature may read: gaps, late starts, closed days."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from marketday.features.declare import GROUPED, INPUTS
from marketday.features.evaluate import Inputs

DAYS = 480
"""Longer than any declared feature reaches back."""
ROWS = {"series": 6, "location": 2, "product": 3, "category": 2, "department": 2, "day": 1}
ROW = {
    "location": np.array([0, 0, 0, 1, 1, 1]),
    "product": np.array([0, 1, 2, 0, 1, 2]),
    "category": np.array([0, 0, 1, 0, 0, 1]),
    "department": np.array([0, 1, 1, 0, 1, 1]),
}
CODES = {"category", "department", "unit", "location", "product", "region", "event", "event_tomorrow"}


def values(name: str, rows: int, random: np.random.Generator) -> NDArray[Any]:
    """Return rows x DAYS of one input."""
    if name in CODES or INPUTS[name].per == "day":
        return random.integers(-1 if name in CODES else 1, 5, size=(rows, DAYS))
    made = (random.poisson(2.0, size=(rows, DAYS)) * random.choice([1.0, 0.37], size=(rows, 1))).astype(np.float32)
    made[:, random.random(DAYS) < 0.03] = 0.0  # closed days
    made[random.random(made.shape) < 0.1] = np.nan
    if rows > 2:
        made[1, :400] = np.nan  # starts late
        made[2, :-1] = np.nan  # one day only
    return made


def arrays(seed: int = 1) -> dict[tuple[str, str], NDArray[Any]]:
    """Return every input by what its rows are and its name."""
    random = np.random.default_rng(seed)
    own = {(given.per, name): values(name, ROWS[given.per], random) for name, given in INPUTS.items()}
    totals = {
        (per, name): values(name, ROWS[per], random).astype(np.float64)
        for per in ("location", "product", "category", "department")
        for name in GROUPED
    }
    return own | totals


def block(given: dict[tuple[str, str], NDArray[Any]]) -> Inputs:
    """Return the arrays as a block's inputs."""
    return Inputs(arrays=given, row=ROW, series=ROWS["series"], days=DAYS)
