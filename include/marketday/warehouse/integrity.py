"""The integrity check: every file of every version that matters is there, as it was written, and nothing else is.

What matters are the latest version of every table and those that published mornings refer to
(:mod:`marketday.warehouse.survey`). A deep check also reads the rows that each commit wrote, as those versions have
them, and compares their content hash with the one that the commit recorded.
"""

import datetime as dt
import itertools
import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

import polars as pl
from deltalake.exceptions import DeltaError

from marketday import tables
from marketday.tables import Table
from marketday.warehouse import log as delta_log
from marketday.warehouse.files import RUN_MONTH, Folder, Part
from marketday.warehouse.hashing import Digest
from marketday.warehouse.log import Commit, File
from marketday.warehouse.order import in_key_order
from marketday.warehouse.store import Warehouse
from marketday.warehouse.survey import Survey, TableFiles, survey

Kind = Literal["missing", "altered", "surplus", "leftover"]

HARMLESS: frozenset[Kind] = frozenset({"leftover"})
"""What a killed writer leaves behind: no version is made of it, nobody reads it."""

SAFE_AGE = dt.timedelta(days=1)
"""A file that no commit names may be a running writer's until it is so old that no job can still be running."""

_LEFTOVER = re.compile(
    rf"({RUN_MONTH}=\d{{4}}-\d\d/[^/]+\.parquet|{delta_log.FOLDER}/[^/]+)#\d+"  # half written
    rf"|{RUN_MONTH}=\d{{4}}-\d\d/(part-[^/]+|[0-9a-f-]{{36}}\.zstd)\.parquet"  # written, but never committed
    rf"|{delta_log.FOLDER}/_commit_[^/]+\.tmp"  # a commit before it got its number
)
_OF_THE_LOG = re.compile(
    rf"{delta_log.FOLDER}/(\d{{20}}(\.\d{{20}})?(\.compacted)?\.json|\d{{20}}\.checkpoint[^/]*\.parquet|\d{{20}}\.crc"
    r"|_last_checkpoint)"
)


class Finding(NamedTuple):
    """One file that is not as it should be."""

    kind: Kind
    place: str
    """The table, or where else it lies."""
    path: str
    """Below the root of the warehouse, or of the deliveries."""
    message: str


class Checked(NamedTuple):
    """What became of one table."""

    place: str
    files: int
    findings: list[Finding]


def harmful(findings: Iterable[Finding]) -> list[Finding]:
    """Leave out what is harmless."""
    return [finding for finding in findings if finding.kind not in HARMLESS]


def check(warehouse: Warehouse, retailer: str, *, deep: bool = False) -> tuple[int, Iterator[Checked]]:
    """Return how many tables the retailer has, and an iterator that checks one after the other."""
    found = survey(warehouse, retailer)
    return len(found.tables), (_check_table(warehouse, found, table, deep=deep) for table in found.tables.values())


def remove_leftovers(warehouse: Warehouse, retailer: str, *, now: dt.datetime, age: dt.timedelta = SAFE_AGE) -> int:
    """Delete what killed writers left behind, once it is older than ``age``, and return how many files that were."""
    found = survey(warehouse, retailer)
    old = [
        entry
        for table in found.tables.values()
        for path in leftovers(table)
        if (entry := table.there[path]).modified < now - age
    ]
    found.objects.remove(old)
    return len(old)


def leftovers(table: TableFiles) -> list[str]:
    """Return the files that no commit names and that look like a writer's; none where commits are lost."""
    return [path for path in _unnamed(table) if _LEFTOVER.fullmatch(path)] if table.log.whole else []


def _unnamed(table: TableFiles) -> list[str]:
    named = {file.path for file in table.log.files}
    return sorted(path for path in table.there if path not in named and not _OF_THE_LOG.fullmatch(path))


def _check_table(warehouse: Warehouse, found: Survey, table: TableFiles, *, deep: bool) -> Checked:
    findings = [*_of_log(found, table), *_of_files(found, table), *_unexpected(found, table)]
    if not findings or not harmful(findings):
        # What is missing or damaged already would only be found a second time, with a worse message.
        findings += _of_reader(warehouse, found, table)
        if deep and table.name in tables.ALL:
            findings += _of_content(warehouse, found, table)
    return Checked(table.name, len(table.there), findings)


def _of_log(found: Survey, table: TableFiles) -> Iterator[Finding]:
    def finding(kind: Kind, version: int, message: str) -> Finding:
        return Finding(kind, table.name, f"{found.folder(table.name)}/{delta_log.FOLDER}/{version:020}.json", message)

    for version in table.log.missing:
        yield finding("missing", version, f"the commit of version {version} is gone")
    for version, why in table.log.damaged.items():
        yield finding("altered", version, f"the commit of version {version} cannot be read: {why}")
    for version in sorted(found.kept[table.name]):
        if version > table.log.latest:
            yield finding("missing", version, f"a published morning refers to version {version}, which is not there")


