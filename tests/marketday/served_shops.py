"""A service on loopback with two retailers that have tokens and the same data, and one that has neither."""

import contextlib
import datetime as dt
import io
import socket
import threading
from typing import NamedTuple

import httpx
import polars as pl
from fastapi import FastAPI

from marketday import deliveries
from marketday.calls import Call
from marketday.service import migrations
from marketday.service.app import create_app
from marketday.service.http import HttpServer
from marketday.service.slots import Slots
from marketday.service.store import JobStore
from marketday.service.tokens import TokenStore
from marketday.settings import Settings
from marketday.telemetry.metrics import Metrics

DAY = dt.date(2026, 3, 2)
NOW = dt.datetime(2026, 3, 2, 4, 0, tzinfo=dt.UTC)
MINE, THEIRS, NOBODY, OPEN_ONE = "aldermere", "brackwater", "nonesuch", "cressfield"
"""Two retailers with tokens, one that is not defined, and one that never had a token."""
SERVICE_TOKEN = "s3cret-of-the-service"
GARBAGE = "mdt_" + 43 * "x"


class Shop(NamedTuple):
    """A running service, with what is in it."""

    http: httpx.Client
    app: FastAPI
    settings: Settings
    tokens: dict[str, str]
    jobs: dict[str, str]

    def ask(self, method, path, token=None, **options):
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return self.http.request(method, path, headers=headers, **options)


@contextlib.contextmanager
def served(home, *, with_tokens=True, **given):
    """Serve the service's own application on loopback, with the same data for both retailers."""
    definitions = home / "retailers"
    definitions.mkdir(parents=True)
    for name in (MINE, THEIRS, OPEN_ONE):
        (definitions / f"{name}.yaml").write_text(f"title: {name.title()}\ntime_zone: Europe/Berlin\n")
    settings = Settings(home=home, retailers=definitions, **given)
    migrations.migrate(settings.jobs_database)
    store = JobStore(settings.jobs_database)
    metrics = Metrics(stage="development", steps=["clean"], recorded=store.for_metrics)
    slots = Slots(settings, store, metrics, service="me", hurry=threading.Event())
    app = create_app(settings, slots)
    jobs = {}
    for name in (MINE, THEIRS):
        deliver(settings, name)
        page = settings.reports_path / name / f"{DAY}" / "gate.html"
        page.parent.mkdir(parents=True)
        page.write_text(f"the gate of {name}")
        call = Call(step="clean", retailer=name, day=DAY)
        jobs[name] = store.create(call, definition="d", size="S", service="me", lease=60)[0].job_id
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = HttpServer(app, listener)
        server.start()
        try:
            url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            with httpx.Client(base_url=url, trust_env=False, timeout=30) as client:
                tokens = made_tokens(TokenStore(store.engine)) if with_tokens else {}
                yield Shop(client, app, settings, tokens, jobs)
        finally:
            server.stop()
            store.close()


def deliver(settings, name):
    day = DAY - dt.timedelta(days=1)
    rows = pl.DataFrame({"location_id": ["S01"], "product_id": ["P001"], "day": [day], "units": [2.0]})
    content = io.BytesIO()
    rows.write_parquet(content)
    deliveries.put_table(settings.deliveries_url, name, DAY, "sales", content.getvalue())
    deliveries.complete(settings.deliveries_url, name, DAY, "daily", NOW)


def made_tokens(store):
    """A valid token of each, and some of the second retailer's that are valid no more."""
    past = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    shown = {name: store.create(name, "default", now=past)[1] for name in (MINE, THEIRS)}
    revoked, shown["revoked"] = store.create(THEIRS, "stolen", now=past)
    store.revoke(THEIRS, [revoked.id], now=past)
    _, shown["expired"] = store.create(THEIRS, "old", now=past, expires=past + dt.timedelta(days=1))
    return shown
