"""The data files of a table: written before a commit names them, and found again by what the log says of them.

A file is Parquet with rows of one run day, in the order of the key, so that readers can skip row groups. The log has
the least and greatest value of the key, of ``run_day`` and of ``block``, so that they can skip files.
"""

import datetime as dt
import io
import json
import time
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import obstore
import polars as pl
import pyarrow as pa
from deltalake import DeltaTable
from deltalake.transaction import AddAction, RemoveAction
from obstore.store import LocalStore, ObjectStore, from_url

from marketday.tables import RUN_DAY, Table

RUN_MONTH = "run_month"
"""Column by which files are partitioned; only their paths and the log have it."""

_GROUP_ROWS = 131_072
"""Rows of a row group: a location of a day, or of some months of history."""


class Folder(NamedTuple):
    """Where a table lies, and how to get there."""

    url: str
    options: dict[str, str] | None

    def delta(self, version: int | None = None) -> DeltaTable:
        """Open the table at a version, the latest unless given; raises what Delta's library does."""
        return DeltaTable(self.url, version=version, storage_options=self.options)

    def scan(self, paths: Iterable[str]) -> pl.LazyFrame:
        """Return the rows of some files."""
        places = [f"{self.url}/{path}" for path in paths]
        return pl.scan_parquet(places, hive_partitioning=False, storage_options=self.options)

    def store(self) -> ObjectStore:
        """Open it for files of any kind."""
        if "://" not in self.url:
            return LocalStore(prefix=Path(self.url).resolve(), mkdir=True)
        config: Any = self.options  # Its keys are those that Delta's library takes.
        return from_url(self.url, config=config)


class Part(NamedTuple):
    """The rows of a table that one write replaces."""

    run_day: dt.date
    block: str | None

    @property
    def rows(self) -> pl.Expr:
        """Whether a row is one of them."""
        day = pl.col(RUN_DAY) == self.run_day
        return day if self.block is None else day & (pl.col("block") == self.block)

    @property
    def predicate(self) -> str:
        """The same in SQL, as the log has it."""
        text = f"{RUN_MONTH} = '{self.month}' AND {RUN_DAY} = '{self.run_day.isoformat()}'"
        return text if self.block is None else f"{text} AND block = '{self.block.replace(chr(39), chr(39) * 2)}'"

    @property
    def month(self) -> str:
        """The partition that they are in."""
        return f"{self.run_day:%Y-%m}"


class File(NamedTuple):
    """One file of a table, as its log says."""

    path: str
    size: int
    rows: int
    whole: bool
    """Whether all of its rows are of the part that it was looked up for."""
    stats: Mapping[str, Any]
    """How many rows it has, and least and greatest value and nulls of columns."""


def indexed(table: Table) -> list[str]:
    """Return the columns whose least and greatest value the log has of every file."""
    return list(dict.fromkeys([*table.key, *(["block"] if table.blocked else []), RUN_DAY]))


def holding(delta: DeltaTable, part: Part) -> list[File]:
    """Return the files that may hold rows of ``part``."""
    files = pl.DataFrame(pa.table(delta.get_add_actions(flatten=True)))
    if files.is_empty():
        return []
    maybe, whole = pl.col(f"partition.{RUN_MONTH}") == part.month, pl.lit(value=True)
    for name, value in ((RUN_DAY, part.run_day), ("block", part.block)):
        if value is None:
            continue
        if f"min.{name}" not in files.columns:  # Of no file is it known.
            whole = pl.lit(value=False)
            continue
        least, greatest = pl.col(f"min.{name}"), pl.col(f"max.{name}")
        maybe &= pl.lit(value).is_between(least, greatest).fill_null(value=True)
        whole &= (least.eq_missing(pl.lit(value))) & (greatest.eq_missing(pl.lit(value)))
    found = files.filter(maybe).with_columns(whole=whole)
    return [
        File(row["path"], row["size_bytes"], row["num_records"] or 0, row["whole"], _stats(row))
        for row in found.iter_rows(named=True)
    ]


def put(folder: Folder, table: Table, rows: pl.DataFrame, month: str) -> AddAction:
    """Write a file below the table's folder and return what a commit needs to make it part of the table.

    ``rows`` have the columns and types of the catalogue; there is at least one.
    """
    content = io.BytesIO()
    rows.write_parquet(content, compression="zstd", row_group_size=_GROUP_ROWS)
    named = indexed(table)
    stats = {
        "numRecords": rows.height,
        "minValues": dict(zip(named, rows.select(pl.col(named).min()).row(0), strict=True)),
        "maxValues": dict(zip(named, rows.select(pl.col(named).max()).row(0), strict=True)),
        "nullCount": dict(zip(named, rows.select(pl.col(named).null_count()).row(0), strict=True)),
    }
    return _put(folder, content.getvalue(), month, stats)


def copy(file: File, source: Folder, target: Folder, month: str) -> AddAction:
    """Write a file of one table below the folder of another, as it is; both have the same columns."""
    return _put(target, obstore.get(source.store(), file.path).bytes(), month, file.stats)


def removal(path: str, size: int, month: str, *, data_change: bool = True) -> RemoveAction:
    """Return what a commit needs to take a file out of the table; what lies there stays for earlier versions."""
    return RemoveAction(
        path=path,
        data_change=data_change,
        deletion_timestamp=_now(),
        size=size,
        partition_values={RUN_MONTH: month},
    )


def discard(folder: Folder, added: Iterable[AddAction]) -> None:
    """Delete files that no commit names."""
    for action in added:
        obstore.delete(folder.store(), action.path)


def _put(folder: Folder, content: bytes | obstore.Bytes, month: str, stats: Mapping[str, Any]) -> AddAction:
    path = f"{RUN_MONTH}={month}/{uuid.uuid4()}.zstd.parquet"
    obstore.put(folder.store(), path, content)
    return AddAction(
        path=path,
        size=len(content),
        partition_values={RUN_MONTH: month},
        modification_time=_now(),
        data_change=True,
        stats=json.dumps(stats, default=_plain),
    )


def _stats(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the log says of a file, whose row of the list of files has it flat, as a commit takes it."""

    def of(prefix: str) -> dict[str, Any]:
        known = ((name, value) for name, value in row.items() if name.startswith(prefix) and value is not None)
        return {name.removeprefix(prefix): value for name, value in known}

    bounds = {"minValues": of("min."), "maxValues": of("max."), "nullCount": of("null_count.")}
    return {"numRecords": row["num_records"], **bounds}


def _now() -> int:
    return time.time_ns() // 1_000_000


def _plain(value: Any) -> str | int:
    """Return a key's value as JSON has it: a date as text, a whole number as it is."""
    return value.isoformat() if isinstance(value, dt.date) else int(value)
