"""Two services that share a job store: each answers for the other's jobs."""

import datetime as dt
from concurrent.futures import ThreadPoolExecutor

import httpx
import probe_service
import pytest
from probe_service import all_gone, start_hanging

from marketday.calls import Call
from marketday.errors import ServiceError


@pytest.fixture
def two(settings, tmp_path):
    other = settings.model_copy(update={"home": tmp_path / "other", "jobs_url": settings.jobs_database})
    with probe_service.running(settings) as one, probe_service.running(other) as two:
        yield one, two


def test_the_end_of_a_job_is_seen_on_the_other_replica_and_its_log_is_not(two, tmp_path):
    one, other = two
    call = Call(step="await", retailer="simulated", day=dt.date(2026, 3, 2), params={"file": str(tmp_path / "go")})
    job = one.client.submit(call)
    assert other.client.submit(call).job_id == job.job_id, "it joins"
    assert other.client.status(job.job_id, wait=0.6).status == "running"
    with ThreadPoolExecutor() as pool:
        waiting = [pool.submit(other.client.status, job.job_id, wait=60) for _ in range(3)]
        (tmp_path / "go").touch()
        assert [each.result().status for each in waiting] == ["successful"] * 3
    assert other.client.result(job.job_id) == one.client.result(job.job_id)
    with pytest.raises(ServiceError, match=f"lies on the replica {job.service}"):
        other.client.log(job.job_id)
    page = httpx.get(f"{other.url}/jobs/{job.job_id}", params={"f": "html"}, trust_env=False).text
    assert job.service in page


def test_a_job_is_cancelled_through_the_other_replica(two, tmp_path):
    one, other = two
    job, pids = start_hanging(one.client, tmp_path / "pids")
    assert other.client.cancel(job.job_id).status == "dismissed"
    assert all_gone(pids, seconds=30)
    assert one.client.status(job.job_id).status == "dismissed"
