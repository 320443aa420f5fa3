"""A job's log, as bytes: its end, and what is added to it while the job runs."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from anyio import to_thread

TAIL = 1 << 20
"""Bytes of a log that are shown: its end, where the reason stands."""

_LOOK_SECONDS = 0.5
"""How often a log is looked at for more."""


def tail(path: Path) -> bytes:
    """Return the end of the log; nothing if nothing has been logged yet."""
    return _read(path, _start(path))


async def follow(path: Path, ended: Callable[[float], Awaitable[bool]]) -> AsyncIterator[bytes]:
    """Give the end of the log and then what is added to it, until the job has ended.

    ``ended`` waits for the job's end for so many seconds and returns whether it has come.
    """
    position, last = await to_thread.run_sync(_start, path), False
    while True:
        more = await to_thread.run_sync(_read, path, position)
        position += len(more)
        if more:
            yield more
        elif last:
            return
        else:
            last = await ended(_LOOK_SECONDS)


def _start(path: Path) -> int:
    return max(0, path.stat().st_size - TAIL) if path.exists() else 0


def _read(path: Path, position: int) -> bytes:
    if not path.exists():
        return b""
    with path.open("rb") as file:
        file.seek(position)
        return file.read(TAIL)
