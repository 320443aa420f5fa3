"""What was known on a morning: of all rows of a table, those that no other row takes the place of."""

import datetime as dt

import polars as pl

from marketday.tables import RUN_DAY, Table


def as_known(rows: pl.LazyFrame, table: Table, day: dt.date) -> pl.LazyFrame:
    """Keep what was known on the morning of ``day``: per key, the row with the latest ``run_day`` not after it.

    Of a planned table, without what was withdrawn; its ``rows`` must then be all there are, since a delivery that left
    a fact out is recognised by the other facts that it brought.
    """
    known = rows.filter(pl.col(RUN_DAY) <= day)
    if table.planned:
        known = _not_withdrawn(known)
    if "day" in table.key and not _overlaps(known):
        return known
    return known.sort(RUN_DAY).unique(subset=list(table.key), keep="last", maintain_order=True)


def _not_withdrawn(known: pl.LazyFrame) -> pl.LazyFrame:
    """Drop the rows that a later plan, made on their day at the latest, takes the place of.

    A run day that brought any fact of itself or a later day brought the whole plan from itself on.
    """
    plans = known.filter(pl.col("day") >= pl.col(RUN_DAY)).select(pl.col(RUN_DAY).unique().sort()).collect()[RUN_DAY]
    made_by_its_day = pl.lit(plans).search_sorted(pl.col("day"), side="right")
    made_by_its_delivery = pl.lit(plans).search_sorted(pl.col(RUN_DAY), side="right")
    return known.filter(made_by_its_day <= made_by_its_delivery)


def _overlaps(rows: pl.LazyFrame) -> bool:
    """Whether any two run days brought facts of the same day; if none did, no row supersedes another."""
    spans = (
        rows.group_by(RUN_DAY).agg(pl.col("day").min().alias("first"), pl.col("day").max().alias("last")).sort(RUN_DAY)
    )
    return bool(spans.select((pl.col("first") <= pl.col("last").cum_max().shift(1)).any()).collect().item())
