"""A job's log over HTTP: its end, what is added while it runs, and where it lies."""

import datetime as dt
from pathlib import Path

import httpx
import probe_service
import pytest

from marketday.calls import Call
from marketday.service import job_log
from marketday.settings import Settings

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    settings = Settings(home=tmp_path_factory.mktemp("logs"), retailers=ROOT / "include" / "retailers")
    with probe_service.running(settings) as service:
        yield service


@pytest.fixture
def http(service):
    with httpx.Client(base_url=service.url, trust_env=False, timeout=60) as client:
        yield client


def say(service, file, size=0):
    call = Call(step="say", retailer="simulated", day=dt.date(2026, 3, 2), params={"file": str(file), "bytes": size})
    return service.client.submit(call).job_id


def test_a_log_that_is_followed_comes_as_it_is_written_until_the_job_ends(service, http, tmp_path):
    job_id = say(service, tmp_path / "go")
    with http.stream("GET", f"/jobs/{job_id}/logs", params={"follow": "true"}) as answer:
        assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
        lines = answer.iter_lines()
        assert any("the first line" in line for line in lines), "it comes though the job has not ended"
        assert service.client.status(job_id).status == "running"
        (tmp_path / "go").touch()
        assert "the last line" in next(lines)
        assert "msg=successful" in list(lines)[-1]


def test_a_log_that_is_not_followed_is_what_there_is(service, http, tmp_path):
    job_id = say(service, tmp_path / "go")
    with http.stream("GET", f"/jobs/{job_id}/logs", params={"follow": "true"}) as answer:
        assert any("the first line" in line for line in answer.iter_lines())
    so_far = http.get(f"/jobs/{job_id}/logs").text
    assert "the first line" in so_far
    (tmp_path / "go").touch()
    service.client.status(job_id, wait=30)
    whole = http.get(f"/jobs/{job_id}/logs").text
    assert whole.startswith(so_far)
    assert "the last line" in whole
    assert http.get(f"/jobs/{job_id}/logs", params={"follow": "true"}).text == whole, "nothing more will come"


def test_of_a_long_log_the_end_is_shown_as_plain_text(service, http, tmp_path):
    (tmp_path / "go").touch()
    job_id = say(service, tmp_path / "go", size=job_log.TAIL)
    service.client.status(job_id, wait=30)
    for follow in ("false", "true"):
        answer = http.get(f"/jobs/{job_id}/logs", params={"follow": follow})
        assert len(answer.content) == job_log.TAIL
        assert "msg=started" not in answer.text
        assert "msg=successful" in answer.text
        assert answer.headers["X-Content-Type-Options"] == "nosniff", "a browser must not take it for a page"
