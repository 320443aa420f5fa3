"""The client: every failure of the service is one of our errors, and it knows which are worth another try."""

import asyncio
import contextlib
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


def in_a_loop(client, ask):
    """Return what a client of an event loop's own gets from the same service."""

    async def answer():
        own = StepServiceClient(client.url)
        try:
            return await ask(own)
        finally:
            await own.aclose()

    return asyncio.run(answer())


def test_it_imports_no_heavy_library():
    heavy = "{'polars', 'pandas', 'pyarrow', 'deltalake', 'dask', 'lightgbm', 'fastapi', 'sqlalchemy', 'structlog'}"
    program = f"import sys, marketday.client; print(sorted({heavy} & set(sys.modules)))"
    assert subprocess.check_output([sys.executable, "-c", program], text=True).strip() == "[]"


def test_a_job_is_submitted_waited_for_and_its_result_and_log_are_fetched(client):
    job = client.submit(call(), run_id="manual__1")
    assert (job.process_id, job.retailer, job.day, job.key) == ("probe", "simulated", DAY, call().key)
    assert (job.size, job.peak_memory) == ("S", None)
    assert job.service
    ended = in_a_loop(client, lambda own: own.astatus(job.job_id, wait=30))
    assert ended.status == "successful"
    assert ended.peak_memory > 0
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


def test_a_coroutine_cancels_a_job(client, tmp_path):
    job = client.submit(call("hang", pids=str(tmp_path / "pids")))
    assert in_a_loop(client, lambda own: own.acancel(job.job_id)).status == "dismissed"


def test_a_step_says_what_it_reads_and_writes(client):
    probe = client.process("probe")
    assert (probe.version, probe.size, probe.reads, probe.writes) == ("1", "S", ["events"], ["events"])
    with pytest.raises(StepError, match="There is no step"):
        client.process("nothing")


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
    assert in_a_loop(client, lambda own: own.adelivery("simulated", DAY)) is None
    assert client.deliver_table("simulated", DAY, "sales", path)["rows"] == 0
    with pytest.raises(DeliveryError, match="lacks"):
        client.complete_delivery("simulated", DAY, "history")
    receipt = client.complete_delivery("simulated", DAY, "daily")
    assert client.delivery("simulated", DAY) == receipt
    assert client.last_delivered("simulated", DAY) is None
    assert client.last_delivered("simulated", DAY + dt.timedelta(days=3)) == DAY
    assert in_a_loop(client, lambda own: own.adelivery("simulated", DAY)) == receipt
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


def test_a_call_that_is_not_answered_in_time_says_that_it_was_the_http_call_and_its_limit():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        limit = rf"HTTP call GET {url}/jobs/x was not answered within its limit of 0.3 s \(ReadTimeout\)"
        with StepServiceClient(url, timeout=0.2) as client, pytest.raises(ServiceUnavailable, match=limit):
            client.status("x", wait=0.1)
        with pytest.raises(ServiceUnavailable, match=limit):
            asyncio.run(StepServiceClient(url, timeout=0.2).astatus("x", wait=0.1))


@contextlib.contextmanager
def answering(status, body=b"", content_type="text/html"):
    """Answer every request in the same way; give the address and the headers of each request."""
    seen = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            seen.append(self.headers)
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", seen
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("status", "kind"),
    [(502, ServiceUnavailable), (503, ServiceUnavailable), (500, ServiceUnavailable), (403, ServiceError)],
)
def test_a_proxys_answer_without_problem_details_is_still_our_error(status, kind):
    with (
        answering(status, b"no") as (url, _),
        StepServiceClient(url) as client,
        pytest.raises(ServiceError, match=str(status)) as error,
    ):
        client.status("x")
    assert type(error.value) is kind


@pytest.mark.parametrize("status", [401, 403])
def test_whoever_is_not_let_in_hears_where_the_token_belongs(status):
    with answering(status) as (url, _), StepServiceClient(url) as client, pytest.raises(ServiceError) as error:
        client.status("x")
    assert "MARKETDAY_SERVICE_TOKEN" in error.value.hint
    assert not error.value.retryable


def test_an_answer_that_no_step_service_gives_is_our_error_and_shows_its_beginning():
    with answering(200, b"<h1>Please log in</h1>") as (url, _), StepServiceClient(url) as client:
        for ask in (lambda: client.status("x"), lambda: client.delivery("simulated", DAY)):
            with pytest.raises(ServiceError, match="Please log in") as error:
                ask()
            assert not error.value.retryable


def test_every_request_carries_the_headers_of_its_moment():
    spans = iter(("one", "two"))
    with answering(200, b"{}", "application/json") as (url, seen):
        client = StepServiceClient(url, headers=lambda: {"traceparent": next(spans)})
        with pytest.raises(ServiceError):
            client.status("x")
        with pytest.raises(ServiceError):
            asyncio.run(client.astatus("x"))
    assert [headers["traceparent"] for headers in seen] == ["one", "two"]


@contextlib.asynccontextmanager
async def counting(held_until_all_of: int = 1):
    """Answer every request with 404 as soon as so many are there; give a client and the list of connections."""
    connections, everybody = [], asyncio.Barrier(held_until_all_of)

    async def serve(reader, writer):
        connections.append(writer)
        with contextlib.suppress(asyncio.IncompleteReadError):
            while await reader.readuntil(b"\r\n\r\n"):
                await everybody.wait()
                writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0, backlog=held_until_all_of) as server:
        client = StepServiceClient(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", timeout=60)
        yield client, connections
        await client.aclose()


async def ask(client, wait=0):
    with pytest.raises(ServiceError, match="404"):
        await client.astatus("x", wait)


def test_hundreds_of_coroutines_wait_at_a_time_on_one_client():
    async def wait():
        async with counting(held_until_all_of=250) as (client, connections):
            await asyncio.gather(*(ask(client, wait=60) for _ in range(250)))
            return len(connections)

    assert asyncio.run(wait()) == 250


def test_a_coroutine_that_asks_again_uses_its_connection_again():
    async def wait():
        async with counting() as (client, connections):
            for _ in range(10):
                await ask(client)
            return len(connections)

    assert asyncio.run(wait()) == 1
