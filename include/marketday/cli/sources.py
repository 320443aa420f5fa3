"""Where `marketday deliver --from` takes files: a folder, a file, a web address, or a folder in an object store."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

import httpx

from marketday.errors import DeliveryError, ServiceUnavailable, listed

if TYPE_CHECKING:
    from marketday.deliveries.formats import Sent

_SECONDS = 60.0
"""Without a byte, after which a web server is taken to be away."""


class File(NamedTuple):
    """One table's file, here on the disk."""

    table: str
    path: Path
    sent: "Sent"

    @property
    def headers(self) -> dict[str, str]:
        """What the step service must be told of it."""
        from marketday.deliveries.formats import MEDIA_TYPES

        media_type = next(name for name, form in MEDIA_TYPES.items() if form == self.sent.format)
        return {"Content-Type": media_type, "Content-Encoding": self.sent.coding}


def gathered(sources: Iterable[str], into: Path) -> list[File]:
    """Return the files of all sources, in the order of their tables' names; what is elsewhere is fetched to ``into``.

    Raises:
        DeliveryError: there is none, or there are two of one table.
        ServiceUnavailable: a web server or an object store does not answer.

    """
    files: dict[str, File] = {}
    passed: list[str] = []
    for path in (each for source in sources for each in _files(source, into)):
        if (file := _recognised(path)) is None:
            passed.append(path.name)
        elif file.table in files:
            raise DeliveryError(
                f"There are two files of {file.table}: {files[file.table].path.name} and {path.name}",
                hint="Leave one of them.",
            )
        else:
            files[file.table] = file
    if not files:
        raise DeliveryError(
            f"There is no table in {listed(sources)}" + (f", only {listed(passed)}" if passed else ""),
            hint="A file is called <table>.parquet, .arrows, .csv or .ndjson; with .gz or .zst behind it, or not.",
        )
    return [files[table] for table in sorted(files)]


def _recognised(path: Path) -> File | None:
    from marketday.deliveries.formats import of_name

    named = of_name(path.name)
    return None if named is None else File(named[0], path, named[1])


def _files(source: str, into: Path) -> list[Path]:
    if source.startswith(("http://", "https://")):
        return [_downloaded(source, into)]
    if "://" in source:
        return _fetched(source, into)
    path = Path(source)
    if not path.exists():
        raise DeliveryError(f"There is no {source}", hint="Give a folder, a file, or an address with ://.")
    return sorted(each for each in path.iterdir() if each.is_file()) if path.is_dir() else [path]


def _downloaded(address: str, into: Path) -> Path:
    path = into / (Path(urlsplit(address).path).name or "index")
    try:
        with httpx.stream("GET", address, follow_redirects=True, timeout=_SECONDS) as answer, path.open("wb") as file:
            answer.raise_for_status()
            for part in answer.iter_raw():  # as it is: what unfolds it is the service, within limits
                file.write(part)
    except httpx.HTTPError as error:
        raise ServiceUnavailable(f"{address} cannot be fetched: {error}") from error
    return path


def _fetched(folder: str, into: Path) -> list[Path]:
    from marketday.deliveries import storage

    names = [name for name in storage.names(folder) if "/" not in name and _recognised(Path(name))]
    for name in names:
        storage.fetch(folder, name, into / name)
    return [into / name for name in names]
