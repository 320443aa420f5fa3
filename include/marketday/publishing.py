"""Publishing: which rows are in force on a business day, and the proof that nobody changed them.

The table `publications` is the pointer. One row per published table names the day and the version that hold its rows,
and their content hash. A version never changes, so what was published can always be read back as it was.
"""

import datetime as dt
from typing import Any

import polars as pl

from marketday.errors import StepError
from marketday.orders import worst
from marketday.tables import FORECASTS, ORDERS, PUBLICATIONS, RUN_DAY, Table
from marketday.warehouse import Warehouse, content_hash

PUBLISHED: dict[str, Table] = {FORECASTS.name: FORECASTS, ORDERS.name: ORDERS}


def entry(table: Table, rows: pl.DataFrame, *, day: dt.date, version: int, published: pl.DataFrame) -> pl.DataFrame:
    """Return the publication row of a table's ``rows`` of ``day``, held by ``version``.

    ``published`` are the day's publications so far. If the same content is among them, its version is kept: to publish
    again changes nothing.

    Raises:
        StepError: there are no rows.

    """
    if rows.is_empty():
        raise StepError(
            f"There is nothing to publish: {table.name} has no rows of {day}",
            hint=f"Run the steps before publish; what is in force stays in force until {table.name} has rows.",
        )
    digest = content_hash(rows, table)
    same = published.filter(
        pl.col("table") == table.name, pl.col("of_day") == day, pl.col("reason") == "", pl.col("content_hash") == digest
    )
    return pl.DataFrame(
        {
            "table": [table.name],
            "of_day": [day],
            "reason": [""],
            "version": [same["version"].item() if same.height else version],
            "content_hash": [digest],
            "rows": [rows.height],
            "mode": rows.select(worst(pl.col("mode"))).to_series(),
        }
    )


def in_force(publications: pl.DataFrame, day: dt.date) -> pl.DataFrame:
    """Return what is in force on ``day``: the latest day's publications up to then, by table, with ``stale``.

    Stale is what was made for an earlier day: a gate held it over (``reason`` says why), or ``day`` is not yet
    published. A table without a row is not in force: where a gate stopped the run, no orders are.
    """
    past = publications.filter(pl.col(RUN_DAY) <= day)
    latest = past.filter(pl.col(RUN_DAY) == pl.col(RUN_DAY).max()).sort("table")
    return latest.with_columns((pl.col("of_day") < day).alias("stale"))


def tables_in_force(
    warehouse: Warehouse, retailer: str, day: dt.date | None = None, *, version: int | None = None
) -> list[Table]:
    """Return the tables of which something is in force on ``day`` (None: the latest), as ``version`` of them says."""
    publications = warehouse.scan(retailer, PUBLICATIONS, version=version).collect()
    return [PUBLISHED[name] for name in in_force(publications, day or dt.date.max)["table"]]


def rows_of(warehouse: Warehouse, retailer: str, table: Table, *, of_day: dt.date, version: int | None) -> pl.DataFrame:
    """Read the rows of ``of_day`` as ``version`` holds them (None: the latest)."""
    return warehouse.scan(retailer, table, version=version).filter(pl.col(RUN_DAY) == of_day).collect()


def read(
    warehouse: Warehouse, retailer: str, table: Table, day: dt.date | None = None, *, version: int | None = None
) -> tuple[dict[str, Any], pl.DataFrame]:
    """Return the publication of ``table`` that is in force on ``day`` (None: the latest) and its rows.

    ``version`` is that of the table `publications`, to look back at what was in force (None: the latest).

    Raises:
        StepError: none is.

    """
    publications = warehouse.scan(retailer, PUBLICATIONS, version=version).collect()
    found = in_force(publications, day or dt.date.max).filter(pl.col("table") == table.name)
    if found.is_empty():
        raise StepError(
            f"No {table.name} of {retailer} are in force{f' on {day}' if day else ''}",
            hint=f"`marketday status {retailer}` says what went wrong; `marketday run {retailer}` plans a first day.",
        )
    publication = found.row(0, named=True)
    rows = rows_of(warehouse, retailer, table, of_day=publication["of_day"], version=publication["version"])
    return publication, rows


def check(publication: dict[str, Any], published: pl.DataFrame, current: pl.DataFrame) -> None:
    """Compare a publication with the rows that its version holds and with the rows that the table holds now.

    Raises:
        StepError: the rows are not those that were published.

    """
    table = PUBLISHED[publication["table"]]
    name = f"{table.name} of {publication['of_day']}"
    recorded = publication["content_hash"]
    if content_hash(published, table) != recorded:
        raise StepError(
            f"{name}: version {publication['version']} holds {published.height} rows that are not the "
            f"{publication['rows']} published: the files were changed behind the warehouse's back",
            hint="Restore the warehouse's files from their backup, or run the day again from the step calibrate.",
            evidence=f"recorded {recorded}, found {content_hash(published, table)}",
        )
    if content_hash(current, table) != recorded:
        differing = changed(published, current, table)
        raise StepError(
            f"{name}: {differing.height} rows differ from what was published in version {publication['version']}",
            hint="Do not edit predictions: deliver the correction as an input (a price, a promotion, an event) and run "
            "the day again from the step features. Until then the published version stays in force.",
            evidence="; ".join(" ".join(map(str, key)) for key in differing.select(table.key).head(3).rows()),
        )


def changed(before: pl.DataFrame, after: pl.DataFrame, table: Table) -> pl.DataFrame:
    """Return the keys of rows that were added, removed or changed in any value."""
    names = table.schema.names
    gone = before.select(names).join(after.select(names), on=names, how="anti", nulls_equal=True)
    new = after.select(names).join(before.select(names), on=names, how="anti", nulls_equal=True)
    return pl.concat([gone, new]).select(table.key).unique().sort(table.key)
