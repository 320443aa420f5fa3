"""One step service as a process: how its jobs end, how it drains, what a restart finds, and that nothing is left."""

import datetime as dt
import os
import signal
import sqlite3
import threading

import httpx
import probe_service
import psutil
import pytest
from probe_service import PATIENCE, all_gone, start_hanging, until

from marketday.calls import Call
from marketday.errors import JobLost, OutOfMemory, ServiceUnavailable, SettingsError, TimedOut, TooLarge
from marketday.service import migrations, slots
from marketday.service.server import serve
from marketday.service.store import Ended, JobStore
from marketday.telemetry.metrics import Metrics

DAY = dt.date(2026, 3, 2)


def call(step="probe", **params):
    return Call(step=step, retailer="simulated", day=DAY, params=params)


def ended(service, job):
    return service.client.status(job.job_id, wait=60)


def is_ready(service):
    try:
        return httpx.get(f"{service.url}/readyz", trust_env=False, timeout=PATIENCE).is_success
    except httpx.TransportError:
        return False


def recorded(settings, job):
    store = JobStore(settings.jobs_database)
    try:
        return store.get(job.job_id)
    finally:
        store.close()


def test_a_step_beyond_its_time_limit_is_ended_and_the_error_names_the_limit(settings, tmp_path):
    with probe_service.running(settings, seconds=1) as service:
        job, pids = start_hanging(service.client, tmp_path / "pids")
        assert ended(service, job).status == "failed"
        with pytest.raises(TimedOut, match=r"time limit of 1 s \(resource class S\)"):
            service.client.result(job.job_id)
        assert all_gone(pids)


def test_a_killed_job_is_lost_and_leaves_its_slot(settings):
    with probe_service.running(settings, slots=1) as service:
        job = service.client.submit(call("die"))
        assert ended(service, job).status == "failed"
        with pytest.raises(JobLost, match="SIGKILL"):
            service.client.result(job.job_id)
        assert ended(service, service.client.submit(call())).status == "successful"


def test_cancelling_also_ends_a_daemon_that_left_the_session_and_lost_its_parent(settings, tmp_path):
    with probe_service.running(settings) as service:
        job, pids = start_hanging(service.client, tmp_path / "pids", "daemonize")
        assert os.getsid(pids[1]) not in (os.getsid(pids[0]), os.getsid(service.process.pid))
        assert service.client.cancel(job.job_id).status == "dismissed"
        assert all_gone(pids, 5)


def test_a_step_that_outgrows_its_class_runs_in_the_next_larger_one_and_then_is_too_large(settings):
    with probe_service.running(settings, memory={"S": 0.1, "M": 0.2, "L": 0.5}) as service:
        fits, never = call("grow", mib=300), call("grow", mib=700)
        first = ended(service, service.client.submit(fits))
        assert (first.size, first.status) == ("M", "failed")
        assert 0.2 < first.peak_memory / 2**30 < 0.5
        with pytest.raises(OutOfMemory, match=r"in class M.* next attempt runs in class L"):
            service.client.result(first.job_id)
        second = ended(service, service.client.submit(fits))
        assert (second.size, second.status, second.attempt) == ("L", "successful", 2)
        assert second.message == "Runs in class L, because attempt 1 ran out of memory in class M."
        assert service.client.submit(fits).job_id == second.job_id, "the result is recorded"

        assert ended(service, service.client.submit(never)).error["type"] == "OutOfMemory"
        last = ended(service, service.client.submit(never))
        assert last.size == "L"
        with pytest.raises(TooLarge, match="in class L"):
            service.client.result(last.job_id)


def test_sigterm_lets_a_running_job_end_while_the_service_is_not_ready_and_refuses_new_ones(settings, tmp_path):
    go = tmp_path / "go"
    with probe_service.running(settings, environment={"MARKETDAY_SERVICE_GRACE": "60"}) as service:
        job = service.client.submit(call("await", file=str(go)))
        service.process.send_signal(signal.SIGTERM)
        assert until(lambda: not is_ready(service), PATIENCE)
        with pytest.raises(ServiceUnavailable, match="stopping") as refused:
            service.client.submit(call())
        assert refused.value.retry_after
        assert service.client.submit(call("await", file=str(go))).job_id == job.job_id, "what runs can be joined"
        assert service.client.status(job.job_id).status == "running"
        waiting = threading.Timer(0.3, go.touch)
        waiting.start()
        assert ended(service, job).status == "successful", service.output.read_text()
        assert service.process.wait(PATIENCE) == 0
    assert recorded(settings, job).status == "successful"


def test_a_job_that_outlives_the_grace_period_is_lost_and_a_second_signal_ends_it_at_once(settings, tmp_path):
    for grace, signals in (("0.5", 1), ("600", 2)):
        with probe_service.running(settings, environment={"MARKETDAY_SERVICE_GRACE": grace}) as service:
            job, pids = start_hanging(service.client, tmp_path / "pids")
            for _ in range(signals):
                service.process.send_signal(signal.SIGTERM)
                assert until(lambda: not is_ready(service), PATIENCE)
            assert service.process.wait(PATIENCE) == 0
            assert all_gone(pids)
        lost = recorded(settings, job)
        assert lost.error["type"] == "JobLost"
        assert "the step service was stopped" in lost.message


def test_sigterm_to_all_processes_of_the_service_leaves_its_jobs_their_grace_period(settings, tmp_path):
    go = tmp_path / "go"
    with probe_service.running(settings, environment={"MARKETDAY_SERVICE_GRACE": "60"}) as service:
        job = service.client.submit(call("await", file=str(go)))
        os.killpg(service.process.pid, signal.SIGTERM)
        assert until(lambda: not is_ready(service), PATIENCE)
        go.touch()
        assert ended(service, job).status == "successful", service.output.read_text()
        assert service.process.wait(PATIENCE) == 0


