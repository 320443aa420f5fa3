"""Watches the requests to the service: their metrics, their spans, and the bugs that they run into."""

import time
from contextlib import AbstractContextManager, nullcontext
from http import HTTPMethod, HTTPStatus

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from marketday.secrets import redact
from marketday.telemetry import errors, tracing
from marketday.telemetry.metrics import Metrics
from marketday.telemetry.tracing import Span, span

_PROBES = frozenset({"/healthz", "/readyz", "/metrics"})
"""Asked every few seconds by machines: nobody looks for them in a trace."""


class WatchedRequests:
    """ASGI middleware; it belongs outside of all others, so that it sees what they refuse."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app = app
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and tell how it went."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        status = 500  # what a request that ends in an exception is answered with

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        began = time.perf_counter()
        with _span(scope) as told:
            try:
                await self.app(scope, receive, watch)
            except Exception as error:
                errors.report(error, step=_route(scope))
                raise
            finally:
                route, method = _route(scope), _method(scope)
                self.metrics.request(route, method, status, time.perf_counter() - began)
                told.rename(f"{method} {route}")
                told.set({"http.route": route, "http.response.status_code": status})
                if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                    told.fail(str(status), HTTPStatus(status).phrase)


def _span(scope: Scope) -> AbstractContextManager[Span]:
    if scope["path"] in _PROBES or not tracing.configured():
        return nullcontext(Span(None))
    attributes = {"http.request.method": _method(scope), "url.path": redact(scope["path"])}
    parent = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"traceparent"), "")
    return span(_method(scope), parent=parent, kind="SERVER", attributes=attributes)


def _method(scope: Scope) -> str:
    """Return the request's method; one that HTTP does not know must not become a label."""
    method: str = scope["method"]
    return method if method in HTTPMethod.__members__ else "OTHER"


def _route(scope: Scope) -> str:
    """Return the template of the route that was taken: a request that no route takes must not become a label."""
    return getattr(scope.get("route"), "path", "other")
