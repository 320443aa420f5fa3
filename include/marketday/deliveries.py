"""Accepted deliveries: what a retailer sent for a day, immutable from its receipt on.

A delivery is staged table by table and becomes visible in one rename, so that nobody ever sees half of one::

    {root}/{retailer}/.staging/{day}/{table}.parquet            being delivered; may be repeated at any time
    {root}/{retailer}/{day}/{sequence}-{id}/{table}.parquet     accepted, with its receipt.json beside it

A second delivery of the same kind for the same day is a correction: it gets the next sequence number, and the first one
stays. A correction replaces the tables that it brings, each as a whole; the others are carried over from the delivery
before, so that every accepted delivery is complete in itself. An empty table takes back what was delivered of it.

A history may replace a day's daily delivery, as a whole. A daily delivery never replaces a history: its few days would
take the place of all of them.
"""

import datetime as dt
import fcntl
import hashlib
import io
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Literal

import polars as pl
from pydantic import BaseModel, ConfigDict, Field

from marketday.errors import DeliveryError, listed
from marketday.tables import DELIVERED, Table

Kind = Literal["history", "daily"]

REQUIRED: dict[Kind, tuple[str, ...]] = {
    "history": tuple(table.name for table in DELIVERED if table.required),
    "daily": ("sales",),
}
"""Tables without which a delivery is not complete: dimensions are known from the history on."""

_BY_NAME = {table.name: table for table in DELIVERED}
_RECEIPT = "receipt.json"
_ID_LENGTH = 16


class TableReceipt(BaseModel):
    """One delivered table, as measured on arrival."""

    model_config = ConfigDict(frozen=True)

    rows: int
    bytes: int
    sha256: str


class Receipt(BaseModel):
    """Proof of an accepted delivery."""

    model_config = ConfigDict(frozen=True)

    retailer: str
    day: dt.date = Field(description="Business day that the delivery is for; its facts end the day before.")
    id: str = Field(description="SHA-256 over kind and tables, shortened: the same content has the same id.")
    kind: Kind
    sequence: int = Field(ge=1, description="How many-th delivery of the day it is; the last one counts.")
    tables: dict[str, TableReceipt]
    accepted_at: dt.datetime = Field(description="In UTC.")


def put_table(
    root: Path, retailer: str, day: dt.date, table_name: str, content: Path | BinaryIO | bytes
) -> TableReceipt:
    """Stage one table, given as a Parquet file, stream or bytes; a second time replaces the first.

    Raises:
        DeliveryError: no such table is delivered, it is no Parquet, or its columns are not the catalogue's.

    """
    if table_name not in _BY_NAME:
        raise DeliveryError(
            f"No table {table_name!r} is delivered", hint=f"Use one of: {listed(_BY_NAME, most=len(_BY_NAME))}."
        )
    staging = _staging(root, retailer, day)
    staging.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(suffix=".part", dir=staging.parent)
    incoming = Path(name)
    try:
        with os.fdopen(handle, "wb") as target:
            _copy(content, target)
            target.flush()
            os.fsync(target.fileno())
        measured = _measure(incoming, _BY_NAME[table_name])
        with _locked(root, retailer):
            staging.mkdir(exist_ok=True)
            incoming.replace(staging / f"{table_name}.parquet")
    finally:
        incoming.unlink(missing_ok=True)
    return measured


def complete(root: Path, retailer: str, day: dt.date, kind: Kind, now: dt.datetime) -> Receipt:
    """Accept what is staged for ``day`` and return its receipt; the same content again returns the same receipt.

    Raises:
        DeliveryError: a required table was neither staged nor in the delivery that this one corrects, whose file may
            also be damaged; or a daily delivery would replace a history, and what was staged is discarded.

    """
    with _locked(root, retailer):
        staging = _staging(root, retailer, day)
        before = latest(root, retailer, day)
        staged = sorted(staging.glob("*.parquet"))
        corrected = before if before is not None and before.kind == kind else None
        if not staged and corrected is not None:
            return corrected  # The answer to an earlier call was lost on its way.
        if kind == "daily" and before is not None and before.kind == "history":
            # Left there, its few days would be taken for the history when that is completed.
            shutil.rmtree(staging, ignore_errors=True)
            raise DeliveryError(
                f"{retailer} {day}: a daily delivery would replace the whole history that was delivered for this day",
                hint="Put the tables to correct with their whole history (the others stand), then complete it as "
                "history.",
                evidence=str(_folder(root, before)),
            )
        brought = {path.stem: _measure(path, _BY_NAME[path.stem]) for path in staged}
        standing = {} if corrected is None else corrected.tables
        tables = dict(sorted({**standing, **brought}.items()))
        missing = [name for name in REQUIRED[kind] if name not in tables]
        if missing:
            raise DeliveryError(
                f"{retailer} {day}: the {kind} delivery lacks {listed(missing)}; "
                f"there is {listed(tables) or 'nothing'}",
                hint="Put the missing tables, then complete the delivery again.",
                evidence=str(staging),
            )
        content = json.dumps([kind, [(name, table.sha256) for name, table in tables.items()]])
        identity = hashlib.sha256(content.encode()).hexdigest()[:_ID_LENGTH]
        if before is not None and before.id == identity:
            shutil.rmtree(staging)
            return before
        receipt = Receipt(
            retailer=retailer,
            day=day,
            id=identity,
            kind=kind,
            sequence=before.sequence + 1 if before else 1,
            tables=tables,
            accepted_at=now.astimezone(dt.UTC),
        )
        if corrected is not None:
            for accepted in [_unchanged(root, corrected, name) for name in standing.keys() - brought.keys()]:
                _carry(accepted, staging)
        _accept(staging, _folder(root, receipt), receipt)
        return receipt


