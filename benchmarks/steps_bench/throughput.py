"""How many submissions of a recorded job the step service answers, beside an empty FastAPI route."""

import datetime as dt
import json
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx

from marketday.calls import Call
from marketday.client import StepServiceClient

HERE = Path(__file__).resolve().parent
CONNECTIONS = 8
"""As many blocks as come back at once in a small morning; enough to keep a server of one process busy."""
_START_SECONDS = 60.0


class Load(NamedTuple):
    """What a server answered: requests per second, and seconds within which half and 99 % of them were."""

    rate: float
    p50: float
    p99: float


def compared(home: Path, *, seconds: float, runs: int) -> dict[str, Load]:
    """Ask the step service and the empty route in turn; medians of all runs, under "service" and "empty"."""
    body = home / "call.json"
    call = Call(step="noop", retailer="simulated", day=dt.date(2025, 1, 1))
    body.write_text(call.model_dump_json(), encoding="utf-8")
    cli = [sys.executable, "-m", "marketday.cli"]
    subprocess.run([*cli, "migrate"], check=True, stdout=subprocess.DEVNULL)
    ports = [_free_port(), _free_port()]
    with (
        _serving([*cli, "serve", "--port", str(ports[0])], ports[0], home / "service.log"),
        _serving([sys.executable, HERE / "empty.py", str(ports[1])], ports[1], home / "empty.log"),
    ):
        with StepServiceClient(f"http://127.0.0.1:{ports[0]}") as client:
            job = client.submit(call)
            while not client.status(job.job_id, wait=10.0).final:
                pass
            client.result(job.job_id)
        urls = {
            "service": f"http://127.0.0.1:{ports[0]}/processes/noop/execution",
            "empty": f"http://127.0.0.1:{ports[1]}/",
        }
        loads: dict[str, list[Load]] = {name: [] for name in urls}
        for _ in range(runs):
            for name, url in urls.items():
                loads[name].append(_asked(url, body, seconds))
    return {name: Load(*map(statistics.median, zip(*some, strict=True))) for name, some in loads.items()}


def _asked(url: str, body: Path, seconds: float) -> Load:
    """Run the load generator, in a process of its own, once for warming up and once for the record."""
    command = [sys.executable, HERE / "load.py", url, body, str(CONNECTIONS)]
    subprocess.run([*command, "1"], check=True, stdout=subprocess.DEVNULL)
    said = json.loads(subprocess.run([*command, str(seconds)], check=True, capture_output=True, text=True).stdout)
    if said["status"] != [200]:
        raise SystemExit(f"{url} answered {said['status']}, and every answer was to be 200")
    return Load(said["rate"], said["p50"], said["p99"])


@contextmanager
def _serving(command: Sequence[str | Path], port: int, log: Path) -> Iterator[None]:
    """Run a server until the block ends."""
    with log.open("w") as sink:
        server = subprocess.Popen(list(command), stdout=sink, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + _START_SECONDS
        while not _answers(port):
            if server.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"The server does not start: {log.read_text()}")
            time.sleep(0.1)
        yield
    finally:
        server.terminate()
        server.wait()


def _answers(port: int) -> bool:
    try:
        return (
            httpx.get(f"http://127.0.0.1:{port}/readyz", trust_env=False).status_code != httpx.codes.SERVICE_UNAVAILABLE
        )
    except httpx.TransportError:
        return False


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])
