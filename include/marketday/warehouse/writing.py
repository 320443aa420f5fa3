"""One write: files first, then the one commit that puts them in the place of the rows that were there.

Nobody sees a file before the commit, and the commit happens at one version or not at all: a writer that died leaves
files that nothing names, which the vacuum takes away. A commit is lost if any other was made since the table was
opened, whatever it changed, and is then tried again on top of that one. That is stricter than the format asks for,
whose libraries let a compaction pass unseen that has moved the very rows that are being replaced.
"""

import random
import time
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import polars as pl
import pyarrow as pa
from deltalake import CommitProperties, DeltaTable
from deltalake.exceptions import CommitFailedError, TableNotFoundError
from deltalake.transaction import AddAction

from marketday.errors import WarehouseError, listed
from marketday.tables import Table
from marketday.warehouse import files
from marketday.warehouse.ahead import ahead
from marketday.warehouse.content import conformed
from marketday.warehouse.files import RUN_MONTH, File, Folder, Part
from marketday.warehouse.hashing import Digest
from marketday.warehouse.order import in_key_order
from marketday.warehouse.stored import StoredDay

NOTHING_YET = -1
"""Version of a table that was never written."""

Rows = pl.DataFrame | Iterable[pl.DataFrame]
"""All rows of a write: one frame in any order, or many that come in the order of the table's key. A
:class:`StoredDay` of a table with the same columns is copied and not encoded anew."""

_TRIES = 30
_FOR_EVER = "interval 36500 days"


class Written(NamedTuple):
    """What a write left behind."""

    version: int
    content_hash: str
    rows: int


class Target(NamedTuple):
    """Which rows of which table a write replaces."""

    table: Table
    folder: Folder
    part: Part

    def put(self, rows: pl.DataFrame) -> AddAction:
        """Write one file."""
        return files.put(self.folder, self.table, rows, self.part.month)

    def read(self, paths: Iterable[str], rows: pl.Expr) -> Iterator[pl.DataFrame]:
        """Return those rows of some files in the order of the key."""
        return in_key_order(self.folder.scan(paths).filter(rows), self.table.key)


class Content(NamedTuple):
    """What is to be stored."""

    rows: int
    content_hash: str


def replace(target: Target, rows: Rows, metadata: dict[str, str]) -> Written:
    """Replace the rows of ``target``; see :meth:`marketday.warehouse.Warehouse.write`."""
    table, folder, part = target
    if table.blocked and part.block is None:
        raise WarehouseError(f"{table.name} is written block by block, and no block was given")
    if isinstance(rows, StoredDay) and rows.fits(table, part):
        content, added, rest = _copied(target, rows)
    else:
        content, added, rest = _encoded(target, [rows] if isinstance(rows, pl.DataFrame) else rows)
    for attempt in range(_TRIES):
        delta = _opened(folder, table)
        held = files.holding(delta, part) if delta else []
        version = delta.version() if delta else NOTHING_YET
        ours = {file.path for file in held} & {action.path for action in added}
        if ours or _same(target, held, content):
            if attempt == 0:  # Later, a commit whose answer was lost may have made them part of some version.
                files.discard(folder, added)
            return Written(version, content.content_hash, content.rows)
        if attempt == 0:
            added += rest()
        try:
            delta = delta or _created(folder, table)
            _commit(delta, target, held, added, {**metadata, "hash": content.content_hash})
        except CommitFailedError:
            time.sleep(random.uniform(0.01, 0.1) * min(attempt + 1, 10))  # noqa: S311  spreads writers, protects nothing
        else:
            return Written(delta.version() + 1, content.content_hash, content.rows)
    raise WarehouseError(
        f"{folder.url}: {_TRIES} commits in a row lost against other writers",
        hint="Run the step again; if it happens often, write fewer blocks at a time.",
    )


