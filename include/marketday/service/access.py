"""Who may use the step service: its own token everything, a retailer's its deliveries, a page of another site nothing.

| who shows               | that retailer's deliveries   | another retailer's           | all the rest                 |
|-------------------------|------------------------------|------------------------------|------------------------------|
| the service's token     | may                          | may                          | may                          |
| a retailer's token      | may                          | 403                          | 403                          |
| nothing that is valid   | 401, unless it is open       | 401, unless it is open       | 401, unless it is open       |

The service is open while it has no token; but for the deliveries of each retailer that has a token, or once had one.

A refusal is the same to the byte whichever retailer it is about, and whether there is one of that name.
"""

import base64
import contextlib
import math
import secrets
from typing import NamedTuple
from urllib.parse import urlsplit

import structlog
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from marketday import retailers
from marketday.errors import MarketdayError, ServiceError, ServiceUnavailable
from marketday.service import problems
from marketday.service.known_tokens import KnownTokens
from marketday.service.rate import Rate
from marketday.settings import Settings
from marketday.telemetry.metrics import Metrics, Refused
from marketday.transport import NOT_LET_IN, checked_token

OPEN = frozenset({"/healthz", "/readyz"})
"""Asked by machines that have no token; they tell nothing of any retailer."""

_log = structlog.stdlib.get_logger(__name__)
_CHALLENGES = ('Basic realm="Marketday", charset="UTF-8"', 'Bearer realm="Marketday"')
_READING = frozenset({"GET", "HEAD", "OPTIONS"})
_RETAILERS = "/retailers/"


class _Refusal(NamedTuple):
    reason: Refused
    status: int
    error: MarketdayError
    retry_after: float = 0.0
    """Seconds; 0: not for that reason."""


_NOT_ITS_OWN = _Refusal(
    "not_its_own",
    403,
    ServiceError(
        "This token is for the deliveries of one retailer, and for nothing else",
        hint="Use it below /retailers/NAME/, with the name of the retailer that it was made for.",
    ),
)
_NO_SERVICE_TOKEN = ServiceError("The step service lets nobody in without its token", hint=NOT_LET_IN)
_NO_RETAILER_TOKEN = ServiceError(
    "Deliveries are taken only from who shows the retailer's token, or the step service's",
    hint="Send it as `Authorization: Bearer TOKEN`, or set MARKETDAY_SERVICE_TOKEN for the command line;"
    " `marketday token create` makes one.",
)
_STORE_AWAY = ServiceUnavailable("Tokens cannot be checked now", hint="Wait as long as Retry-After says, then go on.")


class Access:
    """ASGI middleware that lets requests pass which show a token, as a bearer or as the password of HTTP Basic.

    Basic is for people: their browser asks them. From then on it shows the token by itself, also for a page of another
    site; so does, without a token, a network that only its own may reach. Such a page must not change anything.

    Requests below ``/retailers/`` are counted by retailer, and by address where no valid token is shown; so are all
    that are refused for want of a valid token. The service's own token is never made to wait.

    Raises:
        SettingsError: no HTTP header can carry the service's token.

    """

    def __init__(self, app: ASGIApp, settings: Settings, tokens: KnownTokens, metrics: Metrics) -> None:
        self.app = app
        self._token = checked_token(settings.service_token.get_secret_value()).encode()
        self._definitions = settings.retailers
        self._tokens = tokens
        self._metrics = metrics
        self._rate = Rate(settings.delivery_rate)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer it with a problem."""
        if scope["type"] != "http" or scope["path"] in OPEN:
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        try:
            refusal = await self._refusal(scope, headers) or _if_of_another_site(scope, headers)
        except ServiceUnavailable as error:
            # Not what the database said: whoever shows a wrong token would learn where it is.
            _log.warning("tokens cannot be checked", why=error.message)
            refusal = _Refusal("store_away", 503, _STORE_AWAY, error.retry_after or 0.0)
        if refusal is None:
            await self.app(scope, receive, send)
        else:
            self._metrics.refused_request(refusal.reason)
            await _answer(scope, refusal)(scope, receive, send)

    async def _refusal(self, scope: Scope, headers: Headers) -> _Refusal | None:
        """Return why whoever asks may not, or None."""
        shown = _shown(headers.get("authorization", ""))
        if self._token and secrets.compare_digest(shown, self._token):
            return None
        asked = _retailer(scope["path"])
        holder = await self._tokens.holder(shown.decode("utf-8", "replace"))
        if holder is not None:
            # Without its definition, the answer would be that there is none, and which there are.
            own = asked == holder and retailers.is_defined(holder, self._definitions)
            return self._too_many(f"retailer {holder}") or (None if own else _NOT_ITS_OWN)
        if self._token or (asked is not None and await self._asks_for_one(asked)):
            missing = _NO_SERVICE_TOKEN if asked is None else _NO_RETAILER_TOKEN
            return self._too_many(_address(scope)) or _Refusal("wrong_token" if shown else "no_token", 401, missing)
        return None if asked is None else self._too_many(_address(scope))

    async def _asks_for_one(self, retailer: str) -> bool:
        """Whether a retailer's deliveries need a token where the service has none.

        As soon as anybody's do, so do those of retailers that there are not: the answer must not tell one from the
        other.
        """
        protected = await self._tokens.protected()
        defined = retailers.is_defined(retailer, self._definitions)
        return retailer in protected or (bool(protected) and not defined)

    def _too_many(self, who: str) -> _Refusal | None:
        seconds = self._rate.wait(who)
        if seconds == 0.0:
            return None
        error = ServiceUnavailable("Too many requests", hint="Wait as long as Retry-After says, then go on.")
        return _Refusal("too_many", 429, error, seconds)


def _answer(scope: Scope, refusal: _Refusal) -> Response:
    # Not the path that was asked for: it would make the answers about two retailers differ.
    instance = _RETAILERS if _retailer(scope["path"]) is not None else scope["path"]
    more = {"instance": instance, "error": refusal.error.to_dict()}
    answer = problems.answer(Request(scope), refusal.status, refusal.error.message, **more)
    if refusal.status == 401:
        for challenge in _CHALLENGES:
            answer.headers.append("WWW-Authenticate", challenge)
    if refusal.retry_after:
        answer.headers["Retry-After"] = str(math.ceil(refusal.retry_after))
    return answer


def _retailer(path: str) -> str | None:
    """Return the retailer whose deliveries a path is about, or None; the routes split the path in the same way."""
    return path.removeprefix(_RETAILERS).partition("/")[0] if path.startswith(_RETAILERS) else None


def _address(scope: Scope) -> str:
    """Return where the request comes from; behind a proxy, uvicorn has put its client's address there."""
    return f"address {scope['client'][0] if scope.get('client') else 'unknown'}"


def _shown(authorization: str) -> bytes:
    """Return the token that the header shows, or nothing."""
    scheme, _, credentials = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return credentials.strip().encode()
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(credentials, validate=True).partition(b":")[2]
        except ValueError:  # also of characters that are not ASCII
            return b""
    return b""


def _if_of_another_site(scope: Scope, headers: Headers) -> _Refusal | None:
    if scope["method"] in _READING or "origin" not in headers:
        return None
    with contextlib.suppress(ValueError):  # of what is no address, and so not ours
        if urlsplit(headers["origin"]).netloc == headers.get("host"):
            return None
    error = ServiceError(f"A page of {headers['origin']} cannot change anything here")
    return _Refusal("other_site", 403, error)
