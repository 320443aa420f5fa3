"""What a fault is."""

from collections.abc import Callable
from typing import NamedTuple

import polars as pl

Tables = dict[str, pl.DataFrame]

KEY = ["location_id", "product_id", "day"]


class Fault(NamedTuple):
    """A fault, and the check that finds it."""

    change: Callable[[Tables], Tables]
    """Takes the delivery and returns the tables that it changes."""
    found_as: str
    """Code of the check; empty for what is turned away at the door."""
    days_before: int = 0
    """Days before the delivery's own whose facts it needs."""
    first: bool = False
    """Whether only a retailer's first delivery can have it."""


def last_day(tables: Tables) -> pl.DataFrame:
    """Return the sales of the last day, in the order of their key; no rows if there are no sales."""
    return tables["sales"].filter(pl.col("day") == pl.col("day").max()).sort(KEY)
