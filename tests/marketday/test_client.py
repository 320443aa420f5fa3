"""The client: every failure of the service is one of our errors, and it knows which are worth another try."""

import asyncio
import datetime as dt
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import polars as pl
import probe_service
import pytest

from marketday import tables
from marketday.calls import Call
from marketday.client import StepServiceClient
from marketday.errors import DeliveryError, RetailerError, ServiceError, ServiceUnavailable, StepError
from marketday.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
DAY = dt.date(2026, 3, 2)


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    settings = Settings(home=tmp_path_factory.mktemp("client"), retailers=ROOT / "include" / "retailers")
    with probe_service.running(settings, slots=1) as service:
        yield service.client


def call(step="probe", **params):
    return Call(step=step, retailer="simulated", day=DAY, params=params)


def test_it_imports_no_heavy_library():
    heavy = "{'polars', 'pandas', 'pyarrow', 'deltalake', 'dask', 'lightgbm', 'fastapi', 'sqlalchemy', 'structlog'}"
    program = f"import sys, marketday.client; print(sorted({heavy} & set(sys.modules)))"
    assert subprocess.check_output([sys.executable, "-c", program], text=True).strip() == "[]"


def test_a_job_is_submitted_waited_for_and_its_result_and_log_are_fetched(client):
    job = client.submit(call(), run_id="manual__1")
    assert (job.process_id, job.retailer, job.day, job.key) == ("probe", "simulated", DAY, call().key)
    assert asyncio.run(client.astatus(job.job_id, wait=30)).status == "successful"
    assert client.result(job.job_id).rows == {"events": 1}
    assert "the step says hello" in client.log(job.job_id)
    assert client.submit(call()).job_id == job.job_id
    again = client.submit(call(), force=True)
    assert again.attempt == 2
    assert client.status(again.job_id, wait=30).status == "successful"


def test_a_full_service_is_unavailable_and_says_when_to_come_back(client, tmp_path):
    taken = client.submit(call("hang", pids=str(tmp_path / "pids")))
    try:
        with pytest.raises(ServiceUnavailable, match="all 1 slots") as refused:
            client.submit(call(n=1))
    finally:
        assert client.cancel(taken.job_id).final
    assert (refused.value.retry_after, refused.value.retryable) == (2.0, True)
    with pytest.raises(ServiceError, match="dismissed"):
        client.result(taken.job_id)


def test_errors_of_the_service_come_as_what_they_are(client):
    with pytest.raises(StepError, match="There is no step"):
        client.submit(call("nothing"))
    with pytest.raises(RetailerError, match="nobody"):
        client.submit(Call(step="probe", retailer="nobody", day=DAY))
    with pytest.raises(ServiceError, match="There is no job"):
        client.status("nothing")


def test_a_delivery_is_sent_table_by_table_and_its_receipt_can_be_asked_for(client, tmp_path):
    path = tmp_path / "sales.parquet"
    pl.from_arrow(tables.get("sales").delivered_schema.empty_table()).write_parquet(path)
    assert client.delivery("simulated", DAY) is None
    assert asyncio.run(client.adelivery("simulated", DAY)) is None
    assert client.deliver_table("simulated", DAY, "sales", path)["rows"] == 0
    with pytest.raises(DeliveryError, match="lacks"):
        client.complete_delivery("simulated", DAY, "history")
    receipt = client.complete_delivery("simulated", DAY, "daily")
    assert client.delivery("simulated", DAY) == receipt
    assert client.last_delivered("simulated", DAY) is None
    assert client.last_delivered("simulated", DAY + dt.timedelta(days=3)) == DAY
    assert asyncio.run(client.adelivery("simulated", DAY)) == receipt
    with pytest.raises(RetailerError, match="nobody"):
        client.delivery("nobody", DAY)


def test_nobody_listening_is_unavailable_and_says_how_to_start_it():
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    with StepServiceClient(url) as client, pytest.raises(ServiceUnavailable, match="marketday serve") as refused:
        client.status("x")
    assert refused.value.retry_after is None
    with pytest.raises(ServiceUnavailable, match="does not answer"):
        asyncio.run(StepServiceClient(url).astatus("x"))


def test_a_service_that_accepts_but_never_answers_is_unavailable_after_the_timeout():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with StepServiceClient(url, timeout=0.2) as client, pytest.raises(ServiceUnavailable, match="ReadTimeout"):
            client.status("x", wait=0.1)


@pytest.mark.parametrize(
    ("status", "kind"),
    [(502, ServiceUnavailable), (503, ServiceUnavailable), (500, ServiceUnavailable), (403, ServiceError)],
)
def test_a_proxys_answer_without_problem_details_is_still_our_error(status, kind):
    class Proxy(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_error(status)

        def log_message(self, *_):
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Proxy) as proxy:
        threading.Thread(target=proxy.handle_request).start()
        url = f"http://127.0.0.1:{proxy.server_port}"
        with StepServiceClient(url) as client, pytest.raises(ServiceError, match=str(status)) as error:
            client.status("x")
    assert type(error.value) is kind