def test_sigterm_ends_jobs_and_helper_processes(settings, tmp_path):
    with probe_service.running(settings) as service:
        job, pids = start_hanging(service.client, tmp_path / "pids")
        helpers = [child.pid for child in psutil.Process(service.process.pid).children(recursive=True)]
        assert {pids[0], pids[1]} < set(helpers), "the fork server's children are among the service's"
        service.stop()
        assert all_gone([*pids, *helpers])
    assert recorded(settings, job).error["type"] == "JobLost"


def test_jobs_of_a_killed_service_end_with_it_and_the_next_one_in_its_home_counts_them_as_lost_at_once(
    settings, tmp_path
):
    patient = settings.model_copy(update={"lease": 600.0})
    with probe_service.running(patient) as service:
        job, pids = start_hanging(service.client, tmp_path / "pids")
        pids += start_hanging(service.client, tmp_path / "daemons", "daemonize")[1]
        service.process.kill()
        service.process.wait(5)
        assert all_gone(pids)
    assert recorded(settings, job).status == "running"
    with probe_service.running(patient) as service:
        with pytest.raises(JobLost, match="gone while it ran") as lost:
            service.client.result(job.job_id)
        assert job.service in str(lost.value)
        again, _ = start_hanging(service.client, tmp_path / "pids")
        assert (again.status, again.attempt) == ("running", 2)
        assert again.service != job.service
        with pytest.raises(SettingsError, match="Another step service runs on"):
            serve(settings, port=0)


def test_a_service_that_cannot_renew_its_leases_ends_its_jobs_by_then_and_says_so_once_it_can(settings, tmp_path):
    brief = settings.model_copy(update={"lease": 4.0})
    with probe_service.running(brief) as service:
        job, pids = start_hanging(service.client, tmp_path / "pids")
        with sqlite3.connect(brief.home / "jobs.db") as held:
            held.execute("BEGIN EXCLUSIVE")
            assert all_gone(pids, PATIENCE)
            assert recorded(settings, job).status == "running"
        assert until(lambda: recorded(settings, job).final, PATIENCE)
        with pytest.raises(JobLost, match="lease of 4 s could not be renewed"):
            service.client.result(job.job_id)
        assert ended(service, service.client.submit(call())).status == "successful"


def test_a_job_of_ours_that_holds_no_slot_is_replaced(settings, tmp_path):
    with probe_service.running(settings) as service:
        own = service.client.submit(call()).service
        store = JobStore(settings.jobs_database)
        left, new = store.create(call(n=9), definition="d", size="S", service=own, lease=600)
        assert new
        again = service.client.submit(call(n=9))
        assert again.attempt == 2
        assert "could not be recorded" in store.get(left.job_id).message
        over, _ = store.create(call(n=10), definition="d", size="S", service=own, lease=-1)
        assert until(lambda: store.get(over.job_id).final, PATIENCE)
        assert "could not be recorded" in store.get(over.job_id).message
        store.close()


def test_a_job_that_somebody_else_has_ended_in_the_store_is_gone_with_the_next_heartbeat(settings, tmp_path):
    with probe_service.running(settings) as service:
        job, pids = start_hanging(service.client, tmp_path / "pids")
        store = JobStore(settings.jobs_database)
        assert store.end(job.job_id, Ended("dismissed", "by hand"))
        store.close()
        assert all_gone(pids, PATIENCE)
        assert service.client.status(job.job_id).message == "by hand"


def test_a_job_outlives_neither_its_fork_server_nor_does_the_service_need_a_restart_for_a_new_one(settings, tmp_path):
    with probe_service.running(settings) as service:
        job, pids = start_hanging(service.client, tmp_path / "pids")
        psutil.Process(pids[0]).parent().kill()
        lost = ended(service, job)
        assert lost.error["type"] == "JobLost"
        assert "forked from died" in lost.message
        assert all_gone(pids)
        assert ended(service, service.client.submit(call())).status == "successful"


def test_processes_that_cannot_be_started_make_the_slots_unhealthy_and_their_jobs_are_lost(settings, monkeypatch):
    def refuse(*_, **__):
        raise OSError("no more processes")

    monkeypatch.setattr(slots, "RunningJob", refuse)
    migrations.migrate(settings.jobs_database)
    store = JobStore(settings.jobs_database)
    metrics = Metrics(stage="development", steps=(), recorded=store.for_metrics)
    actor = slots.Slots(settings, store, metrics, service="here", hurry=threading.Event())
    actor.ready = True
    for attempt in (1, 2, 3):
        assert actor.healthy() is None
        with pytest.raises(ServiceUnavailable, match="no more processes"):
            actor.submit(call("verify"), force=False, run_id="")
        assert store.attempts(call("verify").key)[0].attempt == attempt
    assert "3 processes in a row could not be started: OSError no more processes" in actor.healthy()
    assert {job.error["type"] for job in store.search()} == {"JobLost"}
    store.close()


def test_polars_dask_lightgbm_numpy_expectations_and_delta_all_work_in_a_forked_job(settings):
    with probe_service.running(settings, full=True) as service:
        job = service.client.status(service.client.submit(call("heavy")).job_id, wait=60)
        assert job.status == "successful", service.client.log(job.job_id)
        assert (job.size, job.peak_memory > 0) == ("M", True)
        facts = service.client.result(job.job_id).facts
        assert facts == {
            "groups": [7, 7],
            "total": sum(range(200_000)),
            "dense": 400.0,
            "trees": 5,
            "valid": True,
            "dask_workers": 2,
        }
