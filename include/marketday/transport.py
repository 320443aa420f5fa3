"""One HTTP exchange with the step service. Light on purpose: Airflow's triggerer imports it.

Every exchange has a time limit, and every failure is one of :mod:`marketday.errors`.
"""

import ssl
from collections.abc import Callable, Mapping
from typing import Any

import httpx

from marketday.errors import ServiceError, ServiceUnavailable, SettingsError, from_dict

_UNAVAILABLE = (
    httpx.codes.TOO_MANY_REQUESTS,
    httpx.codes.INTERNAL_SERVER_ERROR,
    httpx.codes.BAD_GATEWAY,
    httpx.codes.SERVICE_UNAVAILABLE,
    httpx.codes.GATEWAY_TIMEOUT,
)
"""Answers that may be others later, unless they carry an error of ours."""

_LATER = (httpx.codes.TOO_MANY_REQUESTS, httpx.codes.SERVICE_UNAVAILABLE)
"""Answers that may be others later in any case, and that say when."""

_FORBIDDEN = (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN)

NOT_LET_IN = (
    "Set MARKETDAY_SERVICE_TOKEN to the step service's token; in Airflow it may also be the password of the connection"
    " marketday_service."
)

# Every waiting trigger holds one connection. An unused one goes before the service (uvicorn: after 5 s) closes it.
_LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=3.0)


def checked_token(token: str) -> str:
    """Return the token if an HTTP header can carry it.

    Raises:
        SettingsError: it cannot; the message does not show it.

    """
    if not (token.isascii() and token.isprintable()) or " " in token:
        raise SettingsError(
            "The step service's token has characters that no HTTP header can carry",
            hint="MARKETDAY_SERVICE_TOKEN is ASCII without spaces; a line break at its end counts, too.",
        )
    return token


class Transport:
    """The way to one step service, for threads and for coroutines of one event loop.

    ``timeout`` is in seconds; ``headers`` are asked for at each request, which carries them beside its own.
    """

    def __init__(self, url: str, *, token: str, timeout: float, headers: Callable[[], Mapping[str, str]]) -> None:
        self.url = url.rstrip("/")
        self.timeout = timeout
        self._headers = headers
        options: dict[str, Any] = {
            "base_url": self.url,
            "headers": {"Authorization": f"Bearer {checked_token(token)}"} if token else {},
            "limits": _LIMITS,
            # The service is inside our own network: a proxy that the environment names would not find it.
            "trust_env": False,
            "verify": _authorities(self.url),
        }
        self._client = httpx.Client(**options)
        self._async_client = httpx.AsyncClient(**options)

    def close(self) -> None:
        """Close the connections of threads."""
        self._client.close()

    async def aclose(self) -> None:
        """Close the connections of coroutines."""
        await self._async_client.aclose()

    def send(self, method: str, path: str, *, limit: float | None = None, **options: Any) -> httpx.Response:
        """Return the answer to one request; ``limit`` (seconds) replaces the usual timeout.

        Raises:
            ServiceUnavailable: no answer, or one that may be another later.
            MarketdayError: the error that the answer carries.

        """
        limit = self.timeout if limit is None else limit
        try:
            return _checked(self._client.request(method, path, timeout=limit, **self._with_headers(options)))
        except httpx.TransportError as error:
            raise self._unavailable(error, method, path, limit) from error

    async def asend(self, method: str, path: str, *, limit: float | None = None, **options: Any) -> httpx.Response:
        """Do what :meth:`send` does, without holding a thread."""
        limit = self.timeout if limit is None else limit
        try:
            options = self._with_headers(options)
            return _checked(await self._async_client.request(method, path, timeout=limit, **options))
        except httpx.TransportError as error:
            raise self._unavailable(error, method, path, limit) from error

    def _with_headers(self, options: dict[str, Any]) -> dict[str, Any]:
        return {**options, "headers": {**self._headers(), **options.get("headers", {})}}

    def _unavailable(self, error: httpx.TransportError, method: str, path: str, limit: float) -> ServiceUnavailable:
        hint = "Start it with `marketday serve`, or set MARKETDAY_SERVICE_URL to where it runs."
        if isinstance(error, httpx.TimeoutException):
            what = f"HTTP call {method} {self.url}{path} was not answered within its limit of {limit:g} s"
            return ServiceUnavailable(f"{what} ({type(error).__name__})", hint=hint)
        return ServiceUnavailable(
            f"The step service at {self.url} does not answer: {type(error).__name__} {error}".rstrip(), hint=hint
        )


def _authorities(url: str) -> ssl.SSLContext:
    # Plain HTTP needs none, and reading the system's would take 30 ms for each client.
    return ssl.create_default_context() if url.startswith("https:") else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _checked(answer: httpx.Response) -> httpx.Response:
    if answer.is_success:
        return answer
    problem = _problem(answer)
    error = problem.get("error")
    if isinstance(error, Mapping) and answer.status_code not in _LATER:
        raise from_dict(dict(error))
    request = f"{answer.request.method} {answer.request.url}"
    message = str(problem.get("detail") or f"{request} was answered with {answer.status_code}: {answer.text[:200]}")
    if answer.status_code in _UNAVAILABLE:
        after = answer.headers.get("Retry-After", "")
        raise ServiceUnavailable(message, retry_after=float(after) if after.isdigit() else None)
    raise ServiceError(message, hint=NOT_LET_IN if answer.status_code in _FORBIDDEN else "")


def _problem(answer: httpx.Response) -> Mapping[str, Any]:
    """Return the problem details (RFC 9457); an answer of somebody else, such as a proxy, has none."""
    if answer.headers.get("Content-Type", "").startswith("application/problem+json"):
        problem = answer.json()
        if isinstance(problem, Mapping):
            return problem
    return {}
