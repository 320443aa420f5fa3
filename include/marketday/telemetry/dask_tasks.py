"""Makes a job's Dask tasks visible: a span for each, and the job's context on whatever they log, wherever they run.

Tasks in the job's own threads are watched through Dask's callbacks. Tasks on workers, the job's own or a cluster's,
carry an annotation that says which job they belong to; a plugin that the job's client brings to the workers reads it.
Domain code calls Dask and knows nothing of this.
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import dask
from dask.callbacks import Callback
from dask.utils import key_split
from distributed import Client, Worker, WorkerPlugin
from distributed.utils import thread_state

from marketday import settings as configuration
from marketday.telemetry import tracing
from marketday.telemetry.logs import configure_logging, harmless
from marketday.telemetry.tracing import Span

_ANNOTATION = "marketday"
"""Name of our annotation of tasks, and of our part of Dask's configuration."""
_FLUSH_SECONDS = 2.0


@contextmanager
def watched(context: Mapping[str, str], parent: Span) -> Iterator[None]:
    """Watch the Dask tasks of the block: they belong below ``parent``, and their lines to ``context``."""
    with ExitStack() as stack:
        preload = [*dask.config.get("distributed.client.preload"), __name__]
        # Workers that this process starts inherit its configuration; a cluster's have their own.
        stack.enter_context(dask.config.set({"distributed.client.preload": preload, _ANNOTATION: dict(context)}))
        stack.enter_context(dask.annotate(**{_ANNOTATION: {**context, "traceparent": parent.traceparent}}))
        if parent.traceparent:
            stack.enter_context(_LocalTasks())
        yield


async def dask_setup(client: Client) -> None:
    """Bring the plugin to the workers that ``client`` talks to; Dask calls this for every new client."""
    await client.register_plugin(WorkerTelemetry(logging.getLevelName(logging.getLogger().level)))


class WorkerTelemetry(WorkerPlugin):  # type: ignore[misc]  # distributed is not typed
    """Gives a worker the logs and spans of the jobs whose tasks it runs; its own environment says where spans go."""

    name = "marketday-telemetry"
    idempotent = True

    def __init__(self, log_level: str) -> None:
        self.log_level = log_level
        self._spans: dict[Any, Span] = {}

    def setup(self, worker: Worker) -> None:
        """Take over the worker's logs."""
        self.worker = worker
        settings = configuration.load().model_copy(update={"log_level": self.log_level})
        configure_logging(settings, _of_current_task)
        tracing.configure(settings)

    def teardown(self, worker: Worker) -> None:  # noqa: ARG002  Dask's signature
        """Send the last spans before the worker goes."""
        tracing.flush(_FLUSH_SECONDS)

    def transition(self, key: Any, start: str, finish: str, **_: Any) -> None:
        """Begin the task's span when it starts to run, and end it when it has run."""
        with harmless("tracing a Dask task"):
            task = self.worker.state.tasks.get(key)
            if finish == "executing" and task is not None:
                parent = (task.annotations or {}).get(_ANNOTATION, {}).get("traceparent", "")
                if parent:
                    self._spans[key] = _begin(key, parent)
            elif start in ("executing", "long-running") and finish != "long-running" and key in self._spans:
                span = self._spans.pop(key)
                if finish == "error":
                    span.fail("error", task.exception_text if task else "")
                span.end()


class _LocalTasks(Callback):  # type: ignore[misc]  # nor is Dask
    """Spans of the tasks that run in this process's threads."""

    def __init__(self) -> None:
        super().__init__()
        self._spans: dict[Any, Span] = {}

    def _pretask(self, key: Any, dsk: object, state: object) -> None:
        del dsk, state
        self._spans[key] = _begin(key, "")

    def _posttask(self, key: Any, result: object, dsk: object, state: object, worker_id: object) -> None:
        del result, dsk, state, worker_id
        self._spans.pop(key).end()

    def _finish(self, dsk: object, state: object, failed: bool) -> None:
        del dsk, state, failed
        for span in self._spans.values():  # Dask does not say which of them failed and which were given up
            span.fail("error", "did not finish")
            span.end()
        self._spans.clear()


def _begin(key: Any, parent: str) -> Span:
    return tracing.begin(f"dask {key_split(key)}", parent=parent, attributes={"dask.key": str(key)})


def _of_current_task() -> Mapping[str, str]:
    """Return the context of the job whose task runs in this thread of a worker.

    In a worker's other threads it is that of the job that has started the worker; a cluster's belong to no job.
    """
    state = getattr(thread_state, "execution_state", None)
    task = state["worker"].state.tasks.get(thread_state.key) if state else None
    carried: Mapping[str, str] = (task.annotations or {}).get(_ANNOTATION, {}) if task else {}
    return {name: value for name, value in carried.items() if name != "traceparent"} or dask.config.get(_ANNOTATION, {})
