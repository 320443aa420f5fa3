"""The stored files themselves, below a folder or an object store URL: listed, read and removed.

Delta's own reader shows the files that a table is made of; this shows all that lie there, also what killed writers
left. A folder is walked by itself: object-store libraries hide the temporary files (``name#1``) that they leave in it.
"""

import datetime as dt
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import obstore
from obstore.store import from_url

_AT_A_TIME = 16
"""Requests under way at a time: an object store answers each in tens of milliseconds, however many there are."""


class Stored(NamedTuple):
    """One file."""

    path: str
    """Below the root, with ``/``."""
    size: int
    modified: dt.datetime
    """In UTC, by the store's own clock."""


class Objects(Protocol):
    """The files below one root."""

    def walk(self, below: str) -> Iterator[Stored]:
        """Return every file below a folder of the root, in no order; none if there is no such folder."""
        ...

    def folders(self) -> list[str]:
        """Return the names of the root's own folders, in order."""
        ...

    def read(self, path: str) -> bytes:
        """Return a file's content; ``FileNotFoundError`` if it is gone."""
        ...

    def remove(self, files: Iterable[Stored]) -> None:
        """Delete the files, but none that was written anew since it was listed."""
        ...


def objects(url: str, storage_options: dict[str, str] | None = None) -> Objects:
    """Open a folder, or the URL of an object store with credentials from ``storage_options`` and the environment."""
    return _Bucket(url, storage_options) if "://" in url else _Folder(Path(url))


def read_all(stored: Objects, paths: Iterable[str]) -> Iterator[bytes]:
    """Read many files, several at a time, in the order of ``paths``."""
    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        yield from pool.map(stored.read, paths)


class _Folder:
    def __init__(self, root: Path) -> None:
        self.root = root

    def walk(self, below: str) -> Iterator[Stored]:
        for path in (self.root / below).rglob("*"):
            try:
                state = path.stat()
            except FileNotFoundError:
                continue  # A writer has renamed or removed it meanwhile.
            if path.is_file():
                yield Stored(path.relative_to(self.root).as_posix(), state.st_size, _utc(state.st_mtime))

    def folders(self) -> list[str]:
        return sorted(path.name for path in self.root.iterdir() if path.is_dir()) if self.root.is_dir() else []

    def read(self, path: str) -> bytes:
        return (self.root / path).read_bytes()

    def remove(self, files: Iterable[Stored]) -> None:
        for file in files:
            path = self.root / file.path
            if path.exists() and _utc(path.stat().st_mtime) == file.modified:
                path.unlink(missing_ok=True)


class _Bucket:
    def __init__(self, url: str, storage_options: dict[str, str] | None) -> None:
        config: Any = storage_options  # Its keys are those that Delta's library takes.
        self.store = from_url(url, config=config)

    def walk(self, below: str) -> Iterator[Stored]:
        for page in obstore.list(self.store, prefix=below):
            for entry in page:
                yield Stored(entry["path"], entry["size"], entry["last_modified"])

    def folders(self) -> list[str]:
        return sorted(obstore.list_with_delimiter(self.store)["common_prefixes"])

    def read(self, path: str) -> bytes:
        return obstore.get(self.store, path).bytes().to_bytes()

    def remove(self, files: Iterable[Stored]) -> None:
        for file in files:
            with suppress(FileNotFoundError):
                if obstore.head(self.store, file.path)["last_modified"] == file.modified:
                    obstore.delete(self.store, file.path)


def _utc(seconds: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(seconds, dt.UTC)
