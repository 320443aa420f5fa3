"""What a real service shows: metrics that outlive jobs and services, reports of bugs, and never a secret."""

import datetime as dt
from pathlib import Path

import httpx
import probe_service
import pytest
from prometheus_client.parser import text_string_to_metric_families
from telemetry_receivers import events, receiver

from marketday import __version__, tables
from marketday.calls import Call
from marketday.client import StepServiceClient
from marketday.errors import JobFailed, JobLost, MarketdayError, StepError
from marketday.settings import Settings
from marketday.warehouse import Warehouse

ROOT = Path(__file__).resolve().parents[2]
SECRETS = {
    "MARKETDAY_SERVICE_TOKEN": "the-token/of+service",
    "MARKETDAY_AIRFLOW_PASSWORD": 'quoted"half spaced backslashed\\half',
    "MARKETDAY_MLFLOW": "postgresql://mlflow:p@ss/w:rd@db.example.com/mlflow",
    "AWS_SECRET_ACCESS_KEY": "aws-secret-access-key",
}
# What must not be found: the part of each that is secret, in pieces that no way of quoting breaks.
HIDDEN = (
    "the-token",
    "of+service",
    "quoted",
    "spaced",
    "backslashed",
    "p@ss",
    "w:rd",
    "aws-secret",
    "sentry-key",
    "jobs-password",
)


@pytest.fixture
def settings(tmp_path):
    return Settings(home=tmp_path / "var", retailers=ROOT / "include" / "retailers")


def call(step, **params):
    return Call(step=step, retailer="simulated", day=dt.date(2026, 3, 2), params=params)


def carried_out(client, wanted):
    job = client.submit(wanted)
    while not job.final:
        job = client.status(job.job_id, wait=30)
    return job


def scraped(url, *, marked="marketday_step_last"):
    """The samples whose name begins so: (name, labels) → value."""
    text = httpx.get(f"{url}/metrics", trust_env=False).text
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name.startswith(marked)
    }


def test_what_a_job_has_told_is_still_there_after_its_process_and_after_the_service(settings):
    with probe_service.running(settings) as service:
        job = carried_out(service.client, call("probe"))
        before = scraped(service.url)
    of_probe = {"retailer": "simulated", "step": "probe"}
    assert before == {
        ("marketday_step_last_rows", frozenset({**of_probe, "table": "events"}.items())): 1,
        ("marketday_step_last_peak_memory_bytes", frozenset(of_probe.items())): job.peak_memory,
        ("marketday_step_last_success_timestamp_seconds", frozenset(of_probe.items())): job.finished.timestamp(),
        ("marketday_step_last_day_timestamp_seconds", frozenset(of_probe.items())): 1772409600,
    }
    with probe_service.running(settings) as service:
        assert scraped(service.url) == before


def test_every_replica_says_the_same_of_the_store_and_its_own_of_itself(settings):
    other = settings.model_copy(update={"home": settings.home / "other", "jobs_url": settings.jobs_database})
    with probe_service.running(settings) as one, probe_service.running(other) as two:
        carried_out(one.client, call("probe"))
        assert scraped(two.url) == scraped(one.url) != {}
        ended = ("marketday_jobs_total", frozenset({"step": "probe", "state": "successful"}.items()))
        assert [scraped(each.url, marked="marketday_jobs_total")[ended] for each in (one, two)] == [1, 0]


def test_a_call_that_finds_no_slot_is_counted_and_the_slots_are_shown(settings, tmp_path):
    with probe_service.running(settings, slots=1) as service:
        probe_service.start_hanging(service.client, tmp_path / "pids")
        with pytest.raises(MarketdayError, match="slots"):
            service.client.submit(call("probe"))
        found = {name: value for (name, labels), value in scraped(service.url, marked="marketday_job").items() if value}
    assert found["marketday_job_refusals_total"] == 1
    assert found["marketday_jobs_running"] == found["marketday_job_slots"] == found["marketday_jobs_unfinished"] == 1


def test_no_secret_appears_anywhere_whatever_fails(settings):
    with receiver() as (address, received):
        environment = {
            **SECRETS,
            "MARKETDAY_SENTRY_DSN": f"http://sentry-key@{address}/1",
            "MARKETDAY_STEP_MODULES": "probe_steps telemetry_steps",
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{address}",
        }
        told = []
        with probe_service.running(settings, environment=environment) as service:
            token = SECRETS["MARKETDAY_SERVICE_TOKEN"]
            with StepServiceClient(service.url, token=token) as client:
                for kindly in (False, True):
                    variables = [*SECRETS, "MARKETDAY_SENTRY_DSN"]
                    job = carried_out(client, call("indiscreet", variables=variables, kindly=kindly))
                    with pytest.raises(MarketdayError) as failure:
                        client.result(job.job_id)
                    told += [job.model_dump_json(), client.log(job.job_id), str(failure.value)]
            headers = {"Authorization": f"Bearer {token}x"}
            told.append(httpx.get(f"{service.url}/jobs", headers=headers, trust_env=False).text)
            httpx.get(f"{service.url}/jobs/{token}", trust_env=False)  # the answer repeats what the caller has said
            service.stop()
        (event,) = events(received)
    assert event["tags"]["step"] == "indiscreet"
    told += [path.read_text() for path in [*settings.home.rglob("*.log")]]
    told += [body.decode(errors="replace") for _, body in received.bodies]
    told.append((settings.home / "jobs.db").read_bytes().decode(errors="replace"))
    told += Warehouse.from_settings(settings).scan("simulated", tables.RUNS).collect()["message"].to_list()
    everything = "\n".join(told)
    assert everything.count("***") > 20
    assert not [secret for secret in HIDDEN if secret in everything]


def test_a_job_store_that_cannot_be_reached_is_named_without_its_password(settings):
    away = "postgresql://jobs:jobs-password@127.0.0.1:9/jobs"
    with (
        pytest.raises(AssertionError, match="did not start") as output,
        probe_service.running(settings, environment={"MARKETDAY_JOBS_URL": away}),
    ):
        pass
    assert "127.0.0.1" in str(output.value)
    assert "jobs-password" not in str(output.value)


def test_failures_that_somebody_must_mend_are_reported_once_each_and_others_are_not(settings):
    with receiver() as (address, received):
        environment = {"MARKETDAY_SENTRY_DSN": f"http://key@{address}/1", "MARKETDAY_STAGE": "staging"}
        with probe_service.running(settings, environment=environment) as service:
            bug = carried_out(service.client, call("fail", kind="bug"))
            assert bug.error["type"] == JobFailed.__name__
            assert carried_out(service.client, call("fail")).error["type"] == StepError.__name__
            assert carried_out(service.client, call("die")).error["type"] == JobLost.__name__
            service.stop()
        of_bug, of_death = sorted(events(received), key=lambda event: event["fingerprint"], reverse=True)
    assert of_bug["exception"]["values"][-1]["type"] == of_bug["fingerprint"][0] == "ValueError"
    assert of_bug["release"] == f"marketday@{__version__}"
    assert of_bug["environment"] == "staging"
    tags = {"retailer": "simulated", "step": "fail", "day": "2026-03-02", "job": bug.job_id}
    assert {name: value for name, value in of_bug["tags"].items() if value} == tags
    assert of_death["fingerprint"] == ["JobLost", "die", ""]
