"""Read delivered cells: text where it was CSV, typed where it was Parquet, into the types of the catalogue."""

import datetime as dt

import polars as pl

from marketday import deliveries, tables
from marketday.errors import DeliveryError
from marketday.tables import RUN_DAY, Table
from marketday.warehouse import empty

_COMMA = r"^[+-]?(\d{1,3}(\.\d{3})+|\d+),\d+$"
"""A number with a decimal comma, thousands perhaps marked by points …"""
_AMBIGUOUS = r"^[+-]?[1-9]\d{0,2},\d{3}$"
"""… unless its comma may as well mark thousands: 1,500."""
_GROUPED = r"^[+-]?[1-9]\d{0,2}(,\d{3})+\.\d+$"
"""A number with a decimal point, thousands marked by commas."""


def as_raw(delivered: pl.DataFrame, table: Table) -> pl.DataFrame:
    """Cast delivered rows to the raw twin's types, without ``run_day``.

    What cannot be read as its column's type becomes null, and ``unreadable`` says `column=text` (several joined by
    `; `); ``reread`` says the same of numbers that were written with a decimal comma, and could be read. A nullable
    column that was not delivered is null.

    Raises:
        DeliveryError: a column is missing or unknown, or has a nested type.

    """
    deliveries.check_columns(table, delivered.columns)
    types = empty(tables.RAW[table.name]).drop(RUN_DAY).schema
    columns, lost, reread = [], [], []
    for name in table.delivered_schema.names:
        if name not in delivered.columns:
            columns.append(pl.Series(name, [None], dtype=types[name]).new_from_index(0, delivered.height))
            continue
        given = delivered[name]
        try:
            read = _read(given, types[name])
            unread = given.is_not_null() & read.is_null()
            if unread.any() and given.dtype == pl.String and types[name].is_float():
                with_comma = _read_with_comma(given.filter(unread), types[name])
                read = read.scatter(unread.arg_true(), with_comma)
                reread.append(_told(given, unread & read.is_not_null()))
                unread &= read.is_null()
            lost.append(_told(given, unread))
        except pl.exceptions.PolarsError as error:
            raise DeliveryError(f"{table.name}.{name}: cannot be read as {types[name]}: {error}") from error
        columns.append(read)
    rows = pl.int_range(pl.len(), dtype=pl.Int64)
    return pl.DataFrame(columns).with_columns(row=rows, unreadable=_joined(lost), reread=_joined(reread))


def _read(given: pl.Series, wanted: pl.DataType) -> pl.Series:
    """Return the column in the wanted type, null where a value does not survive the way there."""
    if wanted == pl.Date and not given.dtype.is_temporal():
        return given.cast(pl.String).str.strip_chars().str.to_date("%Y-%m-%d", strict=False)
    if wanted == pl.Date and isinstance(given.dtype, pl.Datetime):
        # A time within the day is one of another time zone, or of something that is no business day.
        return given.dt.date().set(given.dt.time() != dt.time(0), None)
    if given.dtype == pl.String and wanted != pl.String:
        given = given.str.strip_chars()
    read = given if given.dtype == wanted else given.cast(wanted, strict=False)
    if wanted.is_float():
        return read.set(~read.is_finite(), None)
    if wanted.is_integer() and given.dtype.is_float():
        return read.set(read.cast(pl.Float64) != given, None)
    return read


def _read_with_comma(given: pl.Series, wanted: pl.DataType) -> pl.Series:
    """Read numbers with separators, null where they can mean two things."""
    text = pl.col("text")
    pointed = (
        pl.when(text.str.contains(_COMMA) & ~text.str.contains(_AMBIGUOUS))
        .then(text.str.replace_all(".", "", literal=True).str.replace(",", ".", literal=True))
        .when(text.str.contains(_GROUPED))
        .then(text.str.replace_all(",", "", literal=True))
    )
    return given.str.strip_chars().alias("text").to_frame().select(pointed.cast(wanted, strict=False)).to_series()


def _told(given: pl.Series, where: pl.Series) -> pl.Series | None:
    """Return `column=text` where it is to be told, null elsewhere; None if nowhere."""
    return (f"{given.name}=" + given.cast(pl.String)).set(~where, None) if where.any() else None


def _joined(parts: list[pl.Series | None]) -> pl.Expr:
    told = [part for part in parts if part is not None]
    if not told:
        return pl.lit(None, dtype=pl.String)
    texts = pl.concat_str(told, separator="; ", ignore_nulls=True)
    return pl.when(texts != "").then(texts)
