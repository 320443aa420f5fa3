"""Who may use the step service: whoever shows its token, and no page of another site."""

import base64
import secrets
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from marketday.errors import ServiceError
from marketday.service import problems
from marketday.transport import NOT_LET_IN, checked_token

OPEN = frozenset({"/healthz", "/readyz", "/metrics"})
"""Asked by machines that have no token; they tell none of a retailer's figures."""

_CHALLENGES = ('Basic realm="Marketday", charset="UTF-8"', 'Bearer realm="Marketday"')
_READING = frozenset({"GET", "HEAD", "OPTIONS"})


class Access:
    """ASGI middleware that lets requests pass which show the token, as a bearer or as the password of HTTP Basic.

    Basic is for people: their browser asks them. From then on it shows the token by itself, also for a page of another
    site; so does, without a token, a network that only its own may reach. Such a page must not change anything.

    Raises:
        SettingsError: no HTTP header can carry the token.

    """

    def __init__(self, app: ASGIApp, token: str = "") -> None:
        self.app = app
        self._token = checked_token(token).encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer it with a problem."""
        if scope["type"] != "http" or scope["path"] in OPEN:
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if self._token and not secrets.compare_digest(_shown(headers.get("authorization", "")), self._token):
            error = ServiceError("The step service lets nobody in without its token", hint=NOT_LET_IN)
            answer = problems.answer(Request(scope), 401, error.message, error=error.to_dict())
            for challenge in _CHALLENGES:
                answer.headers.append("WWW-Authenticate", challenge)
            await answer(scope, receive, send)
        elif scope["method"] not in _READING and _of_another_site(headers):
            error = ServiceError(f"A page of {headers['origin']} cannot change anything here")
            await problems.answer(Request(scope), 403, error.message, error=error.to_dict())(scope, receive, send)
        else:
            await self.app(scope, receive, send)


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


def _of_another_site(headers: Headers) -> bool:
    return "origin" in headers and urlsplit(headers["origin"]).netloc != headers.get("host")
