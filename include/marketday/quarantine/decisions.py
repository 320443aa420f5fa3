"""What people decide about refused rows: written once, never changed; a later decision takes the place of it."""

import datetime as dt
import hashlib
import json
from typing import Literal

import polars as pl

from marketday.errors import WarehouseError, listed
from marketday.quarantine.states import REFUSED_ROW, State
from marketday.tables import DECISIONS, Table

Decision = Literal["replay", "discard"]

DECIDABLE: dict[Decision, tuple[State, ...]] = {"replay": ("open", "discarded"), "discard": ("open",)}
"""Which rows may be decided upon: one that was discarded may be taken back, what was settled stays so."""

_ID_LENGTH = 16
_ID_PARTS = 3


def decide(rows: pl.DataFrame, decision: Decision, *, why: str, by: str, at: dt.datetime) -> pl.DataFrame:
    """Return one decision on ``rows`` (with the columns of ``REFUSED_ROW``) as the table `quarantine_decisions` has it.

    All of them have the same ``block``: an id that no other decision has.
    """
    about = rows.select(REFUSED_ROW).sort(REFUSED_ROW)
    said = json.dumps([decision, why, by, at.isoformat(), about.drop("content").rows()], default=str)
    return about.with_columns(
        decision=pl.lit(decision),
        why=pl.lit(why),
        by=pl.lit(by),
        at=pl.lit(at).cast(pl.Datetime("us", "UTC")),
        block=pl.lit(hashlib.sha256(said.encode()).hexdigest()[:_ID_LENGTH]),
    ).select(DECISIONS.delivered_schema.names)


def row_id(delivery_day: dt.date, table: str, row: int) -> str:
    """Return the id of a refused row, such as ``2026-03-02/sales/17``."""
    return f"{delivery_day.isoformat()}/{table}/{row}"


def parse_id(text: str, tables: tuple[Table, ...]) -> tuple[dt.date, str, int]:
    """Read an id.

    Raises:
        WarehouseError: it is none; says which part is wrong.

    """
    hint = "An id is day/table/row, such as 2026-03-02/sales/17; `marketday quarantine list RETAILER --rows` has them."
    parts = text.split("/")
    if len(parts) != _ID_PARTS:
        raise WarehouseError(f"{text!r} names no refused row", hint=hint)
    day, table, row = parts
    names = [each.name for each in tables]
    if table not in names:
        raise WarehouseError(f"{text!r}: there is no delivered table {table!r}", hint=f"Use one of: {listed(names)}.")
    try:
        return dt.date.fromisoformat(day), table, int(row)
    except ValueError as error:
        raise WarehouseError(f"{text!r}: {error}", hint=hint) from None
