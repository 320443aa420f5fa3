"""Reports to Sentry, taken by a receiver on loopback: which failures, in which words, and without secrets."""

import datetime as dt

import pytest
import sentry_sdk
from telemetry_receivers import events, receiver

from marketday import __version__, secrets
from marketday.client import JobStatus
from marketday.errors import GateFailed, JobFailed, JobLost, OutOfMemory, StepError, TimedOut, TooLarge
from marketday.scoring import wape
from marketday.settings import Settings
from marketday.telemetry import errors
from marketday.telemetry.jobs import JobTelemetry
from marketday.telemetry.logs import about
from marketday.telemetry.metrics import Metrics, Recorded

NOW = dt.datetime(2026, 3, 2, 12, tzinfo=dt.UTC)


@pytest.fixture
def reported():
    """Configure this process's reports; call what it yields for the events that have come in."""
    with receiver() as (address, received):
        settings = Settings(sentry_dsn=f"http://dsnkey@{address}/1", stage="staging", service_token="known-token")
        secrets.learn(settings)
        errors.configure(settings)

        def come_in():
            errors.flush(5)
            return events(received)

        yield come_in
        sentry_sdk.get_client().close()
        sentry_sdk.init()  # to nowhere


def job(error=None, step="clean"):
    return JobStatus(
        job_id="7",
        process_id=step,
        status="failed" if error else "successful",
        created=NOW,
        updated=NOW,
        key="k",
        retailer="corner",
        day=NOW.date(),
        run_id="manual__1",
        attempt=1,
        error=error.to_dict() if error else None,
    )


def a_librarys_error():
    """Fail in a function of ours, with a library's error."""
    with pytest.raises(ValueError, match="broadcast") as caught:
        wape([1.0, 2.0], [1.0, 2.0, 3.0])
    error = JobFailed("ValueError: told by the runner")
    error.__cause__ = caught.value
    return error


def test_an_event_says_release_stage_and_job(reported):
    errors.report(a_librarys_error(), step="clean", context=about(job()))
    (event,) = reported()
    assert event["release"] == f"marketday@{__version__}"
    assert event["environment"] == "staging"
    tags = {"run_id": "manual__1", "retailer": "corner", "day": "2026-03-02", "step": "clean", "job": "7"}
    assert event["tags"] == tags


def test_a_librarys_error_is_reported_as_itself_under_its_type_the_step_and_our_nearest_function(reported):
    errors.report(a_librarys_error(), step="clean")
    (event,) = reported()
    kind, step, function = event["fingerprint"]
    assert (step, function) == ("clean", "marketday.scoring.wape")
    assert event["exception"]["values"][-1]["type"] == kind == "ValueError"


def test_equal_failures_of_two_days_are_one_issue_and_those_of_two_steps_are_two(reported):
    for step in ("clean", "clean", "load"):
        errors.report(a_librarys_error(), step=step)
    first, second, third = (event["fingerprint"] for event in reported())
    assert first == second != third


@pytest.mark.parametrize("error", [StepError("bad input"), GateFailed("a gate"), OutOfMemory("next time, more")])
def test_what_says_itself_what_to_do_is_not_reported(reported, error):
    errors.report(error, step="clean")
    errors.report_job(job(error))
    assert reported() == []


@pytest.mark.parametrize("error", [JobLost("gone"), TimedOut("too slow"), TooLarge("too large")])
def test_a_job_that_could_not_report_itself_is_reported_by_the_service(reported, error):
    telemetry().ended(job(error))
    (event,) = reported()
    assert event["fingerprint"] == [type(error).__name__, "clean", ""]
    assert event["tags"]["job"] == "7"


def test_what_a_jobs_own_process_has_reported_the_service_does_not_report_again(reported):
    telemetry().ended(job(JobFailed("ValueError: seen already")))
    telemetry().ended(job())
    assert reported() == []


def test_a_job_that_is_lost_because_the_service_stops_is_not_reported(reported):
    watched = telemetry()
    watched.stopping = True
    watched.ended(job(JobLost("the service was stopped")))
    assert reported() == []
    watched.ended(job(TimedOut("too slow all the same")))
    assert len(reported()) == 1


def test_nothing_secret_and_nobodys_data_is_sent(reported):
    secret = "known-token and postgresql://me:pass-word@host/db"  # a local variable too
    with pytest.raises(ValueError, match="cannot use") as caught:
        raise ValueError(f"cannot use {secret}")
    errors.report(caught.value, step="clean")
    (event,) = reported()
    assert event["exception"]["values"][0]["value"] == "cannot use *** and postgresql://me:***@host/db"
    assert not {"server_name", "user", "request", "extra", "modules"} & event.keys()
    assert not event["breadcrumbs"]["values"]
    frames = event["exception"]["values"][0]["stacktrace"]["frames"]
    assert not any("vars" in frame for frame in frames)


def test_a_receiver_that_is_away_is_no_failure():
    errors.configure(Settings(sentry_dsn="http://dsnkey@127.0.0.1:9/1"))
    errors.report(ValueError("unheard"), step="clean")
    errors.flush(1)
    sentry_sdk.init()


def telemetry():
    return JobTelemetry(Metrics(stage="staging", steps=[], recorded=lambda: Recorded((), ())))