def latest(root: Path, retailer: str, day: dt.date) -> Receipt | None:
    """Return the receipt of the last delivery for ``day``, or None."""
    paths = sorted((root / retailer / day.isoformat()).glob(f"*/{_RECEIPT}"))
    return Receipt.model_validate_json(paths[-1].read_bytes()) if paths else None


def last_day(root: Path, retailer: str, before: dt.date | None = None) -> dt.date | None:
    """Return the last business day (before ``before``, if given) that has an accepted delivery, or None."""
    days = {dt.date.fromisoformat(path.parent.parent.name) for path in (root / retailer).glob(f"[0-9]*/*/{_RECEIPT}")}
    return max((day for day in days if before is None or day < before), default=None)


def read(root: Path, receipt: Receipt, table: str) -> pl.DataFrame:
    """Return one delivered table, as delivered.

    Raises:
        DeliveryError: the delivery has no such table, or its file is no longer what was accepted.

    """
    if table not in receipt.tables:
        raise DeliveryError(f"Delivery {receipt.id} has no table {table!r}", hint=f"It has: {listed(receipt.tables)}.")
    return pl.read_parquet(_unchanged(root, receipt, table))


def check_columns(table: Table, given: Iterable[str]) -> None:
    """Compare delivered column names with the catalogue; a nullable column may be left out.

    Raises:
        DeliveryError: a column is missing or is not known.

    """
    names = list(given)
    missing = [c.name for c in table.columns if not c.nullable and c.name not in names]
    unknown = [name for name in names if name not in table.delivered_schema.names]
    if missing or unknown:
        wanted = ", ".join(c.name + (" (optional)" if c.nullable else "") for c in table.columns)
        problems = [f"{what}: {listed(which)}" for what, which in (("missing", missing), ("unknown", unknown)) if which]
        raise DeliveryError(f"{table.name}: columns {'; '.join(problems)}", hint=f"Deliver exactly: {wanted}.")


def _measure(path: Path, table: Table) -> TableReceipt:
    try:
        rows = pl.scan_parquet(path)
        check_columns(table, rows.collect_schema().names())
        # Every page is decoded here: a file that is broken in the middle must not be found out at four in the morning.
        counts = rows.select(pl.len().alias("rows"), pl.all().is_null().sum().name.prefix("nulls_"))
        height = int(counts.collect(engine="streaming")["rows"].item())
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DeliveryError(
            f"{table.name}: this is not a readable Parquet file: {error}", hint="Deliver the table as one Parquet file."
        ) from error
    return TableReceipt(rows=height, bytes=path.stat().st_size, sha256=_sha256(path))


def _unchanged(root: Path, receipt: Receipt, table: str) -> Path:
    """Return the file of an accepted table, if it still is what was accepted."""
    path = _folder(root, receipt) / f"{table}.parquet"
    if not path.is_file() or _sha256(path) != receipt.tables[table].sha256:
        raise DeliveryError(
            f"{table} of delivery {receipt.id} is gone or was changed after it was accepted",
            hint="Restore the file from a backup, or have the retailer deliver again.",
            evidence=str(path),
        )
    return path


def _carry(accepted: Path, staging: Path) -> None:
    target = staging / accepted.name
    try:
        os.link(accepted, target)
    except OSError:  # A file system without hard links.
        shutil.copyfile(accepted, target)
        with target.open("rb") as file:
            os.fsync(file.fileno())


def _accept(staging: Path, target: Path, receipt: Receipt) -> None:
    with (staging / _RECEIPT).open("w", encoding="utf-8") as file:
        file.write(receipt.model_dump_json(indent=2))
        file.flush()
        os.fsync(file.fileno())
    target.parent.mkdir(parents=True, exist_ok=True)
    _fsync(staging)
    staging.rename(target)
    _fsync(target.parent)
    _fsync(target.parent.parent)


def _copy(content: Path | BinaryIO | bytes, target: BinaryIO) -> None:
    if isinstance(content, Path):
        with content.open("rb") as source:
            shutil.copyfileobj(source, target)
    else:
        shutil.copyfileobj(io.BytesIO(content) if isinstance(content, bytes) else content, target)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fsync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _staging(root: Path, retailer: str, day: dt.date) -> Path:
    return root / retailer / ".staging" / day.isoformat()


def _folder(root: Path, receipt: Receipt) -> Path:
    return root / receipt.retailer / receipt.day.isoformat() / f"{receipt.sequence:03d}-{receipt.id}"


@contextmanager
def _locked(root: Path, retailer: str) -> Iterator[None]:
    """Keep other processes from staging or accepting meanwhile; the lock dies with its process."""
    folder = root / retailer
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
