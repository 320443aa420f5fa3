"""A step service of the benchmark's own, and what a retailer and a morning ask of it."""

import contextlib
import datetime as dt
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import httpx
from names import DEFINITION, RETAILER

from marketday.calls import Call
from marketday.client import MAX_WAIT, StepServiceClient

STEPS = ("ingest", "clean", "load")
_START_SECONDS = 60.0


@contextlib.contextmanager
def running(home: Path) -> Iterator[StepServiceClient]:
    """Start the service in a new home on a free port of this machine and return its client; ends it after the block."""
    (home / "retailers").mkdir(parents=True)
    (home / "retailers" / f"{RETAILER}.yaml").write_text(DEFINITION, encoding="utf-8")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    env = os.environ | {
        "MARKETDAY_HOME": str(home),
        "MARKETDAY_RETAILERS": str(home / "retailers"),
        "MARKETDAY_SERVICE_URL": url,
    }
    cli = [sys.executable, "-m", "marketday.cli"]
    subprocess.run([*cli, "migrate"], check=True, env=env, stdout=subprocess.DEVNULL)
    log = home / "service.log"
    with log.open("w", encoding="utf-8") as sink:
        server = subprocess.Popen([*cli, "serve", "--port", str(port)], env=env, stdout=sink, stderr=sink)
    try:
        _await(url, server, log)
        with StepServiceClient(url) as client:
            yield client
    finally:
        server.terminate()
        server.wait()


def delivered(client: StepServiceClient, day: dt.date, folder: Path, kind: Literal["history", "daily"]) -> None:
    """Send a folder's tables and complete the delivery."""
    for file in sorted(folder.glob("*.parquet")):
        client.deliver_table(RETAILER, day, file.stem, file)
    client.complete_delivery(RETAILER, day, kind)


def loaded(client: StepServiceClient, day: dt.date) -> dict[str, int]:
    """Make the day's delivery facts and return how many rows of each table there are."""
    rows = {}
    for step in STEPS:
        job = client.submit(Call(step=step, retailer=RETAILER, day=day))
        while not job.final:
            job = client.status(job.job_id, wait=MAX_WAIT)
        rows = client.result(job.job_id).rows
    return rows


def _await(url: str, server: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while server.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"{url}/readyz").is_success:
                return
        time.sleep(0.1)
    raise SystemExit(f"The service does not start: {log.read_text(encoding='utf-8')}")
