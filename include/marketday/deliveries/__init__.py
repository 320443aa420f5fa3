"""Accepted deliveries: what a retailer sent for a day, immutable from its receipt on.

A delivery is staged table by table and becomes visible with its receipt, one object that is created once: nobody ever
sees half of one, on a folder or in an object store (:mod:`marketday.deliveries.acceptance` has the layout).

A second delivery of the same kind for the same day is a correction: it gets the next sequence number, and the first one
stays. A correction replaces the tables that it brings, each as a whole; the others are carried over from the delivery
before, so that every accepted delivery is complete in itself. An empty table takes back what was delivered of it.

A history may replace a day's daily delivery, as a whole. A daily delivery never replaces a history: its few days would
take the place of all of them.
"""

import datetime as dt
import shutil
import tempfile
from pathlib import Path
from typing import BinaryIO

import polars as pl

from marketday.deliveries.acceptance import complete, find, last_day, latest, of_sequence, stage, unchanged
from marketday.deliveries.columns import check_columns
from marketday.deliveries.formats import Sent
from marketday.deliveries.limits import Limits
from marketday.deliveries.receipts import REQUIRED, Kind, Receipt, TableReceipt
from marketday.deliveries.rewriting import rewrite
from marketday.errors import DeliveryError, listed
from marketday.tables import DELIVERED, Table

_TABLES = {table.name: table for table in DELIVERED}
_PARQUET = Sent("parquet")
_UNLIMITED = Limits(body=1 << 62, unfolded=1 << 62, rows=1 << 62, columns=1 << 62)


def table_named(name: str) -> Table:
    """Return the delivered table of that name.

    Raises:
        DeliveryError: no such table is delivered.

    """
    if name not in _TABLES:
        raise DeliveryError(
            f"No table {name[:60]!r} is delivered",
            hint=f"Use one of: {listed(_TABLES, most=len(_TABLES))}.",
            where={"rule": "table"},
        )
    return _TABLES[name]


def put_table(
    root: str,
    retailer: str,
    day: dt.date,
    table_name: str,
    content: Path | BinaryIO | bytes,
    *,
    sent: Sent = _PARQUET,
    limits: Limits = _UNLIMITED,
) -> TableReceipt:
    """Read one table in this process and stage it; a second time replaces the first.

    Raises:
        DeliveryError: no such table is delivered, it is not readable, or its columns are not the catalogue's.

    """
    table = table_named(table_name)
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "sent", Path(folder) / "kept"
        if isinstance(content, Path):
            source = content
        else:
            with source.open("wb") as file:
                if isinstance(content, bytes):
                    file.write(content)
                else:
                    shutil.copyfileobj(content, file)
        measured = rewrite(source, target, table, sent, limits)
        stage(root, retailer, day, table=table.name, content=target, measured=measured)
    return measured


def scan(root: str, receipt: Receipt, table: str) -> pl.LazyFrame:
    """Return one delivered table, as delivered: text where text was sent, typed where types were.

    Its file is compared with the receipt before anything is read.

    Raises:
        DeliveryError: the delivery has no such table, or its file is no longer what was accepted.

    """
    return pl.scan_parquet(unchanged(root, receipt, table))


__all__ = [
    "REQUIRED",
    "Kind",
    "Limits",
    "Receipt",
    "Sent",
    "TableReceipt",
    "check_columns",
    "complete",
    "find",
    "last_day",
    "latest",
    "of_sequence",
    "put_table",
    "rewrite",
    "scan",
    "stage",
    "table_named",
]
