"""Logs as logfmt on stdout: one line per record, whoever wrote it, with its context and without secrets."""

import logging
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any

import structlog

from marketday import secrets
from marketday.client import JobStatus
from marketday.settings import Settings

CONTEXT = ("run_id", "retailer", "day", "step", "job_id")
"""What every line that belongs to a job says about it; ``run_id`` is empty where no run asked for the job."""

# These tell at level INFO what only their own developers want to know.
_TALKATIVE = ("alembic", "distributed", "great_expectations", "httpx", "opentelemetry", "sentry_sdk.errors", "urllib3")

_log = structlog.stdlib.get_logger(__name__)


def configure_logging(settings: Settings, context: Callable[[], Mapping[str, str]] = dict) -> None:
    """Send what this process logs to stdout, also what libraries log, warnings, and exceptions that nobody caught.

    Each record is one line: ``ts level msg``, what ``context`` returns at that moment, the record's own fields and the
    logger's name; an exception is a field with its line breaks escaped. Secrets are masked (:mod:`.secrets`).
    """
    secrets.learn(settings)

    def add_context(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        return {**context(), **event}

    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        add_context,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
        structlog.processors.format_exc_info,
        structlog.processors.EventRenamer("msg"),
    ]
    handler = _Stdout(sys.stdout)
    handler.setFormatter(_OneLine(shared))
    logging.basicConfig(level=settings.log_level, handlers=[handler], force=True)
    _take_over_libraries()
    _take_over_hooks()
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[settings.log_level]),
        logger_factory=structlog.stdlib.LoggerFactory(),
    )


def about(job: JobStatus) -> dict[str, str]:
    """Return what every line of a log says about its job."""
    values = (job.run_id, job.retailer, str(job.day), job.process_id, job.job_id)
    return dict(zip(CONTEXT, values, strict=True))


@contextmanager
def harmless(doing: str) -> Iterator[None]:
    """Log an exception of telemetry instead of raising it: no job may fail because somebody wanted to watch it."""
    try:
        yield
    except Exception:  # noqa: BLE001  whatever it is, it is not the job's
        _log.exception("telemetry failed", doing=doing)


class _Stdout(logging.StreamHandler[Any]):
    """Writes the lines."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  logging's name
        """Say that a line could not be written; logging itself would print the record, secrets and all."""
        why = secrets.redact(repr(sys.exc_info()[1]))
        with suppress(OSError):  # there is no place left to say it in
            sys.stderr.write(f'level=error msg="log record lost" logger={record.name} error={why!r}\n')


class _OneLine(structlog.stdlib.ProcessorFormatter):
    """Renders any record as one line of logfmt without secrets."""

    def __init__(self, before: list[structlog.typing.Processor]) -> None:
        super().__init__(
            foreign_pre_chain=before,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _mask,  # here, before quotes and backslashes are escaped; and once more as a line, where keys are seen
                structlog.processors.LogfmtRenderer(key_order=("ts", "level", "msg", *CONTEXT), drop_missing=True),
            ],
        )

    def format(self, record: logging.LogRecord) -> str:
        """Return the line; a record that cannot be rendered (wrong arguments, an invalid key) says so itself."""
        try:
            line = super().format(record)
        except Exception as error:  # noqa: BLE001  logging would print it with everything in it, in no format
            why = f"{type(error).__name__}: {error}"
            substitute = logging.LogRecord(
                record.name, logging.ERROR, record.pathname, record.lineno, "unreadable log record: %s", (why,), None
            )
            line = super().format(substitute)
        line = secrets.redact(line)
        # Every character at which a reader may break a line; the renderer has escaped the common one.
        return line if line.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line)


def _mask(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    return {k: v if v is None or isinstance(v, bool) else secrets.redact(str(v)) for k, v in event.items()}


def _take_over_libraries() -> None:
    """Let records that libraries print themselves come to us instead."""
    for logger in logging.Logger.manager.loggerDict.values():
        if isinstance(logger, logging.Logger):
            for handler in list(logger.handlers):
                if type(handler) is logging.StreamHandler:
                    logger.removeHandler(handler)
            logger.propagate = True
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.captureWarnings(capture=True)
    warnings.formatwarning = _short_warning


def _take_over_hooks() -> None:
    def uncaught(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            sys.__excepthook__(kind, error, traceback)
        else:
            _log.critical("uncaught exception", exc_info=(kind, error, traceback))

    def uncaught_in_thread(given: threading.ExceptHookArgs) -> None:
        if given.exc_value is not None and not isinstance(given.exc_value, SystemExit):
            uncaught(given.exc_type, given.exc_value, given.exc_traceback)

    def unraisable(given: Any) -> None:  # sys.UnraisableHookArgs exists for type checkers only
        if given.exc_value is not None:
            told = given.err_msg or "exception ignored"
            _log.error(told, where=repr(given.object), exc_info=(given.exc_type, given.exc_value, given.exc_traceback))

    sys.excepthook = uncaught
    threading.excepthook = uncaught_in_thread
    sys.unraisablehook = unraisable


def _short_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    """Say a warning in one line; the source line that Python would quote is in the file."""
    del line
    return f"{category.__name__}: {message} ({filename}:{lineno})"
