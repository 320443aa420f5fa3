"""What a table's rows must be before they are stored, and in which order."""

import datetime as dt
from collections.abc import Iterable, Iterator, Sequence

import polars as pl

from marketday.errors import WarehouseError, listed
from marketday.tables import RUN_DAY, Table


def empty(table: Table) -> pl.DataFrame:
    """Return the table with no rows."""
    frame = pl.from_arrow(table.schema.empty_table())
    assert isinstance(frame, pl.DataFrame)  # noqa: S101  from_arrow's type is wider than a table's result
    return frame


def conform(rows: pl.DataFrame, table: Table, run_day: dt.date) -> pl.DataFrame:
    """Return ``rows`` with ``run_day``, the catalogue's order and types, sorted by the key.

    Raises:
        WarehouseError: a column is missing or surplus, a null stands where none may, a key occurs twice.

    """
    wanted = [name for name in table.schema.names if name != RUN_DAY]
    given = [name for name in rows.columns if name != RUN_DAY]
    if set(wanted) != set(given):
        missing, surplus = sorted(set(wanted) - set(given)), sorted(set(given) - set(wanted))
        raise WarehouseError(f"{table.name}: missing columns [{listed(missing)}], surplus columns [{listed(surplus)}]")
    try:
        typed = rows.select(wanted).cast({n: t for n, t in empty(table).schema.items() if n != RUN_DAY})
    except pl.exceptions.PolarsError as error:
        raise WarehouseError(f"{table.name}: a column has the wrong type: {error}") from error
    nulls = [n for n in wanted if not table.schema.field(n).nullable and typed[n].null_count()]
    if nulls:
        raise WarehouseError(f"{table.name}: nulls in {listed(nulls)}, which may have none")
    dated = typed.with_columns(pl.lit(run_day).alias(RUN_DAY))
    if rising(dated, table.key):
        return dated
    ordered = dated.sort(table.key)
    if not rising(ordered, table.key):
        raise _twice(table)
    return ordered


def conformed(frames: Iterable[pl.DataFrame], table: Table, run_day: dt.date) -> Iterator[pl.DataFrame]:
    """Return each frame as :func:`conform` does; together they must come in the order of the key.

    Raises:
        WarehouseError: as :func:`conform`, or a frame begins before the one before it ended.

    """
    ends = empty(table).select(table.key)
    for frame in frames:
        rows = conform(frame, table, run_day)
        if rows.is_empty():
            continue
        meeting = pl.concat([ends, rows.select(table.key).head(1)])
        if not rising(meeting, table.key):
            if meeting.is_duplicated().any():
                raise _twice(table)
            raise WarehouseError(
                f"{table.name}: the rows do not come in the order of their key: "
                f"{meeting.row(1)} after {meeting.row(0)}",
                hint=f"Give frames that are sorted by {', '.join(table.key)} from one to the next.",
            )
        ends = rows.select(table.key).tail(1)
        yield rows


def rising(rows: pl.DataFrame, key: Sequence[str]) -> bool:
    """Whether each row's key comes after that of the row before, so that none occurs twice; a null comes nowhere."""
    keys = rows.select(key)
    before, after = keys.head(-1), keys.slice(1)
    # Neighbours mostly differ in the last column alone, and two texts are sooner seen to be equal than put in order.
    later = after[key[-1]] > before[key[-1]]
    for name in key[:-1]:
        later &= after[name] == before[name]
    unsure = ~later.fill_null(value=False)
    pairs = pl.concat([before.filter(unsure), after.filter(unsure).rename("after {}".format)], how="horizontal")
    rises = pl.lit(value=False)
    for name in reversed(key):
        one, next_one = pl.col(name), pl.col(f"after {name}")
        rises = (next_one > one) | ((next_one == one) & rises)
    return bool(pairs.select(rises.all(ignore_nulls=False)).item())


def _twice(table: Table) -> WarehouseError:
    return WarehouseError(f"{table.name}: a key ({', '.join(table.key)}) occurs twice")
