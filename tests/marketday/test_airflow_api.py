"""Calls to Airflow: what comes back when its database was locked."""

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from marketday.cli.airflow_api import Airflow
from marketday.errors import ServiceError

RUN = {"dag_id": "daily__simulated", "dag_run_id": "run", "partition_key": "simulated|2025-03-03", "state": "queued"}
LOCKED = {"detail": {"reason": "Database error", "message": "Serious error when handling your request."}}


class FakeAirflow(ThreadingHTTPServer):
    """Answers that its database was locked, so many times."""

    locked = 0
    triggered = 0


class Handler(BaseHTTPRequestHandler):
    server: FakeAirflow

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/auth/token":
            return self._say(201, {"access_token": "token"})
        if self.server.locked:
            self.server.locked -= 1
            return self._say(500, LOCKED)
        self.server.triggered += 1
        return self._say(200, RUN)

    def _say(self, status: int, content: dict) -> None:
        body = json.dumps(content, separators=(",", ":")).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[FakeAirflow]:
    with FakeAirflow(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever).start()
        yield server
        server.shutdown()


@pytest.fixture
def airflow(server: FakeAirflow) -> Iterator[Airflow]:
    with Airflow(f"http://127.0.0.1:{server.server_port}", "admin", "secret") as airflow:
        yield airflow


def test_what_a_locked_database_has_kept_from_happening_is_asked_for_again(server, airflow):
    server.locked = 2
    assert airflow.trigger("daily__simulated", "simulated|2025-03-03").state == "queued"
    assert server.triggered == 1


def test_a_database_that_stays_locked_is_an_error(server, airflow):
    server.locked = 9
    with pytest.raises(ServiceError, match=r"500.*Database error"):
        airflow.trigger("daily__simulated", "simulated|2025-03-03")
    assert server.triggered == 0