def _of_files(found: Survey, table: TableFiles) -> Iterator[Finding]:
    kept = sorted(found.kept[table.name])
    for file in table.log.files:
        if not file.needed_by(kept):
            continue
        path = f"{found.folder(table.name)}/{file.path}"
        entry = table.there.get(file.path)
        if entry is None:
            yield Finding("missing", table.name, path, f"{_versions(file)} made of it")
        elif entry.size != file.size:
            message = f"it has {entry.size:,} bytes, and had {file.size:,} when it was committed"
            yield Finding("altered", table.name, path, message)
        elif (table.name, file.path) in found.unreadable:
            yield Finding("altered", table.name, path, "it cannot be read, and may refer to more versions")


def _versions(file: File) -> str:
    last = "all later ones" if file.end is None else f"those before {file.end}"
    return f"version {file.first} and {last} are"


def _unexpected(found: Survey, table: TableFiles) -> Iterator[Finding]:
    harmless = set(leftovers(table))
    for path in _unnamed(table):
        if path in harmless:
            message = "no commit names it: a killed writer has left it, or a running one has yet to commit it"
            yield Finding("leftover", table.name, f"{found.folder(table.name)}/{path}", message)
        elif table.log.whole or not _LEFTOVER.fullmatch(path):
            message = "no commit names it, and no writer of the warehouse names its files so"
            yield Finding("surplus", table.name, f"{found.folder(table.name)}/{path}", message)


def _of_reader(warehouse: Warehouse, found: Survey, table: TableFiles) -> Iterator[Finding]:
    """Compare what readers see, who begin at a checkpoint, with what the commits say."""
    if not table.log.commits:
        return
    path = f"{found.folder(table.name)}/{delta_log.FOLDER}"
    try:
        delta = warehouse.folder(found.retailer, table.name).delta(table.log.latest)
        seen = {str(name) for name in pl.DataFrame(delta.get_add_actions(flatten=True))["path"]}
    except (DeltaError, OSError) as error:
        yield Finding("altered", table.name, path, f"the table cannot be opened: {error}")
        return
    if seen != {file.path for file in table.log.files_of(table.log.latest)}:
        yield Finding("altered", table.name, path, "its checkpoint names other files than its commits do")


def _of_content(warehouse: Warehouse, found: Survey, table: TableFiles) -> Iterator[Finding]:
    """Read what each commit wrote as the kept versions have it, once for the same files, and hash it again."""
    catalogued = tables.get(table.name)
    folder = warehouse.folder(found.retailer, table.name)
    kept = sorted(found.kept[table.name])
    by_month: dict[str, list[File]] = {}
    for file in table.log.files:
        by_month.setdefault(file.month, []).append(file)
    for part, commits in table.log.writes().items():
        files = [file for file in by_month.get(part.month, ()) if file.may_hold(part)]
        ends = [commit.version for commit in commits[1:]]
        for commit, end in itertools.zip_longest(commits, ends):
            for paths in _made_of(files, kept, commit.version, end):
                message = _differs(folder, catalogued, part, commit, paths)
                if message:
                    at = paths[0] if len(paths) == 1 else f"{RUN_MONTH}={part.month}/"
                    yield Finding("altered", table.name, f"{found.folder(table.name)}/{at}", message)


def _made_of(files: list[File], kept: list[int], first: int, end: int | None) -> list[tuple[str, ...]]:
    """Return which sets of ``files`` the kept versions from ``first`` until before ``end`` are made of."""
    turns = {turn for file in files for turn in (file.first, file.end) if turn is not None and turn > first}
    sets = set()
    for start in sorted({first, *(turn for turn in turns if end is None or turn < end)}):
        # All versions until the next turn are made of the same files.
        place = bisect_left(kept, start)
        if place < len(kept) and (end is None or kept[place] < end):
            sets.add(tuple(sorted(file.path for file in files if file.needed_by([kept[place]]))))
    return sorted(sets)


def _differs(folder: Folder, table: Table, part: Part, commit: Commit, paths: tuple[str, ...]) -> str:
    """Return what is wrong with a part's rows in some files, or nothing."""
    named = f"the rows of run day {part.run_day}" + (f", block {part.block}," if part.block else "")
    digest = Digest(table)
    try:
        for rows in in_key_order(folder.scan(paths).filter(part.rows), table.key) if paths else ():
            digest.feed(rows)
    except (pl.exceptions.PolarsError, OSError) as error:
        return f"{named} cannot be read: {error}"
    if digest.hexdigest() != commit.content_hash:
        return f"{named} are not those that version {commit.version} committed"
    return ""
