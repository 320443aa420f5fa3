"""One machine for each kind of database: SQLite, and PostgreSQL for both Airflow and the jobs."""

import json
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from failures.machine import ROOT, Machine
from failures.rows import Support, World
from marketday import embedded

HERE = Path(__file__).resolve().parent
CLASSES = {"S": {"memory_gib": 0.75, "seconds": 8}, "M": {"memory_gib": 3.0, "seconds": 600}}
"""Small enough for a step to outgrow or outlive in seconds."""
PROMPT = {
    # Airflow takes five minutes to notice that a worker, or a scheduler with its workers, is gone; here, some seconds.
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "20",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "15",
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "10",
    "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "15",
}


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def databases(request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    """The variables that attach Airflow's database and the job store."""
    if request.param == "sqlite":
        yield {}
        return
    with _postgres("airflow", "jobs") as url:
        yield {
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"{url.replace('postgresql:', 'postgresql+psycopg2:')}/airflow",
            "MARKETDAY_JOBS_URL": f"{url}/jobs",
        }


@pytest.fixture(scope="module")
def world(databases: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    home = tmp_path_factory.mktemp("machine")
    (home / "retailers").mkdir()
    shutil.copy(ROOT / "include" / "retailers" / "simulated.yaml", home / "retailers")
    machine = Machine(
        {
            "MARKETDAY_HOME": str(home / "var"),
            "MARKETDAY_RETAILERS": str(home / "retailers"),
            "MARKETDAY_AIRFLOW_URL": f"http://127.0.0.1:{_free_port()}",
            "MARKETDAY_SERVICE_URL": f"http://127.0.0.1:{_free_port()}",
            "MARKETDAY_SERVICE_SLOTS": "8",
            "MARKETDAY_RESOURCE_CLASSES": json.dumps(CLASSES),
            "MARKETDAY_STEP_MODULES": "failures.probes",
            "PYTHONPATH": str(HERE.parent),
            "AIRFLOW__CORE__DAGS_FOLDER": str(HERE / "dags"),
            **PROMPT,
            **databases,
        }
    )
    try:
        machine.start()
        here = machine.settings
        with Support(here.airflow_url, *embedded.credentials(here), timeout=120.0) as airflow:
            yield World(machine, airflow)
    finally:
        machine.stop()


@contextmanager
def _postgres(*databases: str) -> Iterator[str]:
    """Give the URL of a server that is gone after the block, to which the name of a database is to be added."""
    server = subprocess.Popen(
        [ROOT / "scripts" / "postgres", *databases], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        url = server.stdout.readline().strip()
        if not url:
            assert server.wait(30) == 3, "scripts/postgres says above why it did not start"
            pytest.skip("PostgreSQL's server is not installed (Debian: apt install postgresql)")
        yield url
    finally:
        server.stdin.close()
        server.wait(30)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]
