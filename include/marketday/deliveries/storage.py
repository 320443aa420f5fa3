"""Where deliveries lie: a folder or an object store, written and read through one small set of operations.

Nothing here needs locks or renames. An object is there whole or not at all, and :func:`create` lets one of many writers
win. Credentials come from the environment (``AWS_…``), as for the warehouse. Every function raises ServiceUnavailable
if the store does not do what it is asked.
"""

import contextlib
import datetime as dt
import functools
import hashlib
import io
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import LocalStore, ObjectStore, from_url

from marketday.errors import ServiceUnavailable, SettingsError

if TYPE_CHECKING:
    from obstore.store import RetryConfig

_CHUNK = 1 << 20
_RETRY: "RetryConfig" = {"max_retries": 5, "retry_timeout": dt.timedelta(seconds=20)}
_FAILURES = (BaseError, OSError)

_fetched: dict[tuple[str, str], BinaryIO] = {}
"""Files that this process has from a bucket. Their keys are those of content, which never changes."""


@functools.lru_cache(maxsize=64)
def opened(root: str) -> ObjectStore:
    """Open the folder or object store URL; a folder is made when something is put there.

    Raises:
        SettingsError: no store understands the URL.

    """
    if "://" not in root:
        return LocalStore(prefix=Path(root).resolve(), mkdir=True)
    try:
        return from_url(root, retry_config=_RETRY)
    except (*_FAILURES, ValueError) as error:
        raise SettingsError(
            f"{root} cannot be opened: {first_line(error)}",
            hint="Give a folder or a URL such as s3://bucket/folder; AWS_… says how to reach it.",
        ) from error


def put_file(root: str, key: str, source: Path) -> None:
    """Store a file; what was there before is replaced in one moment."""
    with _told(root, key):
        obstore.put(opened(root), key, source)
        _settle(root, key)


def put(root: str, key: str, content: bytes) -> None:
    """Store a small object; what was there before is replaced in one moment."""
    with _told(root, key):
        obstore.put(opened(root), key, content)
        _settle(root, key)


def create(root: str, key: str, content: bytes) -> bool:
    """Store a small object if there is none of that key yet, and return whether it is ours that is there now."""
    with _told(root, key):
        try:
            obstore.put(opened(root), key, content, mode="create")
        except AlreadyExistsError:
            return False
        _settle(root, key)
        return True


def get(root: str, key: str) -> bytes | None:
    """Return an object, or None if there is none of that key."""
    with _told(root, key):
        try:
            return bytes(obstore.get(opened(root), key).bytes())
        except FileNotFoundError:
            return None


def names(root: str, folder: str = "") -> list[str]:
    """Return the names of all objects below the root or a folder in it, sorted, without the folder's own."""
    prefix = f"{folder}/" if folder else ""
    with _told(root, prefix):
        found = obstore.list(opened(root), prefix).collect()
        return sorted(each["path"].removeprefix(prefix) for each in found)


def delete(root: str, keys: Iterable[str]) -> None:
    """Remove objects; one that is gone already is no error."""
    for key in keys:
        with _told(root, key), contextlib.suppress(FileNotFoundError):
            obstore.delete(opened(root), key)


def sha256(root: str, key: str) -> str | None:
    """Return the hash of an object's content, or None if there is none of that key."""
    digest = hashlib.sha256()
    with _told(root, key):
        try:
            for chunk in obstore.get(opened(root), key).stream(min_chunk_size=_CHUNK):
                digest.update(chunk)
        except FileNotFoundError:
            return None
    return digest.hexdigest()


def fetch(root: str, key: str, target: Path) -> None:
    """Copy an object to a file."""
    with _told(root, key), target.open("wb") as file:
        for chunk in obstore.get(opened(root), key).stream(min_chunk_size=_CHUNK):
            file.write(chunk)


def verified(root: str, key: str, wanted: str) -> Path | None:
    """Return where this process can read the object if ``wanted`` is the hash of its content, else None.

    An object in a bucket is fetched once, into a file without a name: it goes with the process, however that ends.
    """
    if isinstance(opened(root), LocalStore):
        return Path(root).resolve() / key if sha256(root, key) == wanted else None
    if (root, key) not in _fetched:
        file = cast("BinaryIO", tempfile.TemporaryFile())  # noqa: SIM115  it stays open
        with _told(root, key):
            try:
                for chunk in obstore.get(opened(root), key).stream(min_chunk_size=_CHUNK):
                    file.write(chunk)
            except FileNotFoundError:
                return None
        file.seek(0)
        if hashlib.file_digest(cast("io.FileIO", file), "sha256").hexdigest() != wanted:
            return None
        _fetched[root, key] = file
    return Path(f"/proc/self/fd/{_fetched[root, key].fileno()}")


class Reader(io.RawIOBase):
    """An object of which only parts are fetched, as they are read."""

    def __init__(self, root: str, key: str) -> None:
        super().__init__()
        self._at = f"{root}/{key}"
        with _told(root, key):
            self._file = obstore.open_reader(opened(root), key)

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def seekable(self) -> bool:
        """Say that it can be read from anywhere."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go on reading from there."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Return from where it is read next."""
        return self._file.tell()

    def read(self, size: int | None = -1) -> bytes:
        """Return the next bytes."""
        with _told(self._at, "a part of it"):
            return bytes(self._file.read(None if size is None or size < 0 else size))


def first_line(error: BaseException) -> str:
    """Return the first line of what an error says: obstore's errors go on with how they came about."""
    return str(error).partition("\n")[0] or type(error).__name__


def _settle(root: str, key: str) -> None:
    """Bring a file and its name to the disk: a store answers only then by itself, a folder does not."""
    if "://" in root:
        return
    top, path = Path(root).resolve(), Path(root).resolve() / key
    while True:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if path == top:
            return
        path = path.parent


@contextlib.contextmanager
def _told(root: str, key: str) -> Iterator[None]:
    """Say which object could not be reached."""
    try:
        yield
    except _FAILURES as error:
        # Never a DeliveryError: that there is no delivery is not known while the store does not answer.
        raise ServiceUnavailable(
            f"The store at {root} failed at {key!r}: {first_line(error)}",
            hint="See that it answers, has room, and lets us in; then do it again.",
            retry_after=5,
        ) from error
