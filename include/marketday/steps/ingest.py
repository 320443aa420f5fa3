"""Step `ingest`: the day's delivery into the raw tables, cell by cell as delivered, typed where it can be."""

import polars as pl

from marketday import deliveries, tables
from marketday.deliveries import Receipt
from marketday.errors import DeliveryError, StepError
from marketday.steps.contract import Context, Outputs, step
from marketday.tables import RUN_DAY, Table
from marketday.warehouse import empty


@step("ingest", reads=(tables.SALES,), writes=tuple(tables.RAW.values()), size="M", repeatable=False)
def ingest(context: Context) -> Outputs:
    """Take the day's latest delivery into the raw tables; without one, the morning goes on with what is known.

    Raises:
        DeliveryError: a delivered table lacks a column, or has one that the catalogue does not know.
        StepError: there is neither a delivery nor any history.

    """
    call = context.call
    receipt = deliveries.latest(context.deliveries, call.retailer, call.day)
    if receipt is None:
        return _without_delivery(context)
    frames = {table.name: _ingested(context, receipt, table) for table in tables.DELIVERED}
    return Outputs(
        tables={tables.RAW[name].name: frame for name, frame in frames.items()},
        facts={
            "delivery": receipt.id,
            "sequence": receipt.sequence,
            "kind": receipt.kind,
            "rows": {name: frame.height for name, frame in frames.items()},
        },
    )


def as_raw(delivered: pl.DataFrame, table: Table) -> pl.DataFrame:
    """Cast delivered rows to the raw twin's types, without ``run_day``.

    What cannot be read as its column's type becomes null, and ``unreadable`` says `column=text` (several joined by
    `; `). A nullable column that was not delivered is null.

    Raises:
        DeliveryError: a column is missing or unknown, or has a nested type.

    """
    deliveries.check_columns(table, delivered.columns)
    types = _empty(tables.RAW[table.name]).schema
    columns, complaints = [], []
    for name in table.delivered_schema.names:
        if name not in delivered.columns:
            columns.append(pl.Series(name, [None], dtype=types[name]).new_from_index(0, delivered.height))
            continue
        given = delivered[name]
        try:
            read = _read(given, types[name])
            lost = given.is_not_null() & read.is_null()
            if lost.any():
                text = f"{name}=" + given.cast(pl.String)
                complaints.append(text.set(~lost, None).alias(name))
        except pl.exceptions.PolarsError as error:
            raise DeliveryError(f"{table.name}.{name}: cannot be read as {types[name]}: {error}") from error
        columns.append(read)
    unreadable = pl.lit(None, dtype=pl.String)
    if complaints:
        texts = pl.concat_str(complaints, separator="; ", ignore_nulls=True)
        unreadable = pl.when(texts != "").then(texts)
    rows = pl.int_range(pl.len(), dtype=pl.Int64)
    return pl.DataFrame(columns).with_columns(row=rows, unreadable=unreadable)


def _ingested(context: Context, receipt: Receipt, table: Table) -> pl.DataFrame:
    if table.name not in receipt.tables:
        return _empty(tables.RAW[table.name])
    return as_raw(deliveries.read(context.deliveries, receipt, table.name), table)


def _without_delivery(context: Context) -> Outputs:
    call = context.call
    known = context.scan(tables.SALES).filter(pl.col(RUN_DAY) <= call.day).head(1).collect()
    if known.is_empty():
        raise StepError(
            f"{call.retailer} has delivered nothing by {call.day}, and no sales are known from before",
            hint=f"Deliver a history first: marketday deliver {call.retailer} --day {call.day}.",
            evidence=str(context.deliveries / call.retailer),
        )
    return Outputs(
        tables={raw.name: _empty(raw) for raw in tables.RAW.values()},
        facts={
            "delivery": None,
            "note": f"No delivery for {call.day}: the forecast is made from what was known before.",
        },
    )


def _empty(table: Table) -> pl.DataFrame:
    return empty(table).drop(RUN_DAY)


def _read(given: pl.Series, wanted: pl.DataType) -> pl.Series:
    """Return the column in the wanted type, null where a value does not survive the way there."""
    if wanted == pl.Date and not given.dtype.is_temporal():
        return given.cast(pl.String).str.strip_chars().str.to_date("%Y-%m-%d", strict=False)
    if given.dtype == pl.String and wanted != pl.String:
        given = given.str.strip_chars()
    read = given if given.dtype == wanted else given.cast(wanted, strict=False)
    if wanted.is_float():
        return read.set(~read.is_finite(), None)
    if wanted.is_integer() and given.dtype.is_float():
        return read.set(read.cast(pl.Float64) != given, None)
    return read
