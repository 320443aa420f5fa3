"""Fixtures that every test may use: a throw-away warehouse, settings and the embedded retailers."""

import datetime as dt
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import hypothesis
import polars as pl
import pytest

from marketday import retailers, steps, tables
from marketday.calls import Call
from marketday.retailers import Retailer
from marketday.settings import Settings
from marketday.steps import Context, Outputs
from marketday.warehouse import Warehouse

ROOT = Path(__file__).resolve().parent.parent

# Airflow makes its configuration and its database's address when it is first imported.
AIRFLOW_HOME = tempfile.TemporaryDirectory(prefix="marketday-airflow-")
os.environ["AIRFLOW_HOME"] = AIRFLOW_HOME.name
# What commands print is looked at as on a wide terminal, whatever the one is that the tests are run on.
os.environ["COLUMNS"] = "160"
# The same examples on every run: a test fails for who broke it. `--hypothesis-profile=default` looks for new ones.
hypothesis.settings.register_profile("repeatable", derandomize=True)
hypothesis.settings.load_profile("repeatable")


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name a case without its bytes: those of an archive tell the time, and all workers must find the same tests."""
    return argname if isinstance(val, bytes) else None


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings whose every folder is the test's own; also in the environment, for child processes."""
    monkeypatch.setenv("MARKETDAY_HOME", str(tmp_path / "var"))
    monkeypatch.setenv("MARKETDAY_RETAILERS", str(ROOT / "include" / "retailers"))
    return Settings()


@pytest.fixture
def warehouse(settings: Settings) -> Warehouse:
    return Warehouse.from_settings(settings)


@pytest.fixture
def simulated(settings: Settings) -> Retailer:
    return retailers.load("simulated", settings.retailers)


@pytest.fixture
def run_step(settings: Settings, warehouse: Warehouse, simulated: Retailer) -> Callable[..., Outputs]:
    """Call a step's function on tables given by hand: ``run_step("orders", day, {"forecasts": frame, …}, params={})``.

    Rows without ``run_day`` are taken as written by ``day``'s own run.
    """

    def run(
        name: str,
        day: dt.date,
        given: Mapping[str, pl.DataFrame],
        *,
        params: Mapping[str, object] | None = None,
        block: str | None = None,
        retailer: Retailer = simulated,
    ) -> Outputs:
        for table_name, rows in given.items():
            table = tables.get(table_name)
            dated = rows if "run_day" in rows.columns else rows.with_columns(run_day=pl.lit(day))
            for (run_day,), part in dated.group_by("run_day", maintain_order=True):
                if table.blocked:
                    for (part_block,), sub in part.group_by("block", maintain_order=True):
                        warehouse.write(retailer.name, table, sub.drop("run_day"), run_day=run_day, block=part_block)
                else:
                    warehouse.write(retailer.name, table, part.drop("run_day"), run_day=run_day)
        step = steps.get(name)
        call = Call(step=name, retailer=retailer.name, day=day, block=block, params=dict(params or {}))
        return step.function(
            Context(
                call=call,
                retailer=retailer,
                warehouse=warehouse,
                versions={t.name: warehouse.version(retailer.name, t) for t in step.reads},
                deliveries=settings.deliveries_url,
                reports=settings.reports_path,
                reports_url=settings.reports_url,
                dask_scheduler="synchronous",
            )
        )

    return run
