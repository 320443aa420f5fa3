"""A real step service in a process of its own, with the probe steps beside or instead of the morning's.

As a program: ``python probe_service.py PORT SECONDS [full]``. SECONDS is the time limit of resource class S.
"""

import contextlib
import datetime as dt
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil

from marketday.calls import Call
from marketday.client import JobStatus, StepServiceClient
from marketday.settings import Settings

HERE = Path(__file__).resolve().parent


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
        self.process.wait(10)
        return time.monotonic() - start


@contextlib.contextmanager
def running(settings: Settings, *, slots: int = 2, seconds: int = 60, full: bool = False) -> Iterator[Service]:
    """Run a service on a free port until the block ends; its logs are in HOME/service-PORT.log."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    settings.home.mkdir(parents=True, exist_ok=True)
    output = settings.home / f"service-{port}.log"
    variables = {
        "MARKETDAY_HOME": str(settings.home),
        "MARKETDAY_RETAILERS": str(settings.retailers),
        "MARKETDAY_SERVICE_SLOTS": str(slots),
        "MARKETDAY_SERVICE_URL": url,
        "MARKETDAY_STEP_MODULES": "probe_steps",
        "PYTHONPATH": str(HERE),
    }
    command = [sys.executable, str(HERE / "probe_service.py"), str(port), str(seconds), *(["full"] if full else [])]
    with output.open("w") as log:
        process = subprocess.Popen(
            command, env={**os.environ, **variables}, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
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
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def start_hanging(client: StepServiceClient, pids: Path) -> tuple[JobStatus, list[int]]:
    """Start a job that never ends; return it and the ids of the two processes that it is made of."""
    job = client.submit(Call(step="hang", retailer="simulated", day=dt.date(2026, 3, 2), params={"pids": str(pids)}))
    _until(pids.exists, 20)
    return job, [int(pid) for pid in pids.read_text().split()]


def all_gone(pids: list[int]) -> bool:
    """Whether none of the processes is left, or will be in a moment."""
    return _until(lambda: not any(map(alive, pids)), 3)


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _until(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def _await_ready(service: Service) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and service.process.poll() is None:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"{service.url}/readyz", trust_env=False, timeout=60).is_success:
                return
        time.sleep(0.05)
    raise AssertionError(f"The service did not start:\n{service.output.read_text()}")


def _main(port: str, seconds: str, *full: str) -> None:
    from marketday import settings
    from marketday.service import executor
    from marketday.service.server import serve
    from marketday.settings import RESOURCE_CLASSES
    from marketday.steps import contract

    RESOURCE_CLASSES["S"] = RESOURCE_CLASSES["S"]._replace(seconds=int(seconds))
    if not full:
        contract._MODULES = ()
        executor.PRELOAD = ("without_steps", "marketday.service.child")
    serve(settings.load(), port=int(port))


if __name__ == "__main__":
    _main(*sys.argv[1:])
