"""Two replicas of the step service, each with a home of its own, on one job store: SQLite, and PostgreSQL."""

import datetime as dt
import os
import signal
from contextlib import contextmanager

import probe_service
import pytest
import throwaway_postgres
from probe_service import PATIENCE, all_gone, start_hanging, until

from marketday.calls import Call
from marketday.errors import JobLost

DAY = dt.date(2026, 3, 2)
LEASE = 6.0


def call(step="probe", **params):
    return Call(step=step, retailer="simulated", day=DAY, params=params)


@pytest.fixture(params=["sqlite", "postgresql"])
def jobs_url(request, tmp_path):
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'shared.db'}"
    else:
        with throwaway_postgres.running() as url:
            yield url


@pytest.fixture
def replica(settings, jobs_url, tmp_path):
    """Return what starts a replica in a home of its name."""

    @contextmanager
    def start(name):
        own = settings.model_copy(update={"home": tmp_path / name, "jobs_url": jobs_url, "lease": LEASE})
        with probe_service.running(own, environment={"MARKETDAY_WAREHOUSE": str(tmp_path / "warehouse")}) as service:
            yield service

    return start


def test_replicas_join_each_others_jobs_see_and_cancel_them(replica, tmp_path):
    with replica("one") as one, replica("two") as two:
        job, pids = start_hanging(one.client, tmp_path / "pids")
        joined = two.client.submit(call("hang", pids=str(tmp_path / "pids")), force=True)
        assert (joined.job_id, joined.service) == (job.job_id, job.service)
        assert str(tmp_path / "one") in job.service
        assert two.client.status(job.job_id).status == "running"
        assert two.client.cancel(job.job_id).status == "dismissed"
        assert all_gone(pids, PATIENCE)
        assert one.client.status(job.job_id, wait=30).message == "Cancelled on request."
        done = one.client.status(one.client.submit(call()).job_id, wait=60)
        assert done.status == "successful", done
        assert two.client.submit(call()).job_id == done.job_id, "its result is recorded for both"


def test_a_job_whose_replica_was_killed_is_lost_as_soon_as_its_lease_is_over_and_a_retry_starts_anew(replica, tmp_path):
    with replica("one") as one, replica("two") as two:
        job, pids = start_hanging(one.client, tmp_path / "pids")
        one.process.kill()
        one.process.wait(PATIENCE)
        assert all_gone(pids), "no process outlives its service"
        assert until(lambda: two.client.status(job.job_id).final, LEASE + PATIENCE)
        with pytest.raises(JobLost, match="was gone while it ran") as lost:
            two.client.result(job.job_id)
        assert job.service in str(lost.value)
        again, _ = start_hanging(two.client, tmp_path / "pids")
        assert (again.attempt, again.status) == (2, "running")
        assert str(tmp_path / "two") in again.service


def test_a_restart_in_one_home_leaves_the_jobs_of_another_alone(replica, tmp_path):
    with replica("two") as two:
        with replica("one") as one:
            job, _ = start_hanging(one.client, tmp_path / "pids")
            held, _ = start_hanging(two.client, tmp_path / "held")
            one.process.kill()
            one.process.wait(PATIENCE)
        with replica("one") as one:
            assert one.client.status(job.job_id).error["type"] == "JobLost"
            assert one.client.status(held.job_id).status == "running"


def test_a_service_that_was_suspended_for_longer_than_its_leases_finds_its_jobs_taken_and_ends_them(replica, tmp_path):
    with replica("one") as one, replica("two") as two:
        job, pids = start_hanging(one.client, tmp_path / "pids")
        os.kill(one.process.pid, signal.SIGSTOP)
        try:
            assert until(lambda: two.client.status(job.job_id).final, LEASE + PATIENCE)
        finally:
            os.kill(one.process.pid, signal.SIGCONT)
        assert all_gone(pids, PATIENCE)
        assert one.client.status(job.job_id).error["type"] == "JobLost"
