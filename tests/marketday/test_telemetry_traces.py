"""Traces, sent by real processes to a receiver on loopback: one from Airflow's task down to the Dask tasks."""

import datetime as dt
import os
import subprocess
import sys
import textwrap
import uuid
from pathlib import Path

import httpx
import probe_service
import pytest
from distributed import LocalCluster
from telemetry_receivers import receiver, spans

from marketday import __version__
from marketday.calls import Call
from marketday.client import StepServiceClient
from marketday.settings import Settings
from marketday.telemetry import tracing

ROOT = Path(__file__).resolve().parents[2]
DAY = dt.date(2026, 3, 2)
STEPS = {"MARKETDAY_STEP_MODULES": "probe_steps telemetry_steps"}
CALLER = "b7ad6b7169203331"


@pytest.fixture(scope="module")
def collector():
    """A receiver of spans: the environment that sends them there, soon, and what has come in."""
    with receiver() as (address, received):
        yield {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{address}", "OTEL_BSP_SCHEDULE_DELAY": "100"}, received


@pytest.fixture(scope="module")
def tracing_on(collector):
    return collector[0]


@pytest.fixture(scope="module")
def collected(collector):
    return collector[1]


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    return Settings(home=tmp_path_factory.mktemp("traces"), retailers=ROOT / "include" / "retailers")


@pytest.fixture(scope="module")
def service(tracing_on, settings):
    environment = {**STEPS, **tracing_on, "OTHER_PASSWORD": "very-hidden"}
    with probe_service.running(settings, environment=environment) as service:
        yield service


def call(step="scatter", **params):
    return Call(step=step, retailer="simulated", day=DAY, params=params)


def carried_out(service, wanted):
    """Have the service carry out a call that comes from a traced caller; return the job and the trace's id."""
    trace = uuid.uuid4().hex
    with StepServiceClient(service.url, headers=lambda: {"traceparent": f"00-{trace}-{CALLER}-01"}) as client:
        job = client.submit(wanted)
        while not job.final:
            job = client.status(job.job_id, wait=30)
    return job, trace


def named(collected, trace, *names):
    """Wait until the trace has a span of each name, and return its spans by name."""
    found = []

    def enough():
        found[:] = [span for span in spans(collected) if span.trace == trace]
        return set(names) <= {span.name for span in found}

    collected.wait_for(enough)
    return [[span for span in found if span.name == name] for name in names]


def test_one_trace_leads_from_the_caller_through_request_and_job_to_the_steps_dask_tasks(service, collected):
    job, trace = carried_out(service, call())
    assert job.status == "successful"
    names = ("POST /processes/{step}/execution", "job scatter", "step scatter", "dask part")
    (request,), (whole,), (step,), parts = named(collected, trace, *names)
    assert [request.parent, whole.parent, step.parent] == [CALLER, request.id, whole.id]
    assert [part.parent for part in parts] == [step.id] * 3
    assert request.attributes["http.response.status_code"] == 201
    about = {"retailer": "simulated", "day": "2026-03-02", "step": "scatter", "job_id": job.job_id, "run_id": ""}
    assert whole.attributes == step.attributes == {f"marketday.{name}": value for name, value in about.items()}
    assert step.resource["service.name"] == "marketday"
    assert step.resource["service.version"] == __version__
    assert not any(span.failed for span in (request, whole, step, *parts))
    assert f"trace_id={trace}" in service.client.log(job.job_id)


def test_probes_and_scrapes_leave_no_trace(service, collected):
    for path in ("/healthz", "/readyz", "/metrics"):
        assert httpx.get(f"{service.url}{path}", trust_env=False).is_success
    service.client.process("scatter")
    collected.wait_for(lambda: "GET /processes/{step}" in {span.name for span in spans(collected)})
    assert not any(
        "healthz" in span.name or "readyz" in span.name or "metrics" in span.name for span in spans(collected)
    )


def test_a_failure_is_told_in_every_span_that_it_ends_and_without_secrets(service, collected):
    job, trace = carried_out(service, call("indiscreet", variables=["OTHER_PASSWORD"]))
    assert job.status == "failed"
    (whole,), (step,) = named(collected, trace, "job indiscreet", "step indiscreet")
    assert [whole.failed, step.failed] == [True, True]
    assert [whole.attributes["error.type"], step.attributes["error.type"]] == ["JobFailed", "JobFailed"]
    assert all(b"very-hidden" not in body for _, body in collected.bodies)


def test_a_failed_dask_task_is_a_failed_span(service, collected):
    job, trace = carried_out(service, call(fails=True))
    assert job.status == "failed"
    ((part, *_),) = named(collected, trace, "dask part")
    assert part.failed


def test_a_dag_runs_trace_leads_through_its_task_to_the_dask_tasks(service, tracing_on, collected, tmp_path):
    code = """
        from airflow.configuration import conf
        from airflow.sdk._shared.observability.traces import configure_otel, new_dagrun_trace_carrier
        from opentelemetry import trace
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
        from marketday.calls import Call
        from operators.hook import StepServiceHook

        configure_otel(conf)
        run = new_dagrun_trace_carrier()
        parent = TraceContextTextMapPropagator().extract(run)
        with trace.get_tracer("airflow").start_as_current_span("worker.scatter", context=parent):
            with StepServiceHook().get_conn() as client:
                client.submit(Call(step="scatter", retailer="simulated", day="2026-03-03"))
        trace.get_tracer_provider().force_flush()
        print(run["traceparent"])
    """
    environment = {
        **tracing_on,
        "AIRFLOW__TRACES__OTEL_ON": "True",
        "AIRFLOW_HOME": str(tmp_path / "airflow"),
        "AIRFLOW_CONN_MARKETDAY_SERVICE": service.url,
        "OTEL_TRACES_EXPORTER": "otlp_proto_http",
    }
    _, run, span, _ = printed(code, **environment).splitlines()[-1].split("-")
    names = ("worker.scatter", "POST /processes/{step}/execution", "dask part")
    (task,), (request,), parts = named(collected, run, *names)
    assert (task.parent, request.parent) == (span, task.id)
    assert parts


def test_tasks_on_a_clusters_workers_belong_to_the_trace_and_their_lines_to_the_job(
    tracing_on, collected, settings, capfd, monkeypatch
):
    for name, value in tracing_on.items():
        monkeypatch.setenv(name, value)  # the workers send their spans themselves
    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster:
        environment = {**STEPS, **tracing_on, "MARKETDAY_DASK_SCHEDULER": cluster.scheduler_address}
        elsewhere = settings.model_copy(update={"home": settings.home / "clustered"})
        with probe_service.running(elsewhere, environment=environment) as service:
            job, trace = carried_out(service, call())
            assert job.status == "successful"
            (step,), parts = named(collected, trace, "step scatter", "dask part")
    assert {part.parent for part in parts} == {step.id}
    lines = [line for line in capfd.readouterr().out.splitlines() if 'msg="part' in line]
    assert len(lines) == 3
    about = f"run_id= retailer=simulated day=2026-03-02 step=scatter job_id={job.job_id}"
    assert all(about in line and f"trace_id={trace}" in line for line in lines)


def test_tasks_on_the_jobs_own_workers_belong_to_the_trace_and_all_that_these_log_to_the_jobs_log(
    tracing_on, collected, settings
):
    environment = {**STEPS, **tracing_on, "MARKETDAY_DASK_SCHEDULER": "workers"}
    elsewhere = settings.model_copy(update={"home": settings.home / "workers"})
    with probe_service.running(elsewhere, environment=environment) as service:
        job, trace = carried_out(service, call(fails=True))
        assert job.status == "failed"
        (step,), parts = named(collected, trace, "step scatter", "dask part")
        lines = service.client.log(job.job_id).splitlines()
    assert {part.parent for part in parts} == {step.id}
    assert any('msg="part' in line for line in lines)
    assert any("logger=distributed.worker" in line and "Compute Failed" in line for line in lines)
    about = f"run_id= retailer=simulated day=2026-03-02 step=scatter job_id={job.job_id}"
    assert [line for line in lines if about not in line] == []


def test_a_job_whose_collector_is_away_succeeds(settings):
    away = {**STEPS, "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}
    elsewhere = settings.model_copy(update={"home": settings.home / "away"})
    with probe_service.running(elsewhere, environment=away) as service:
        assert carried_out(service, call())[0].status == "successful"


def test_a_process_that_is_not_traced_sends_no_header_though_it_has_an_identity():
    """Airflow gives each task one, also where its tracing is off: it would say that nothing below is to be traced."""
    code = """
        import opentelemetry.sdk.trace
        from opentelemetry import trace
        from opentelemetry.trace import NonRecordingSpan, SpanContext
        from marketday.telemetry import tracing

        with trace.use_span(NonRecordingSpan(SpanContext(1, 2, is_remote=False))):
            print(tracing.headers())
    """
    assert printed(code) == "{}\n"


def test_where_nobody_asks_for_traces_nothing_of_them_is_imported():
    code = """
        import sys
        from marketday.settings import Settings
        from marketday.telemetry import jobs, tracing

        tracing.configure(Settings())
        with tracing.span("idle") as idle, jobs.carried_out(Settings(), {"step": "idle"}):
            assert (idle.traceparent, tracing.headers()) == ("", {})
        jobs.preload()
        jobs.flush()
        print([name for name in sys.modules if name.startswith(("opentelemetry", "sentry_sdk"))])
    """
    assert printed(code) == "[]\n"


def test_telemetry_that_is_configured_wrongly_is_logged_and_fails_no_job():
    code = """
        from marketday import settings
        from marketday.telemetry import jobs

        with jobs.carried_out(settings.load(), {"step": "idle"}, "no traceparent"):
            print("carried out")
        jobs.flush()
    """
    wrong = {
        "MARKETDAY_SENTRY_DSN": "no address",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9",
        "OTEL_EXPORTER_OTLP_HEADERS": "no header",
        "OTEL_BSP_MAX_QUEUE_SIZE": "-1",
    }
    lines = printed(code, **wrong).splitlines()
    assert "carried out" in lines
    wrong_parts = {part for line in lines for part in ("Sentry", "traces") if f'doing="setting up {part}"' in line}
    assert wrong_parts == {"Sentry", "traces"}


@pytest.mark.parametrize(
    ("variables", "wanted"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://collector:4318/v1/traces"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318", "OTEL_SDK_DISABLED": "true"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318", "OTEL_TRACES_EXPORTER": "none"}, False),
    ],
)
def test_opentelemetrys_own_variables_say_whether_there_are_traces(variables, wanted, monkeypatch):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert tracing.wanted() == wanted


def printed(code, **environment):
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout
