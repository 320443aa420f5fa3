"""Traces with OpenTelemetry, configured by its standard variables; without an endpoint nothing is even imported.

A trace leads from Airflow's run and task through the request to the step service, the job and the step to the step's
Dask tasks. Between processes it travels as a W3C `traceparent`. Spans are sent over OTLP/HTTP.
"""

import os
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Literal

from marketday import __version__
from marketday.secrets import redact
from marketday.settings import Settings
from marketday.telemetry.logs import harmless

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span as OpenTelemetrySpan
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

Kind = Literal["INTERNAL", "SERVER"]
Attributes = Mapping[str, str | int | float]

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")

_provider: "TracerProvider | None" = None


def wanted() -> bool:
    """Whether the environment asks for traces."""
    off = os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or os.environ.get("OTEL_TRACES_EXPORTER") == "none"
    return any(os.environ.get(name) for name in _ENDPOINTS) and not off


def configure(settings: Settings) -> None:
    """Send this process's spans to where the environment says; a second call, and one without an endpoint, do nothing.

    ``OTEL_SERVICE_NAME`` and ``OTEL_RESOURCE_ATTRIBUTES`` go before our own ``service.name=marketday``, the version
    and the stage.
    """
    global _provider  # noqa: PLW0603  a process sends its spans to one place
    if _provider is not None or not wanted():
        return
    with harmless("setting up traces"):
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415  see above
        from opentelemetry.sdk.resources import OTELResourceDetector, Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

        ours = Resource(
            {
                "service.name": "marketday",
                "service.version": __version__,
                "deployment.environment.name": settings.stage,
            }
        )
        # At exit it would wait for a collector that is away for as long as it takes; flush() waits for a while.
        provider = TracerProvider(resource=ours.merge(OTELResourceDetector().detect()), shutdown_on_exit=False)
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        _provider = provider


def configured() -> bool:
    """Whether this process sends its spans anywhere."""
    return _provider is not None


def flush(seconds: float) -> None:
    """Send what has not been sent; gives up after ``seconds``."""
    if _provider is not None:
        sender = threading.Thread(target=_provider.force_flush, daemon=True)
        sender.start()
        sender.join(seconds)


def headers() -> dict[str, str]:
    """Return the headers that make a request part of this process's current trace; none where it sends no traces.

    Airflow's tasks have a span of their own if its `[traces] otel_on` is set.
    """
    if "opentelemetry.sdk.trace" not in sys.modules:
        return {}
    from opentelemetry import trace  # noqa: PLC0415  it is loaded already
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415

    # A process that sends no traces may still have an identity of one that nobody sees: it would hide what hangs on it.
    if _provider is None and not isinstance(trace.get_tracer_provider(), TracerProvider):
        return {}
    carrier: dict[str, str] = {}
    with harmless("handing a trace on"):
        _propagator().inject(carrier)
    return carrier


class Span:
    """What is done in one place from begin to end; where traces are off, nothing."""

    def __init__(self, span: "OpenTelemetrySpan | None") -> None:
        self._span = span

    @property
    def traceparent(self) -> str:
        """Identity of the span for another process, or an empty text."""
        carrier: dict[str, str] = {}
        if self._span is not None:
            from opentelemetry import trace  # noqa: PLC0415  only where traces are on

            _propagator().inject(carrier, trace.set_span_in_context(self._span))
        return carrier.get("traceparent", "")

    def current(self) -> AbstractContextManager[object]:
        """Return a block whose spans belong below this one."""
        if self._span is None:
            return nullcontext()
        from opentelemetry import trace  # noqa: PLC0415  only where traces are on

        return trace.use_span(self._span, record_exception=False, set_status_on_exception=False)

    def rename(self, name: str) -> None:
        """Give the span the name that was not known at its beginning."""
        if self._span is not None:
            self._span.update_name(name)

    def set(self, attributes: Attributes) -> None:
        """Say something about the span."""
        if self._span is not None:
            self._span.set_attributes(attributes)

    def fail(self, kind: str, message: str) -> None:
        """Say that it has failed, with an error of type ``kind``."""
        if self._span is not None:
            from opentelemetry.trace import Status, StatusCode  # noqa: PLC0415  only where traces are on

            self._span.set_status(Status(StatusCode.ERROR, redact(message)))
            self._span.set_attribute("error.type", kind)

    def end(self) -> None:
        """Say that it has ended."""
        if self._span is not None:
            self._span.end()


def begin(name: str, *, parent: str = "", kind: Kind = "INTERNAL", attributes: Attributes | None = None) -> Span:
    """Begin a span below ``parent`` (a traceparent), else below the current one, else a trace of its own.

    Whoever calls this must call :meth:`Span.end`; it may be in another thread.
    """
    if _provider is None:
        return Span(None)
    from opentelemetry.trace import SpanKind  # noqa: PLC0415  only where traces are on

    above = _propagator().extract({"traceparent": parent}) if parent else None
    tracer = _provider.get_tracer("marketday", __version__)
    return Span(tracer.start_span(name, above, SpanKind[kind], attributes))


@contextmanager
def span(
    name: str, *, parent: str = "", kind: Kind = "INTERNAL", attributes: Attributes | None = None
) -> Iterator[Span]:
    """Make the block a span, the current one; an exception that leaves it is told in the span and goes on."""
    begun = begin(name, parent=parent, kind=kind, attributes=attributes)
    try:
        with begun.current():
            yield begun
    except BaseException as error:
        begun.fail(type(error).__name__, str(error))
        raise
    finally:
        begun.end()


def _propagator() -> "TraceContextTextMapPropagator":
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415  see above

    return TraceContextTextMapPropagator()
