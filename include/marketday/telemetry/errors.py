"""Errors that somebody has to mend, reported to Sentry where it is configured; elsewhere nothing is even imported.

An error of ours that says what to do about it (bad input, a failed gate, no free slot) is no such thing: support reads
it in Airflow. Reported are bugs, libraries' errors, and jobs that were lost, too slow or too large.
Equal failures are one issue: they share the error's type, the step and the function of ours that is nearest to it.
"""

import sys
from traceback import walk_tb
from typing import Any

from marketday import __version__
from marketday.client import JobStatus
from marketday.errors import JobFailed, JobLost, MarketdayError, TimedOut, TooLarge, from_dict
from marketday.secrets import redact_all
from marketday.settings import Settings
from marketday.telemetry.logs import about, harmless

_UNEXPECTED = (JobFailed, JobLost, TimedOut, TooLarge)
"""Our own errors that are reported. Running out of memory is not: the next attempt gets more, or is TooLarge."""

_OURS = ("marketday.", "operators.")


def configure(settings: Settings) -> None:
    """Report this process's errors to ``MARKETDAY_SENTRY_DSN``; without one, do nothing."""
    dsn = settings.sentry_dsn.get_secret_value()
    if not dsn:
        return
    with harmless("setting up Sentry"):
        import sentry_sdk  # noqa: PLC0415  costs a quarter of a second that only its users should pay

        sentry_sdk.init(
            dsn,
            release=f"marketday@{__version__}",
            environment=settings.stage,
            before_send=_without_secrets,
            # What the integrations collect of themselves (requests, arguments, breadcrumbs of every log line) nobody
            # has looked through for secrets and for persons' data.
            default_integrations=False,
            auto_enabling_integrations=False,
            include_local_variables=False,
            send_default_pii=False,
            max_breadcrumbs=0,
        )


def report(error: BaseException, *, step: str, context: dict[str, str] | None = None) -> None:
    """Report ``error`` if it is unexpected; ``context`` is what a line of the log says about the job."""
    cause = error.__cause__ if isinstance(error, JobFailed) and error.__cause__ else error
    if "sentry_sdk" not in sys.modules or (isinstance(cause, MarketdayError) and not isinstance(cause, _UNEXPECTED)):
        return
    with harmless("reporting an error"):
        import sentry_sdk  # noqa: PLC0415  it is loaded already

        with sentry_sdk.new_scope() as scope:
            scope.fingerprint = [type(cause).__name__, step, _nearest(cause)]
            for name, value in ({"step": step} | (context or {})).items():
                scope.set_tag({"job_id": "job"}.get(name, name), value)
            sentry_sdk.capture_exception(cause)


def report_job(job: JobStatus) -> None:
    """Report the failure of a job that could not do so itself: it was killed, hung, or was too large."""
    if job.error is None:
        return
    error = from_dict(job.error)
    if not isinstance(error, JobFailed):  # that one its own process has reported, with its traceback
        report(error, step=job.process_id, context=about(job))


def flush(seconds: float) -> None:
    """Send what has not been sent; gives up after ``seconds``."""
    if "sentry_sdk" in sys.modules:
        import sentry_sdk  # noqa: PLC0415  it is loaded already

        sentry_sdk.flush(seconds)


def _nearest(error: BaseException) -> str:
    """Return the function of ours that is nearest to where the error was raised, or an empty text."""
    frames = [frame for frame, _ in walk_tb(error.__traceback__)]
    names = [f"{frame.f_globals.get('__name__', '')}.{frame.f_code.co_qualname}" for frame in frames]
    return next((name for name in reversed(names) if name.startswith(_OURS)), "")


def _without_secrets(event: Any, _: Any) -> Any:
    """Mask secrets in every text of the event, and leave out the host's name, which may be a person's."""
    event.pop("server_name", None)
    return redact_all(event)
