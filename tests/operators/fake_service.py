"""A step service of a few lines, over real HTTP on loopback: it carries nothing out and can be told to misbehave."""

import datetime as dt
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from marketday.calls import Call, Result
from marketday.errors import DeliveryError, MarketdayError, ServiceError, ServiceUnavailable

DAY = dt.date(2025, 3, 3)
NOW = "2025-03-03T04:00:00+00:00"


class FakeService:
    """Records the calls that it is sent; tests set the attributes below to say what it answers."""

    def __init__(self) -> None:
        self.calls: list[tuple[Call, bool]] = []
        self.run_ids: list[str] = []
        self.tokens: set[str] = set()  # that it was shown
        self.reads: dict[str, list[str]] = {}  # by step
        self.jobs: dict[str, dict] = {}
        self.seconds = 0.0  # how long a job runs
        self.message = ""  # what a job that runs says
        self.full = 0  # how many submissions find no free slot
        self.away = 0  # how many requests of any kind find no service
        self.results: dict[str, Result | MarketdayError] = {}  # by step
        self.receipt: dict | None = None
        self.url = ""

    def answer(  # noqa: PLR0911  one for each route
        self, method: str, path: str, query: dict, headers, body: bytes
    ) -> tuple[int, dict, dict]:
        self.tokens.add(headers.get("Authorization", ""))
        match [method, *path.strip("/").split("/")]:
            case ["GET", "processes", step]:
                return 200, process(step, self.reads.get(step, [])), {}
            case ["POST", "processes", _, "execution"]:
                return self.submit(Call.model_validate_json(body), query["force"] == ["true"], headers["X-Run-ID"])
            case ["GET", "jobs", job_id] if job_id in self.jobs:
                return 200, self.wait(self.jobs[job_id], float(query["wait"][0])), {}
            case ["GET", "jobs", job_id, "results"]:
                return self.result(self.jobs[job_id])
            case ["DELETE", "jobs", job_id]:
                if self.status(self.jobs[job_id])["status"] == "running":
                    self.jobs[job_id]["dismissed"] = True
                return 200, self.status(self.jobs[job_id]), {}
            case ["GET", "retailers", _, "deliveries", _]:
                until = time.monotonic() + float(query.get("wait", ["0"])[0])
                while self.receipt is None and time.monotonic() < until:
                    time.sleep(0.02)
                return (200, self.receipt, {}) if self.receipt else problem(404, DeliveryError("nothing yet"))
        return problem(404, ServiceError(f"there is no {path}"))

    def submit(self, call: Call, force: bool, run_id: str) -> tuple[int, dict, dict]:
        if self.full > 0:
            self.full -= 1
            status, data, headers = problem(503, ServiceUnavailable("no free slot"))
            return status, data, headers | {"Retry-After": "1"}
        self.calls.append((call, force))
        self.run_ids.append(run_id)
        same = [job for job in self.jobs.values() if job["call"].key == call.key]
        unfinished = [job for job in same if self.status(job)["status"] == "running"]
        recorded = [] if force else [job for job in same if self.status(job)["status"] == "successful"]
        job = next(iter(unfinished or recorded), None)
        if job is None:
            job = {"id": f"job{len(self.jobs)}", "call": call, "ends": time.monotonic() + self.seconds}
            self.jobs[job["id"]] = job
        return 201, self.status(job), {}

    def wait(self, job: dict, seconds: float) -> dict:
        until = time.monotonic() + seconds
        while self.status(job)["status"] == "running" and time.monotonic() < until:
            time.sleep(0.02)
        return self.status(job)

    def status(self, job: dict) -> dict:
        outcome = self.results.get(job["call"].step, Result())
        state = "failed" if isinstance(outcome, MarketdayError) else "successful"
        if time.monotonic() < job["ends"]:
            state = "running"
        if job.get("dismissed"):
            state = "dismissed"
        call = job["call"]
        return {
            "jobID": job["id"],
            "processID": call.step,
            "status": state,
            "message": str(outcome) if state == "failed" else self.message,
            "created": NOW,
            "updated": NOW,
            "key": call.key,
            "retailer": call.retailer,
            "day": call.day.isoformat(),
            "attempt": 1,
            "size": "M",
            "service": "fake",
            "peak_memory": None,
        }

    def result(self, job: dict) -> tuple[int, dict, dict]:
        outcome = self.results.get(job["call"].step, Result())
        return problem(422, outcome) if isinstance(outcome, MarketdayError) else (200, outcome.model_dump(), {})


def problem(status: int, error: MarketdayError) -> tuple[int, dict, dict]:
    return status, {"error": error.to_dict(), "detail": error.message}, {"Content-Type": "application/problem+json"}


def process(step: str, reads: list[str]) -> dict:
    return {"id": step, "version": "1", "size": "M", "repeatable": True, "reads": reads, "writes": [], "links": []}


@contextmanager
def serving(service: FakeService, port: int = 0) -> Iterator[FakeService]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one(self) -> None:
            at = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if service.away > 0:
                service.away -= 1
                status, data, headers = 502, {}, {}
            else:
                status, data, headers = service.answer(self.command, at.path, parse_qs(at.query), self.headers, body)
            text = json.dumps(data).encode()
            self.send_response(status)
            for name, value in ({"Content-Type": "application/json"} | headers).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST = do_DELETE = handle_one  # noqa: N815  http.server's names

        def log_message(self, *_: object) -> None:
            """Keep the test's output clean."""

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    service.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield service
    finally:
        server.shutdown()
        server.server_close()
