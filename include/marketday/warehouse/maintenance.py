"""What a warehouse needs from time to time: fewer files, no files that nobody needs, and logs that open quickly.

None of it changes a row: a part's content hash is the same before and after, in every version that can still be read.
Each does what is left to do and may be stopped at any moment; what it has done by then stays done.
"""

import datetime as dt
from dataclasses import replace
from typing import NamedTuple

import polars as pl
from deltalake import CommitProperties, DeltaTable
from deltalake.exceptions import CommitFailedError

from marketday import tables
from marketday.errors import WarehouseError, listed
from marketday.tables import RUN_DAY, Table
from marketday.warehouse import files
from marketday.warehouse.files import RUN_MONTH, Folder
from marketday.warehouse.integrity import SAFE_AGE, leftovers
from marketday.warehouse.log import File
from marketday.warehouse.order import ROWS, in_key_order
from marketday.warehouse.store import Warehouse
from marketday.warehouse.survey import ALWAYS_WHOLE, Survey, survey, tables_of

_SMALL = ROWS // 4
"""Rows below which a file is small."""

_OFTEN_ENOUGH = 10
"""Commits after a checkpoint that a reader replays in no time."""


class Compacted(NamedTuple):
    """What became of a table's small files."""

    before: int
    """Files that were replaced."""
    after: int
    """Files that took their place."""
    left: list[str]
    """Months in which another writer was in the way; the next time will do."""


class Vacuumed(NamedTuple):
    """What was deleted of a table."""

    files: int
    bytes: int


def compact(
    warehouse: Warehouse, retailer: str, *, before: dt.date, metadata: dict[str, str] | None = None
) -> dict[str, Compacted]:
    """Put the small files of every month before that of ``before`` together, one transaction per table and month.

    Returns what was done, by table; tables with nothing to do are left out.
    """
    done = {}
    for name, table in tables_of(warehouse, retailer).items():
        if name not in tables.ALL:
            continue
        small: dict[str, list[File]] = {}
        for file in table.log.files_of(table.log.latest):
            if file.rows < _SMALL and file.month < f"{before:%Y-%m}":
                small.setdefault(file.month, []).append(file)
        results = {
            month: _compact_month(warehouse.folder(retailer, name), tables.get(name), several, metadata or {})
            for month, several in sorted(small.items())
            if len(several) > 1
        }
        if results:
            replaced = [month for month, after in results.items() if after is not None]
            done[name] = Compacted(
                before=sum(len(small[month]) for month in replaced),
                after=sum(results[month] or 0 for month in replaced),
                left=[month for month, after in results.items() if after is None],
            )
    return done


def _compact_month(folder: Folder, table: Table, small: list[File], metadata: dict[str, str]) -> int | None:
    """Replace the files of one month by as few as hold their rows; None if another writer was in the way."""
    delta, month = folder.delta(), small[0].month
    if not {file.path for file in small} <= _paths(delta):
        return None
    rows = folder.scan(file.path for file in small)
    # By day first, as they came: a reader of some days goes on skipping the row groups of all others.
    added = [files.put(folder, table, frame, month) for frame in in_key_order(rows, [RUN_DAY, *table.key])]
    removed = [files.removal(file.path, file.size, month, data_change=False) for file in small]
    try:
        delta.create_write_transaction(
            [*removed, *(replace(action, data_change=False) for action in added)],
            mode="append",
            schema=delta.schema(),
            partition_by=[RUN_MONTH],
            commit_properties=CommitProperties(dict(metadata), max_commit_retries=0),
        )
    except CommitFailedError:
        # If only the answer was lost, the table is made of these files by now. Else vacuum takes them, in its time.
        if not {action.path for action in added} <= _paths(folder.delta()):
            return None
    return len(added)


def _paths(delta: DeltaTable) -> set[str]:
    return set(pl.DataFrame(delta.get_add_actions(flatten=True))["path"])


def vacuum(warehouse: Warehouse, retailer: str, *, now: dt.datetime, retention: dt.timedelta) -> dict[str, Vacuumed]:
    """Delete the files that no version needs which was in force within ``retention``, is the latest or is kept.

    With them go what killed writers left behind, once it is as old. Returns what was deleted, by table.

    Raises:
        WarehouseError: the retention is too short for writers that are still running, or what tells which versions
            are kept is damaged; nothing is deleted then.

    """
    if retention < SAFE_AGE:
        raise WarehouseError(
            f"a retention of {retention} is shorter than {SAFE_AGE}, and a writer's own files could go",
            hint="Set retention_days to 1 or more.",
        )
    found = survey(warehouse, retailer)
    _refuse_damage(found)
    done = {}
    for name, table in found.tables.items():
        kept = sorted(found.kept[name] | table.log.since(now - retention))
        needed = {file.path for file in table.log.files if file.needed_by(kept)}
        expired = {file.path for file in table.log.files} - needed if name not in ALWAYS_WHOLE else set()
        gone = [
            entry
            for path in sorted({*expired, *leftovers(table)} & table.there.keys())
            if (entry := table.there[path]).modified < now - retention or path in expired
        ]
        found.objects.remove(gone)
        if gone:
            done[name] = Vacuumed(len(gone), sum(entry.size for entry in gone))
    return done


def _refuse_damage(found: Survey) -> None:
    damaged = [f"{name}/{path}" for name, path in found.unreadable]
    damaged += [f"the log of {name}" for name, table in found.tables.items() if not table.log.whole]
    if damaged:
        raise WarehouseError(
            f"{found.retailer}: which files are needed cannot be told: {listed(damaged)} damaged or incomplete",
            hint=f"See `marketday fsck {found.retailer}`, restore what it names, then run this again.",
        )


def checkpoint(warehouse: Warehouse, retailer: str) -> dict[str, int]:
    """Write a checkpoint for every table with more than a few commits since its last; return their versions."""
    made = {}
    for name, table in tables_of(warehouse, retailer).items():
        since = table.log.latest - (-1 if table.log.checkpoint is None else table.log.checkpoint)
        if since >= _OFTEN_ENOUGH:
            delta = warehouse.folder(retailer, name).delta()
            delta.create_checkpoint()
            made[name] = delta.version()
    return made
