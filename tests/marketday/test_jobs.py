"""Jobs: a state changes once, a job ends with everything that it started, and a dead service's jobs are lost."""

import datetime as dt

import probe_service
import psutil
import pytest
import sqlalchemy as sa
from probe_service import all_gone, start_hanging

from marketday.calls import Call
from marketday.errors import JobLost, SettingsError, StepError
from marketday.service.jobs import Ended, JobStore
from marketday.service.server import serve

DAY = dt.date(2026, 3, 2)


def call(step="probe", **params):
    return Call(step=step, retailer="simulated", day=DAY, params=params)


@pytest.fixture
def store(tmp_path):
    store = JobStore(f"sqlite:///{tmp_path / 'jobs.db'}")
    yield store
    store.close()


def test_of_two_who_end_a_job_the_first_wins(store):
    job = store.create(call(), "", "d")
    assert store.begin(job.job_id)
    assert store.end(job.job_id, Ended("dismissed", "first"))
    assert not store.end(job.job_id, Ended("successful", result={}))
    assert not store.begin(job.job_id)
    ended = store.get(job.job_id)
    assert (ended.status, ended.message) == ("dismissed", "first")
    assert store.result(job.job_id) is None


def test_the_database_refuses_a_second_unfinished_job_of_the_same_key(store):
    first = store.create(call(), "", "d")
    with pytest.raises(sa.exc.IntegrityError):
        store.create(call(), "", "d")
    store.end(first.job_id, Ended("failed"))
    assert store.create(call(), "", "d").attempt == 2


def test_jobs_are_found_by_key_retailer_and_state_latest_first(store):
    one, two = store.create(call(n=1), "", "d"), store.create(call(n=2), "", "d")
    store.end(one.job_id, Ended("successful", result={"facts": {"n": 1}}))
    assert store.recorded(call(n=1).key, "d").job_id == one.job_id
    assert store.recorded(call(n=1).key, "another definition") is None
    assert store.recorded(call(n=2).key, "d") is None
    assert store.unfinished(call(n=2).key).job_id == two.job_id
    assert [job.job_id for job in store.search(retailer="simulated")] == [two.job_id, one.job_id]
    assert [job.job_id for job in store.search(state="successful")] == [one.job_id]
    assert store.search(retailer="m5") == []
    assert store.result(one.job_id).facts == {"n": 1}


def test_a_step_beyond_its_time_limit_is_ended_and_a_killed_one_is_lost(settings, tmp_path):
    with probe_service.running(settings, seconds=1) as service:
        job, pids = start_hanging(service.client, tmp_path / "pids")
        assert service.client.status(job.job_id, wait=10).status == "failed"
        with pytest.raises(StepError, match="time limit of 1 s"):
            service.client.result(job.job_id)
        assert all_gone(pids)
        killed = service.client.submit(call("die"))
        assert service.client.status(killed.job_id, wait=10).status == "failed"
        with pytest.raises(JobLost, match="out of memory"):
            service.client.result(killed.job_id)


def test_sigterm_ends_jobs_and_helper_processes_within_five_seconds(settings, tmp_path):
    with probe_service.running(settings) as service:
        job, pids = start_hanging(service.client, tmp_path / "pids")
        helpers = [child.pid for child in psutil.Process(service.process.pid).children(recursive=True)]
        assert {pids[0], pids[1]} < set(helpers), "the fork server's children are among the service's"
        assert service.stop() < 5
        assert all_gone([*pids, *helpers])
    ended = JobStore(settings.jobs_database).get(job.job_id)
    assert (ended.status, ended.error["type"]) == ("failed", "JobLost")


def test_jobs_of_a_killed_service_end_with_it_and_the_next_one_counts_them_as_lost(settings, tmp_path):
    with probe_service.running(settings) as service:
        job, pids = start_hanging(service.client, tmp_path / "pids")
        service.process.kill()
        service.process.wait(5)
        assert all_gone(pids)
    assert JobStore(settings.jobs_database).get(job.job_id).status == "running"
    with probe_service.running(settings) as service:
        with pytest.raises(JobLost, match="gone while it ran"):
            service.client.result(job.job_id)
        again, _ = start_hanging(service.client, tmp_path / "pids")
        assert (again.status, again.attempt) == ("running", 2)
        with pytest.raises(SettingsError, match="Another step service runs on"):
            serve(settings, port=0)


def test_polars_dask_lightgbm_numpy_expectations_and_delta_all_work_in_a_forked_job(settings):
    with probe_service.running(settings, full=True) as service:
        job = service.client.status(service.client.submit(call("heavy")).job_id, wait=60)
        assert job.status == "successful", service.client.log(job.job_id)
        facts = service.client.result(job.job_id).facts
        assert facts == {
            "groups": [7, 7],
            "total": sum(range(200_000)),
            "dense": 400.0,
            "trees": 5,
            "valid": True,
            "dask_workers": 2,
        }
