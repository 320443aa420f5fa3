"""The tokens of retailers as the requests see them: a copy from the database that is some seconds old at most."""

import asyncio
import datetime as dt
import secrets
import time
from collections.abc import Callable
from typing import NamedTuple

from fastapi.concurrency import run_in_threadpool

from marketday.secrets import TOKEN_PREFIX
from marketday.service.tokens import Token, TokenStore, hashed
from marketday.telemetry.logs import harmless

FRESH_SECONDS = 5.0
"""How old the copy may be: a revocation, on whichever host, has taken effect everywhere after as long."""

_FRESH_FOR_UNKNOWN_SECONDS = 1.0
"""How old it may be where a token is not in it: a new token works at once, and guessing asks the database rarely."""

_NOTE_EVERY = dt.timedelta(hours=1)
"""How exactly the last use of a token is known."""


class _Copy(NamedTuple):
    valid: tuple[Token, ...]
    retailers: frozenset[str]
    read_at: float


class KnownTokens:
    """Says whose a token is, for the coroutines of one event loop; an expiry takes effect to the second.

    ``clock`` gives seconds that only grow, ``now`` the instant in UTC. The methods raise ServiceUnavailable if the copy
    is too old and the database does not answer: a token that was revoked meanwhile must not be let in.
    """

    def __init__(
        self,
        store: TokenStore,
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
    ) -> None:
        self._store = store
        self._clock = clock
        self._now = now
        self._copy: _Copy | None = None
        self._reading: asyncio.Task[_Copy] | None = None
        self._noted: dict[str, dt.datetime] = {}

    async def holder(self, shown: str) -> str | None:
        """Return the retailer whose valid token is shown, or None."""
        if not shown.startswith(TOKEN_PREFIX):
            return None
        for fresh in (FRESH_SECONDS, _FRESH_FOR_UNKNOWN_SECONDS):
            if token := self._find(await self._at_most(fresh), hashed(shown)):
                await self._note(token)
                return token.retailer
        return None

    async def protected(self) -> frozenset[str]:
        """Return the retailers that have a token, or once had one: to revoke the last must not open the door."""
        return (await self._at_most(FRESH_SECONDS)).retailers

    def _find(self, copy: _Copy, shown: str) -> Token | None:
        # Every hash is compared, each in constant time: how long it takes tells nothing of which one is near.
        found = [token for token in copy.valid if secrets.compare_digest(token.hash, shown)]
        return next((token for token in found if token.state(self._now()) == "valid"), None)

    async def _at_most(self, seconds: float) -> _Copy:
        """Return a copy of that age at most; whoever needs a newer one at the same time waits for the same one."""
        if self._copy is not None and self._clock() - self._copy.read_at <= seconds:
            return self._copy
        loop = asyncio.get_running_loop()
        # The loop is another one where the HTTP server was started anew.
        if self._reading is None or self._reading.done() or self._reading.get_loop() is not loop:
            self._reading = loop.create_task(self._read())
        return await asyncio.shield(self._reading)

    async def _read(self) -> _Copy:
        began = self._clock()
        valid = await run_in_threadpool(self._store.valid, self._now())
        retailers = await run_in_threadpool(self._store.retailers)
        self._copy = _Copy(tuple(valid), retailers, began)
        return self._copy

    async def _note(self, token: Token) -> None:
        now = self._now()
        last = self._noted.get(token.id, token.last_used)
        if last is None or now - last >= _NOTE_EVERY:
            self._noted[token.id] = now
            with harmless("noting when a token was used"):
                await run_in_threadpool(self._store.note_use, token.id, now)
