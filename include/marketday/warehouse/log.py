"""What a table's Delta log says: every commit, and from which version to which each file was part of the table.

The log is read commit by commit from the first, never through a checkpoint: it is what checkpoints are compared with.
"""

import datetime as dt
import json
import re
from bisect import bisect_left
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import unquote

from marketday.tables import RUN_DAY
from marketday.warehouse.files import RUN_MONTH, Part
from marketday.warehouse.objects import Objects, read_all

FOLDER = "_delta_log"
_COMMIT = re.compile(rf"{FOLDER}/(\d{{20}})\.json")
_CHECKPOINT = re.compile(rf"{FOLDER}/(\d{{20}})\.checkpoint[^/]*\.parquet")
_RUN_DAY = re.compile(r"\brun_day = '(\d{4}-\d\d-\d\d)'")
_CUT = 32
"""Characters from which on the format lets a writer cut texts in its statistics."""
_BLOCK = re.compile(r"\bblock = '((?:[^']|'')*)'")


class Commit(NamedTuple):
    """One version of the table."""

    version: int
    at: dt.datetime
    """In UTC, by the writer's clock."""
    part: Part | None
    """What it replaced; None where it changed no rows."""
    content_hash: str
    """Of the part's rows; empty where it is not recorded."""


class File(NamedTuple):
    """One data file, and the versions that it is part of: from ``first`` until before ``end``."""

    path: str
    """Below the table's folder."""
    size: int
    rows: int
    month: str
    days: tuple[str, str] | None
    """First and last run day of its rows, where the writer recorded them."""
    blocks: tuple[str, str] | None
    """First and last block of its rows, likewise."""
    first: int
    end: int | None = None

    def needed_by(self, versions: "list[int]") -> bool:
        """Whether any of the ``versions``, in ascending order, is made of it."""
        place = bisect_left(versions, self.first)
        return place < len(versions) and (self.end is None or versions[place] < self.end)

    def may_hold(self, part: Part) -> bool:
        """Whether rows of the part may be in it."""
        day = part.run_day.isoformat()
        return (
            self.month == part.month
            and (self.days is None or self.days[0] <= day <= self.days[1])
            and (self.blocks is None or part.block is None or self.blocks[0] <= part.block <= self.blocks[1])
        )


@dataclass
class Log:
    """A table's whole log."""

    commits: list[Commit] = field(default_factory=list)
    files: list[File] = field(default_factory=list)
    """Every file that was ever part of the table; one that was taken back in is there twice."""
    missing: list[int] = field(default_factory=list)
    """Versions below the latest without a commit: what they said is lost."""
    damaged: dict[int, str] = field(default_factory=dict)
    """Versions whose commit cannot be read, and why."""
    checkpoint: int | None = None
    """Version of the last checkpoint."""

    @property
    def latest(self) -> int:
        """The latest version; -1 where there is none."""
        return self.commits[-1].version if self.commits else -1

    @property
    def whole(self) -> bool:
        """Whether every commit is there and can be read, so that what no commit names is in no version."""
        return not self.missing and not self.damaged

    def files_of(self, version: int) -> list[File]:
        """Return the files that a version is made of."""
        return [file for file in self.files if file.needed_by([version])]

    def writes(self) -> dict[Part, list[Commit]]:
        """Return the commits that wrote each part, in order."""
        found: dict[Part, list[Commit]] = {}
        for commit in self.commits:
            if commit.part is not None:
                found.setdefault(commit.part, []).append(commit)
        return found

    def since(self, moment: dt.datetime) -> set[int]:
        """Return the versions that were the latest at ``moment`` or came later."""
        before = [commit.version for commit in self.commits if commit.at < moment]
        return set(before[-1:]) | {commit.version for commit in self.commits if commit.at >= moment}


def read(stored: Objects, folder: str, there: Collection[str]) -> Log:
    """Read the log of the table whose folder is ``folder`` and whose files below it are ``there``."""
    commits = {int(found[1]): path for path in there if (found := _COMMIT.fullmatch(path))}
    log = Log(missing=[version for version in range(max(commits, default=-1)) if version not in commits])
    log.checkpoint = max((int(found[1]) for path in there if (found := _CHECKPOINT.fullmatch(path))), default=None)
    lives: dict[str, File] = {}
    versions = sorted(commits)
    contents = read_all(stored, [f"{folder}/{commits[version]}" for version in versions])
    for version, content in zip(versions, contents, strict=True):
        try:
            _replay(log, lives, version, [json.loads(line) for line in content.splitlines() if line.strip()])
        except (ValueError, KeyError, TypeError) as error:
            log.damaged[version] = f"{type(error).__name__}: {error}"
    log.files.extend(lives.values())
    return log


def _replay(log: Log, lives: dict[str, File], version: int, actions: Collection[Mapping[str, Any]]) -> None:
    [info] = [action["commitInfo"] for action in actions if "commitInfo" in action]
    at = dt.datetime.fromtimestamp(info["timestamp"] / 1000, dt.UTC)
    for action in actions:
        if "remove" in action:
            gone = lives.pop(unquote(action["remove"]["path"]), None)
            if gone is not None:
                log.files.append(gone._replace(end=version))
        elif "add" in action:
            file = _added(action["add"], version)
            lives[file.path] = file
    log.commits.append(Commit(version, at, _part(info), info.get("hash", "")))


def _added(add: Mapping[str, Any], version: int) -> File:
    stats = json.loads(add.get("stats") or "{}")
    return File(
        path=unquote(add["path"]),
        size=add["size"],
        rows=stats.get("numRecords", 0),
        month=add["partitionValues"][RUN_MONTH],
        days=_ends(stats, RUN_DAY),
        blocks=_ends(stats, "block"),
        first=version,
    )


def _ends(stats: Mapping[str, Any], column: str) -> tuple[str, str] | None:
    """Return a column's least and greatest value, unless a text was cut off."""
    ends = [stats.get(kind, {}).get(column) for kind in ("minValues", "maxValues")]
    return (ends[0], ends[1]) if all(end and len(end) < _CUT for end in ends) else None


def _part(info: Mapping[str, Any]) -> Part | None:
    """Read from a commit's predicate what it replaced."""
    predicate = info.get("operationParameters", {}).get("predicate") or ""
    day, block = _RUN_DAY.search(predicate), _BLOCK.search(predicate)
    if "hash" not in info or day is None:
        return None
    return Part(dt.date.fromisoformat(day[1]), block[1].replace("''", "'") if block else None)
