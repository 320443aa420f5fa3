"""The warehouse: every table as a Delta table, one transaction per table and day.

No other module names a path or a format. A write replaces exactly the rows of its ``run_day`` (and block); writing the
same rows again changes nothing, not even the version. Reads see one version and are never blocked by a writer.
"""

import datetime as dt
import hashlib
import json
import random
import time
from typing import NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, WriterProperties, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError

from marketday.errors import WarehouseError, listed
from marketday.settings import Settings
from marketday.tables import RUN_DAY, Table

RUN_MONTH = "run_month"
NOTHING_YET = -1
"""Version of a table that was never written."""

_COMMIT_TRIES = 20
_WRITER = WriterProperties(compression="ZSTD", max_row_group_size=131_072)


class Written(NamedTuple):
    """What a write left behind."""

    version: int
    content_hash: str
    rows: int


class Warehouse:
    """Tables of all retailers below one root, a folder or an object store URL."""

    def __init__(self, url: str, storage_options: dict[str, str] | None = None) -> None:
        self.url = url.rstrip("/")
        self.storage_options = storage_options

    @classmethod
    def from_settings(cls, settings: Settings) -> "Warehouse":
        """Open the warehouse that the environment names."""
        return cls(settings.warehouse_url)

    def version(self, retailer: str, table: Table) -> int:
        """Return the latest version, or ``NOTHING_YET``."""
        delta = self._open(retailer, table)
        return NOTHING_YET if delta is None else delta.version()

    def scan(self, retailer: str, table: Table, *, version: int | None = None) -> pl.LazyFrame:
        """Return all rows of one version (the latest unless given), in catalogue order; empty if never written.

        Raises:
            WarehouseError: there is no such version.

        """
        delta = None if version == NOTHING_YET else self._open(retailer, table, version)
        if delta is None:
            return empty(table).lazy()
        return pl.scan_delta(delta).select(table.schema.names)

    def write(
        self,
        retailer: str,
        table: Table,
        rows: pl.DataFrame,
        *,
        run_day: dt.date,
        block: str | None = None,
        metadata: dict[str, str] | None = None,
    ) -> Written:
        """Replace the rows of ``run_day`` (and ``block``) by ``rows`` in one transaction.

        ``rows`` has the table's columns without ``run_day``, in any order. If the stored rows are the same already,
        nothing is written.

        Raises:
            WarehouseError: columns or values do not fit the catalogue, or other writers kept winning.

        """
        content = conform(rows, table, run_day)
        if table.blocked and block is None:
            raise WarehouseError(f"{table.name} is written block by block, and no block was given")
        digest = content_hash(content, table)
        part = pl.col(RUN_DAY) == run_day
        if block is not None:
            part &= pl.col("block") == block
        stored = self.scan(retailer, table).filter(part).collect()
        if stored.height == content.height and content_hash(stored, table) == digest:
            return Written(self.version(retailer, table), digest, content.height)
        version = self._commit(
            retailer, table, content, _predicate(run_day, block), {**(metadata or {}), "hash": digest}
        )
        return Written(version, digest, content.height)

    def _commit(
        self, retailer: str, table: Table, content: pl.DataFrame, predicate: str, metadata: dict[str, str]
    ) -> int:
        month = pl.col(RUN_DAY).dt.strftime("%Y-%m").alias(RUN_MONTH)
        stored = content.with_columns(month).to_arrow().cast(_stored_schema(table))
        for attempt in range(_COMMIT_TRIES):
            try:
                delta = self._open_or_create(retailer, table)
                write_deltalake(
                    delta,
                    stored,
                    mode="overwrite",
                    predicate=predicate,
                    writer_properties=_WRITER,
                    commit_properties=CommitProperties(custom_metadata=metadata),
                )
            except CommitFailedError:
                # Another block of the same day was committed in between; its rows are not ours, so try again on top.
                time.sleep(random.uniform(0.01, 0.1) * (attempt + 1))  # noqa: S311  spreads writers, protects nothing
            else:
                return delta.version()
        raise WarehouseError(
            f"{retailer}/{table.name}: {_COMMIT_TRIES} commits in a row lost against other writers",
            hint="Run the step again; if it happens often, write fewer blocks at a time.",
        )

    def _path(self, retailer: str, table: Table) -> str:
        return f"{self.url}/{retailer}/{table.name}"

    def _open(self, retailer: str, table: Table, version: int | None = None) -> DeltaTable | None:
        path = self._path(retailer, table)
        try:
            return DeltaTable(path, version=version, storage_options=self.storage_options)
        except TableNotFoundError:
            if version is None:
                return None
            raise WarehouseError(f"{retailer}/{table.name}@{version}: the table was never written") from None
        except DeltaError as error:
            # Only a version that is not there is final; a store that does not answer is worth another try.
            latest = DeltaTable(path, storage_options=self.storage_options).version()
            if version is None or version <= latest:
                raise
            raise WarehouseError(
                f"{retailer}/{table.name}@{version}: there is no such version", hint=f"The latest is {latest}."
            ) from error

    def _open_or_create(self, retailer: str, table: Table) -> DeltaTable:
        return self._open(retailer, table) or DeltaTable.create(
            self._path(retailer, table),
            schema=_stored_schema(table),
            mode="ignore",
            partition_by=[RUN_MONTH],
            description=table.description,
            storage_options=self.storage_options,
        )


def empty(table: Table) -> pl.DataFrame:
    """Return the table with no rows."""
    frame = pl.from_arrow(table.schema.empty_table())
    assert isinstance(frame, pl.DataFrame)  # noqa: S101  from_arrow's type is wider than a table's result
    return frame


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
    ordered = typed.with_columns(pl.lit(run_day).alias(RUN_DAY)).sort(table.key)
    if ordered.height and ordered.select(pl.struct(table.key).is_duplicated().any()).item():
        raise WarehouseError(f"{table.name}: a key ({', '.join(table.key)}) occurs twice")
    return ordered


def content_hash(rows: pl.DataFrame, table: Table) -> str:
    """SHA-256 over the rows in key order: the same for the same values, whatever their layout or library version."""
    digest = hashlib.sha256(json.dumps([table.name, table.schema.names]).encode())
    ordered = rows.sort(table.key)
    for name in table.schema.names:
        _hash_column(digest, ordered[name])
    return digest.hexdigest()


def _hash_column(digest: "hashlib._Hash", column: pl.Series) -> None:
    digest.update(np.packbits(column.is_null().to_numpy()).tobytes())
    if column.dtype == pl.List:
        _hash_column(digest, column.list.len())
        _hash_column(digest, column.drop_nulls().explode())
    elif column.dtype == pl.String:
        lengths = column.str.len_bytes().fill_null(0)
        digest.update(lengths.to_numpy().tobytes())
        digest.update("".join(column.drop_nulls().to_list()).encode())
    else:
        digest.update(column.to_physical().fill_null(0).to_numpy().tobytes())


def _predicate(run_day: dt.date, block: str | None) -> str:
    text = f"{RUN_MONTH} = '{run_day:%Y-%m}' AND {RUN_DAY} = '{run_day.isoformat()}'"
    return text if block is None else f"{text} AND block = '{block.replace(chr(39), chr(39) * 2)}'"


def _stored_schema(table: Table) -> pa.Schema:
    return table.schema.append(pa.field(RUN_MONTH, pa.string(), nullable=False))
