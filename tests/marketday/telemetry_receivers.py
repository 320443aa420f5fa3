"""Receivers of telemetry on loopback: an OTLP/HTTP collector and a Sentry server, as far as clients can tell."""

import contextlib
import gzip
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


class Received:
    """Bodies that came in, by path; ``await_count`` waits for them."""

    def __init__(self) -> None:
        self.bodies: list[tuple[str, bytes]] = []
        self.changed = threading.Condition()

    def add(self, path: str, body: bytes) -> None:
        with self.changed:
            self.bodies.append((path, body))
            self.changed.notify_all()

    def wait_for(self, enough: Any, seconds: float = 30.0) -> Any:
        """Wait until ``enough()`` is true, and return what it returns; whatever it is when the time is over."""
        with self.changed:
            self.changed.wait_for(enough, seconds)
            return enough()


@contextlib.contextmanager
def receiver() -> Iterator[tuple[str, Received]]:
    """Run a server that takes every POST; yields its ``host:port`` and what it has received."""
    received = Received()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.add(self.path, gzip.decompress(body) if self.headers["Content-Encoding"] == "gzip" else body)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}", received
        finally:
            server.shutdown()
            thread.join()


class ReceivedSpan(NamedTuple):
    """One span, ids in hex."""

    name: str
    trace: str
    id: str
    parent: str
    attributes: dict[str, Any]
    resource: dict[str, Any]
    failed: bool


def spans(received: Received) -> list[ReceivedSpan]:
    """Decode what an OTLP exporter has sent."""
    found = []
    for path, body in received.bodies:
        if path != "/v1/traces":
            continue
        for resource_spans in ExportTraceServiceRequest.FromString(body).resource_spans:
            resource = _values(resource_spans.resource.attributes)
            found += [
                ReceivedSpan(
                    name=span.name,
                    trace=span.trace_id.hex(),
                    id=span.span_id.hex(),
                    parent=span.parent_span_id.hex(),
                    attributes=_values(span.attributes),
                    resource=resource,
                    failed=span.status.code == 2,
                )
                for scope in resource_spans.scope_spans
                for span in scope.spans
            ]
    return found


def events(received: Received) -> list[dict[str, Any]]:
    """Decode the error events that a Sentry client has sent: envelopes of lines, a header before each item."""
    found = []
    for path, body in received.bodies:
        if not path.endswith("/envelope/"):
            continue
        lines = body.split(b"\n")
        headers = [json.loads(line) for line in lines[1:] if line.startswith(b'{"type"')]
        items = [json.loads(line) for line in lines[2::2] if line]
        found += [item for header, item in zip(headers, items, strict=True) if header["type"] == "event"]
    return found


def _values(attributes: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}
