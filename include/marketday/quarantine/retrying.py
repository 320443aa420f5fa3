"""Which refused rows are judged again this morning, and which need it no more because something newer is there."""

import datetime as dt
from collections.abc import Mapping

import polars as pl

from marketday.quarantine.states import REFUSED_ROW
from marketday.tables import RUN_DAY, Table
from marketday.tables.schema import REREAD, UNREADABLE
from marketday.warehouse import empty


def waits_for(table: Table) -> frozenset[str]:
    """Return the reasons with which a row of ``table`` waits for master data."""
    return frozenset(f"unknown_{column.references.removesuffix('s')}" for column in table.columns if column.references)


def as_delivered(rows: pl.DataFrame, table: Table) -> pl.DataFrame:
    """Return refused ``rows`` of one table with the delivered columns beside theirs: what ``content`` says.

    As in a delivery that was read, what could not be read is null, and ``unreadable`` and ``reread`` say what it was.
    """
    types = {name: kind for name, kind in empty(table).schema.items() if name != RUN_DAY}
    how_read = {column.name: pl.String() for column in (UNREADABLE, REREAD)}
    content = pl.col("content").str.json_decode(pl.Struct({**types, **how_read}))
    return rows.with_columns(content.alias("decoded")).unnest("decoded")


def superseded(rows: pl.DataFrame, table: Table, facts: pl.LazyFrame) -> pl.DataFrame:
    """Return those of ``rows`` (see :func:`as_delivered`) that something newer among ``facts`` takes the place of.

    That is a row of the same key that came with the same delivery or a later one. A planned row is also superseded by
    the next plan that was made up to its day, whether that has the row or leaves it out.
    """
    since = facts.filter(pl.col(RUN_DAY) >= rows["delivery_day"].min())
    brought = since.select(*table.key, RUN_DAY).join(rows.lazy().select(table.key), on=table.key, how="semi")
    latest = brought.group_by(table.key).agg(pl.col(RUN_DAY).max().alias("brought")).collect()
    newer = pl.col("brought") >= pl.col("delivery_day")
    if table.planned:
        plans = since.filter(pl.col("day") >= pl.col(RUN_DAY)).select(pl.col(RUN_DAY).unique().sort()).collect()
        by_its_day, by_its_delivery = (
            pl.lit(plans[RUN_DAY]).search_sorted(pl.col(name), side="right") for name in ("day", "delivery_day")
        )
        newer = newer.fill_null(value=False) | (by_its_day > by_its_delivery)
    with_latest = rows.join(latest, on=table.key, how="left", maintain_order="left")
    return with_latest.filter(newer).select(rows.columns)


def due(rows: pl.DataFrame, table: Table, keys: Mapping[str, pl.Series], day: dt.date) -> pl.DataFrame:
    """Return those of ``rows`` (see :func:`as_delivered`) to try on the morning of ``day``.

    These are the rows that somebody ``asked`` for, and those that wait for master data and find all that they refer to
    among ``keys`` (by dimension). Of a planned table only what was planned for days before: a row of today or later
    would stand for a whole plan and withdraw everything else that is planned.
    """
    waits = pl.col("reason").is_in(waits_for(table))
    for column in table.columns:
        if column.references:
            found = pl.col(column.name).is_in(keys[column.references].implode())
            waits &= (found | (pl.col(column.name) == column.wildcard)).fill_null(value=True)
    wanted = rows.filter(pl.col("asked") | waits)
    return wanted.filter(pl.col("day") < day) if table.planned else wanted


def named(rows: pl.DataFrame) -> pl.DataFrame:
    """Return what names the rows, and the reason of each: the columns of the table `replays`."""
    return rows.select(*REFUSED_ROW, "reason")
