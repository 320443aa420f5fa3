"""The pages for people: what they say, and that nothing in them can do harm."""

import datetime as dt
from pathlib import Path

import httpx
import probe_service
import pytest

from marketday.calls import Call
from marketday.service.job_page import REFRESH_SECONDS
from marketday.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
DAY = dt.date(2026, 3, 2)
AGAIN = f'<meta http-equiv="refresh" content="{REFRESH_SECONDS}">'


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    settings = Settings(home=tmp_path_factory.mktemp("pages"), retailers=ROOT / "include" / "retailers")
    with probe_service.running(settings) as service:
        yield service


def ended(service, step, **fields):
    return service.client.status(
        service.client.submit(Call(step=step, retailer="simulated", day=DAY, **fields)).job_id, 60
    )


def page(service, address):
    answer = httpx.get(service.url + address, trust_env=False, timeout=30)
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none';")
    return answer.text


def link(links, rel):
    return next(link for link in links if link["rel"] == rel)


def test_a_failed_jobs_page_says_what_went_wrong_and_what_to_do(service):
    job = ended(service, "fail")
    text = page(service, f"/jobs/{job.job_id}?f=html")
    for shown in ("cannot do it", "give it more", "over there", "StepError", job.key, f"/jobs/{job.job_id}/logs"):
        assert shown in text
    assert AGAIN not in text


def test_a_successful_jobs_page_shows_its_figures_and_its_report(service):
    job = ended(service, "probe", params={"n": 17})
    text = page(service, f"/jobs/{job.job_id}?f=html")
    for shown in ("events: 1", "share: 0.25", '<a href="page.html">Page</a>', "&quot;n&quot;: 17", "2 GiB"):
        assert shown in text
    assert f"{job.peak_memory / 2**20:,.0f} MiB" in text
    assert f"{job.started:%Y-%m-%d %H:%M:%S} UTC" in text


def test_the_page_of_a_running_job_comes_again_by_itself(service, tmp_path):
    job, _ = probe_service.start_hanging(service.client, tmp_path / "pids")
    text = page(service, f"/jobs/{job.job_id}?f=html")
    assert AGAIN in text
    assert '<strong class="running">' in text
    service.client.cancel(job.job_id)


def test_no_text_of_a_job_becomes_markup_or_a_script(service):
    evil = "<script>alert('x')</script>"
    job = ended(service, "fail", block=evil, params={"message": evil, "evidence": f"javascript:{evil}"})
    assert job.error["message"] == evil
    for address in (f"/jobs/{job.job_id}?f=html", "/jobs?f=html"):
        text = page(service, address)
        assert "&lt;script&gt;" in text
        assert "<script" not in text
        assert 'href="javascript:' not in text


def test_pages_are_linked_from_the_json_and_to_each_other(service):
    job = ended(service, "probe")
    with httpx.Client(base_url=service.url, trust_env=False) as http:
        listed = http.get("/jobs").json()
        of_job = link(http.get(f"/jobs/{job.job_id}").json()["links"], "alternate")
        of_list = link(listed["links"], "alternate")
        assert http.get(link(of_job and listed["jobs"][0]["links"], "self")["href"]).json()["jobID"] == job.job_id
    assert of_job["type"] == of_list["type"] == "text/html"
    assert f'href="{of_list["href"]}"' in page(service, of_job["href"])
    assert f'href="{of_job["href"]}"' in page(service, of_list["href"])
