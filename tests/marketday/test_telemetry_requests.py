"""Requests to the service are measured by route, method and status, with labels that no caller can multiply."""

import asyncio

import httpx
import pytest
from fastapi import APIRouter, FastAPI, HTTPException
from fastapi.staticfiles import StaticFiles
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from marketday.telemetry.metrics import Metrics, Recorded
from marketday.telemetry.requests import WatchedRequests


@pytest.fixture
def metrics():
    return Metrics(stage="development", steps=[], recorded=lambda: Recorded((), ()))


@pytest.fixture
def app(metrics, tmp_path):
    app = FastAPI()
    router = APIRouter(prefix="/retailers/{retailer}")

    @router.get("/days/{day}")
    async def day(retailer: str, day: str) -> str:
        if day == "none":
            raise HTTPException(404)
        if day == "bug":
            raise ValueError("a bug")
        return f"{retailer} {day}"

    app.include_router(router)
    (tmp_path / "page.html").write_text("page")
    app.mount("/reports", StaticFiles(directory=tmp_path))
    app.add_middleware(WatchedRequests, metrics=metrics)
    return app


def ask(app, method, path):
    async def send():
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return await client.request(method, path)

    return asyncio.run(send())


def counted(metrics):
    """Requests by (route, method, status)."""
    return {
        tuple(sample.labels[name] for name in ("route", "method", "status")): sample.value
        for family in text_string_to_metric_families(generate_latest(metrics.registry).decode())
        for sample in family.samples
        if sample.name == "marketday_http_request_duration_seconds_count"
    }


@pytest.mark.parametrize(
    ("method", "path", "label"),
    [
        ("GET", "/retailers/corner/days/2026-03-02", ("/retailers/{retailer}/days/{day}", "GET", "200")),
        ("GET", "/retailers/corner/days/none", ("/retailers/{retailer}/days/{day}", "GET", "404")),
        ("GET", "/retailers/corner/days/bug", ("/retailers/{retailer}/days/{day}", "GET", "500")),
        ("POST", "/retailers/corner/days/2026-03-02", ("/retailers/{retailer}/days/{day}", "POST", "405")),
        ("GET", "/reports/page.html", ("/reports", "GET", "200")),
        ("GET", "/reports/other.html", ("/reports", "GET", "404")),
        ("GET", "/whatever/somebody/tries", ("other", "GET", "404")),
        ("SPY", "/retailers/corner/days/2026-03-02", ("/retailers/{retailer}/days/{day}", "OTHER", "405")),
    ],
)
def test_a_request_is_counted_by_the_template_of_its_route_its_method_and_its_status(app, metrics, method, path, label):
    ask(app, method, path)
    assert counted(metrics) == {label: 1}


def test_the_requests_of_a_route_are_one_series_whatever_they_ask_for(app, metrics):
    for day in range(3):
        ask(app, "GET", f"/retailers/corner{day}/days/{day}")
    assert counted(metrics) == {("/retailers/{retailer}/days/{day}", "GET", "200"): 3}


def test_an_answer_passes_unchanged_and_a_bug_still_reaches_the_server(app):
    assert ask(app, "GET", "/retailers/corner/days/1").json() == "corner 1"
    assert ask(app, "GET", "/retailers/corner/days/bug").status_code == 500
