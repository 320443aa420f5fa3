"""A service that is killed in mid-upload or mid-complete: every receipt that it gave is true, nothing is half there.

Killed is the service alone, or with all of its children, as when a machine dies.
"""

import contextlib
import datetime as dt
import io
import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import polars as pl
import probe_service
import pytest
from bucket import serving
from mornings import FIRST, row

from marketday import deliveries
from marketday.deliveries.integrity import check
from marketday.settings import Settings
from marketday.tables import SALES

ROOT = Path(__file__).resolve().parents[2]
RETAILER = "simulated"
SAMPLE, ALL, ALL_ON_S3 = 1, 25, 5
PIECES, PAUSE = 20, 0.01
"""A body comes in pieces, so that there is a middle of it."""


@pytest.fixture(scope="module")
def store() -> Iterator[dict[str, str]]:
    with serving() as environment:
        yield environment


def sales(number: int) -> bytes:
    content = io.BytesIO()
    sold = [row(SALES, location_id="s1", product_id=f"p{i}", day=FIRST, units=float(number + i)) for i in range(2)]
    pl.concat(sold).write_parquet(content)
    return content.getvalue()


def deliver(url: str, number: int) -> dict:
    """Send a day's sales in pieces, complete the delivery, and return the receipt."""
    day, content = FIRST + dt.timedelta(days=number), sales(number)
    size = len(content) // PIECES + 1

    def pieces() -> Iterator[bytes]:
        for start in range(0, len(content), size):
            yield content[start : start + size]
            time.sleep(PAUSE)

    with httpx.Client(base_url=f"{url}/retailers/{RETAILER}/deliveries", trust_env=False, timeout=60) as client:
        kind = {"Content-Type": "application/vnd.apache.parquet"}
        client.put(f"/{day}/sales", content=pieces(), headers=kind).raise_for_status()
        return client.post(f"/{day}/complete", params={"kind": "daily"}).raise_for_status().json()


def promised(receipt: dict) -> dict:
    """Return what of a receipt may never change; what it says of checks may come later."""
    return {name: receipt[name] for name in ("id", "day", "kind", "sequence", "tables", "accepted_at")}


def kill_services(settings: Settings, kills: int, seed: int, environment: dict[str, str]) -> None:
    """Kill so many services while a delivery comes in; look at what they leave, and send it again to the next."""
    draw, receipts, number, within = random.Random(seed), dict[int, dict](), 0, 0.0  # noqa: S311  draws moments
    hit = 0
    while True:
        with probe_service.running(settings, environment=environment) as service:
            for of, receipt in receipts.items():
                day = FIRST + dt.timedelta(days=of)
                found = httpx.get(f"{service.url}/retailers/{RETAILER}/deliveries/{day}", trust_env=False).json()
                assert promised(found) == promised(receipt)
            start = time.monotonic()
            again = promised(deliver(service.url, number))
            within = max(within, time.monotonic() - start)
            assert receipts.setdefault(number, again) == again
            if hit == kills:
                break
            number += 1
            hit += killed_while(service, number, draw.uniform(0.0, within), draw.random() < 0.5, receipts)
        checked = check(settings.deliveries_url, RETAILER, deep=True)
        assert [finding for finding in checked.findings if finding.kind != "leftover"] == []
    for of in receipts:
        last = deliveries.latest(settings.deliveries_url, RETAILER, FIRST + dt.timedelta(days=of))
        assert last is not None
        assert deliveries.scan(settings.deliveries_url, last, "sales").collect()["units"].to_list() == [of, of + 1.0]


def killed_while(
    service: probe_service.Service, number: int, after: float, children: bool, receipts: dict[int, dict]
) -> bool:
    """Kill the service so long after a delivery began; return whether that was before its receipt came."""

    def sender() -> None:
        with contextlib.suppress(httpx.HTTPError):  # What was killed gives no receipt.
            receipts[number] = promised(deliver(service.url, number))

    sending = threading.Thread(target=sender)
    sending.start()
    time.sleep(after)
    before = number not in receipts
    if children:
        os.killpg(service.process.pid, signal.SIGKILL)
    else:
        service.process.kill()
    service.process.wait()
    sending.join()
    return before and number not in receipts


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    return Settings(home=tmp_path / "var", retailers=ROOT / "include" / "retailers")


@pytest.mark.slow
def test_services_that_are_killed_keep_what_they_promised_on_a_folder(settings):
    kill_services(settings, ALL, 4, {})


@pytest.mark.slow
def test_services_that_are_killed_keep_what_they_promised_on_an_object_store(settings, store, monkeypatch):
    for variable, value in store.items():
        monkeypatch.setenv(variable, value)
    url = "s3://bucket/deliveries"
    kill_services(settings.model_copy(update={"deliveries": url}), ALL_ON_S3, 5, {"MARKETDAY_DELIVERIES": url})


def test_a_service_that_is_killed_keeps_what_it_promised(settings):
    kill_services(settings, SAMPLE, 6, {})
