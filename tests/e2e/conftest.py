"""One platform for all end-to-end tests: a real Airflow and a real step service in a home of their own."""

import datetime as dt
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from marketday import embedded, retailers, tables
from marketday.cli.airflow_api import ENDED, Airflow, Run
from marketday.cli.deliver import send
from marketday.settings import Settings
from marketday.tables import Table
from marketday.warehouse import Warehouse

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 300.0
DATABASES = ("sqlite", "postgresql")
"""What the failure matrix is gone through with, one after the other."""


@dataclass(frozen=True)
class Shop:
    """The simulated retailer on a running platform."""

    settings: Settings
    airflow: Airflow
    check: Callable[[], None]
    name: str = "simulated"

    def deliver(self, day: dt.date, *faults: str) -> dict[str, Any]:
        retailer = retailers.load(self.name, self.settings.retailers)
        return send(retailer, day, self.settings, faults=faults)

    def run(self, day: dt.date, *, kind: str = "daily") -> Run:
        """Trigger the run of ``day`` and wait for its end."""
        dag_id = f"{kind}__{self.name}"
        self.airflow.wait_for_dag(dag_id)
        self.airflow.unpause(dag_id)
        return self.wait(self.airflow.trigger(dag_id, f"{self.name}|{day}"))

    def clear(self, run: Run, task_ids: Sequence[str], *, downstream: bool) -> Run:
        """Clear tasks as support staff would, and wait until the run has ended again."""
        assert self.airflow.clear(run, task_ids, downstream=downstream)
        return self.wait(run)

    def wait(self, run: Run) -> Run:
        deadline = time.monotonic() + PATIENCE
        while (run := self.airflow.run(run)).state not in ENDED:
            self.check()
            assert time.monotonic() < deadline, f"{run} has not ended: {self.states(run)}"
            time.sleep(0.2)
        return run

    def states(self, run: Run) -> dict[str, str | None]:
        return {task.name: task.state for task in self.airflow.tasks(run)}

    def errors(self, run: Run) -> dict[str, str]:
        failed = [task for task in self.airflow.tasks(run) if task.state == "failed"]
        return {task.name: self.airflow.error(run, task) for task in failed}

    def rows(self, table: Table, day: dt.date) -> pl.DataFrame:
        """Return what the run of ``day`` has left in ``table``."""
        warehouse = Warehouse.from_settings(self.settings)
        return warehouse.scan(self.name, table).filter(pl.col("run_day") == day).collect()

    def published(self, day: dt.date) -> dict[str, dict[str, Any]]:
        return {row["table"]: row for row in self.rows(tables.PUBLICATIONS, day).iter_rows(named=True)}


@contextmanager
def environment(**values: str) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})


class OnePlatformEach(LoadScopeScheduling):
    """Gives all tests that share a platform to one process: those of a file and, where it has several, a database."""

    def _split_scope(self, nodeid: str) -> str:
        file, _, test = nodeid.partition("::")
        return f"{file} {next((name for name in DATABASES if name in test), '')}"


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    return OnePlatformEach(config, log)


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    home = tmp_path_factory.mktemp("platform")
    shutil.copytree(ROOT / "include" / "retailers", home / "retailers")
    chosen = {
        "MARKETDAY_HOME": str(home / "var"),
        "MARKETDAY_RETAILERS": str(home / "retailers"),
        # Definitions appear and are mended while the tests run.
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "3",
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "3",
    }
    with environment(**chosen), pytest.MonkeyPatch.context() as patch:
        # The other tests' throw-away Airflow is not this one.
        patch.delenv("AIRFLOW_HOME", raising=False)
        patch.chdir(ROOT)
        settings = Settings()
        with embedded.started(settings, lambda _what, _seconds: None) as platform:
            reached = platform.settings(settings)
            with Airflow(reached.airflow_url, *embedded.credentials(reached)) as airflow:
                yield Shop(reached, airflow, platform.check)