class _Made(NamedTuple):
    """What is to be stored, and how much of it has been written."""

    content: Content
    added: list[AddAction]
    rest: Callable[[], list[AddAction]]
    """Writes what waits until it is known that the rows are not there already."""


def _encoded(target: Target, rows: Iterable[pl.DataFrame]) -> _Made:
    """Write all frames but the last."""
    digest, added, last = Digest(target.table), list[AddAction](), list[pl.DataFrame]()
    for frame in ahead(conformed(rows, target.table, target.part.run_day)):
        added += map(target.put, last)
        digest.feed(frame)
        last = [frame]
    return _Made(Content(digest.rows, digest.hexdigest()), added, lambda: list(map(target.put, last)))


def _copied(target: Target, day: StoredDay) -> _Made:
    """Have the files of another table copied, whose rows are only read to be told apart from others."""
    digest = Digest(target.table)
    for frame in ahead(day.frames()):
        digest.feed(frame)

    def copies() -> list[AddAction]:
        return [files.copy(file, day.folder, target.folder, target.part.month) for file in day.files]

    return _Made(Content(digest.rows, digest.hexdigest()), [], copies)


def _same(target: Target, held: list[File], content: Content) -> bool:
    """Whether the rows of the target are stored already as they are to be."""
    if not held:
        return content.rows == 0
    if all(file.whole for file in held) and sum(file.rows for file in held) != content.rows:
        return False
    stored = Digest(target.table)
    for frame in target.read((file.path for file in held), target.part.rows):
        stored.feed(frame)
    return Content(stored.rows, stored.hexdigest()) == content


def _commit(
    delta: DeltaTable, target: Target, held: list[File], added: list[AddAction], metadata: dict[str, str]
) -> None:
    """Put ``added`` in the place of what the files in ``held`` have of the target, unless there is a newer version."""
    part = target.part
    mixed = [file for file in held if not file.whole]
    rest = [target.put(frame) for file in mixed for frame in target.read([file.path], ~part.rows) if frame.height]
    about = {"mode": "Overwrite", "partitionBy": f'["{RUN_MONTH}"]', "predicate": part.predicate}
    delta.create_write_transaction(
        [*(files.removal(file.path, file.size, part.month) for file in held), *added, *rest],
        mode="append",
        schema=_stored_schema(target.table),
        partition_by=[RUN_MONTH],
        commit_properties=CommitProperties({**metadata, "operationParameters": about}, max_commit_retries=0),
    )


def _opened(folder: Folder, table: Table) -> DeltaTable | None:
    try:
        delta = folder.delta()
    except TableNotFoundError:
        return None
    stored, wanted = [field.name for field in delta.schema().fields], _stored_schema(table).names
    if stored != wanted:
        surplus, missing = [n for n in stored if n not in wanted], [n for n in wanted if n not in stored]
        raise WarehouseError(
            f"{folder.url}: the stored table has other columns than the catalogue: surplus [{listed(surplus)}], "
            f"missing [{listed(missing)}]",
            hint="Move the table away, or go back to the release that wrote it.",
        )
    return delta


def _created(folder: Folder, table: Table) -> DeltaTable:
    delta = DeltaTable.create(
        folder.url,
        schema=_stored_schema(table),
        mode="ignore",
        partition_by=[RUN_MONTH],
        description=table.description,
        configuration={
            # Any morning can be read again, however long ago it was.
            "delta.logRetentionDuration": _FOR_EVER,
            "delta.enableExpiredLogCleanup": "false",
            "delta.dataSkippingStatsColumns": ",".join(files.indexed(table)),
        },
        storage_options=folder.options,
    )
    if delta.version() > 0:  # Another writer has created and filled it first; what it put there is looked at again.
        raise CommitFailedError(f"{folder.url} has rows by now")
    return delta


def _stored_schema(table: Table) -> pa.Schema:
    return table.schema.append(pa.field(RUN_MONTH, pa.string(), nullable=False))
