"""A real step service in a process of its own, with the probe steps beside or instead of the morning's.

As a program: ``python probe_service.py PORT [full]``.
"""

import contextlib
import datetime as dt
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import httpx
import psutil

from marketday.calls import Call
from marketday.client import JobStatus, StepServiceClient
from marketday.service import migrations
from marketday.settings import Settings

HERE = Path(__file__).resolve().parent
PATIENCE = 60.0
"""Seconds that a machine with too much to do gets for what usually takes a moment."""


class Service:
    """A running service, its client and its process."""

    def __init__(self, process: subprocess.Popen, url: str, output: Path) -> None:
        self.process = process
        self.url = url
        self.output = output
        self.client = StepServiceClient(url)

    def stop(self) -> float:
        """Send SIGTERM and return the seconds that the service took to end."""
        start = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(PATIENCE)
        return time.monotonic() - start


@contextlib.contextmanager
def running(
    settings: Settings,
    *,
    slots: int = 2,
    seconds: int = 60,
    memory: Mapping[str, float] | None = None,
    full: bool = False,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Service]:
    """Run a service on a free port and a migrated store until the block ends; its logs are in HOME/service-PORT.log.

    ``seconds`` is the time limit of class S, ``memory`` what classes have in GiB if not the usual; ``environment`` goes
    before everything else. Jobs get no grace period unless it says so.
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    settings.home.mkdir(parents=True, exist_ok=True)
    output = settings.home / f"service-{port}.log"
    classes: dict[str, dict[str, float]] = {name: {"memory_gib": gib} for name, gib in (memory or {}).items()}
    classes.setdefault("S", {})["seconds"] = seconds
    variables = {
        "MARKETDAY_HOME": str(settings.home),
        "MARKETDAY_RETAILERS": str(settings.retailers),
        "MARKETDAY_JOBS_URL": settings.jobs_database,
        "MARKETDAY_LEASE": str(settings.lease),
        "MARKETDAY_RESOURCE_CLASSES": json.dumps(classes),
        "MARKETDAY_SERVICE_GRACE": "0",
        "MARKETDAY_SERVICE_SLOTS": str(slots),
        "MARKETDAY_SERVICE_URL": url,
        "MARKETDAY_STEP_MODULES": "probe_steps",
        "PYTHONPATH": str(HERE),
        **(environment or {}),
    }
    migrations.migrate(settings.jobs_database)
    program = [sys.executable, str(HERE / "probe_service.py"), str(port)]
    with output.open("w") as log:
        process = subprocess.Popen(
            [*program, *(["full"] if full else [])],
            env={**os.environ, **variables},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    service = Service(process, url, output)
    try:
        _await_ready(service)
        yield service
    finally:
        service.client.close()
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def start_hanging(client: StepServiceClient, pids: Path, step: str = "hang") -> tuple[JobStatus, list[int]]:
    """Start a job that never ends; return it and the ids of the two processes that it is made of."""
    pids.unlink(missing_ok=True)
    job = client.submit(Call(step=step, retailer="simulated", day=dt.date(2026, 3, 2), params={"pids": str(pids)}))
    assert until(pids.exists, PATIENCE), job
    return job, [int(pid) for pid in pids.read_text().split()]


def all_gone(pids: list[int], seconds: float = 5.0) -> bool:
    """Whether none of the processes is left, or will be in a moment."""
    return until(lambda: not any(map(alive, pids)), seconds)


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def until(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def _await_ready(service: Service) -> None:
    deadline = time.monotonic() + 3 * PATIENCE
    while time.monotonic() < deadline and service.process.poll() is None:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"{service.url}/readyz", trust_env=False, timeout=60).is_success:
                return
        time.sleep(0.05)
    raise AssertionError(f"The service did not start:\n{service.output.read_text()}")


def _main(port: str, *full: str) -> None:
    from marketday import settings
    from marketday.service import slots
    from marketday.service.server import serve
    from marketday.steps import contract

    if not full:
        contract._MODULES = ()
        slots.PRELOAD = ("without_steps", "marketday.service.child", "marketday.service.intake")
    serve(settings.load(), port=int(port))


if __name__ == "__main__":
    _main(*sys.argv[1:])
