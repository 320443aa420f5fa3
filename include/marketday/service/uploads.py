"""Bodies on their way to the disk: as they come, no more of them in memory than a chunk, and no more than may be."""

import contextlib
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path

import anyio
from fastapi import Request
from starlette.requests import ClientDisconnect

from marketday.deliveries.limits import too_much
from marketday.errors import DeliveryError, ServiceUnavailable
from marketday.service.problems import Problem
from marketday.settings import Settings
from marketday.tables import DELIVERED

_AT_A_TIME = len(DELIVERED)
"""Uploads of one retailer, each of which takes room on the disk: all that a delivery can bring."""


def clear(settings: Settings) -> None:
    """Remove what a service that died has left in this home."""
    shutil.rmtree(_incoming(settings), ignore_errors=True)


@contextlib.contextmanager
def folder(settings: Settings) -> Iterator[Path]:
    """Give a folder for one request.

    Raises:
        ServiceUnavailable: there is no room for it.

    """
    incoming = _incoming(settings)
    try:
        incoming.mkdir(parents=True, exist_ok=True)
        made = tempfile.TemporaryDirectory(dir=incoming)
    except OSError as error:
        raise _no_room("what comes", error) from error
    with made as name:
        yield Path(name)


@contextlib.contextmanager
def counted(under_way: Counter[str], retailer: str) -> Iterator[None]:
    """Count an upload of the retailer while it is under way; for the coroutines of one event loop.

    Raises:
        ServiceUnavailable: the retailer has as many under way as it may.

    """
    if under_way[retailer] >= _AT_A_TIME:
        raise ServiceUnavailable(
            f"{retailer} has {_AT_A_TIME} uploads under way, and may have no more at a time",
            hint="Send one table after the other.",
            retry_after=5,
        )
    under_way[retailer] += 1
    try:
        yield
    finally:
        under_way[retailer] -= 1


async def receive(request: Request, path: Path, *, table: str, most: int) -> None:
    """Write the request's body to ``path``.

    Raises:
        DeliveryError: it has more than ``most`` bytes; what it claims to have is believed before any of it is read.
        ServiceUnavailable: there is no room for it.
        Problem: the sender went away.

    """
    claimed = request.headers.get("content-length", "")
    if claimed.isdigit() and int(claimed) > most:
        raise too_much(table, "body", int(claimed), most)
    size = 0
    try:
        async with await anyio.open_file(path, "wb") as file:
            async for chunk in request.stream():
                size += len(chunk)
                if size > most:
                    raise too_much(table, "body", size, most)
                await file.write(chunk)
    except ClientDisconnect as error:
        gone = DeliveryError(f"{table}: the body ended after {size:,} bytes, before it was complete")
        raise Problem(HTTPStatus.BAD_REQUEST, gone) from error
    except OSError as error:
        raise _no_room(f"{table}: the body", error) from error


def _no_room(what: str, error: OSError) -> ServiceUnavailable:
    return ServiceUnavailable(f"{what} cannot be kept: {error.strerror}", retry_after=30)


def _incoming(settings: Settings) -> Path:
    return settings.home / "incoming"
