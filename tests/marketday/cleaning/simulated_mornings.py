"""Deliveries of the simulated retailer on a real warehouse: what is found in each, as codes of checks."""

import contextlib
import datetime as dt
import io
import shutil
from pathlib import Path

import polars as pl

from marketday import deliveries, tables
from marketday.calls import Call
from marketday.errors import GateFailed
from marketday.settings import Settings
from marketday.simulator import Grocer
from marketday.steps.execution import execute
from marketday.warehouse import Warehouse

NAME = "simulated"
ROOT = Path(__file__).resolve().parents[3]
FIRST = dt.date(2024, 4, 27)
"""A Saturday, with seventeen weeks of history."""
DAY = FIRST + dt.timedelta(days=1)
GROCER = Grocer(14)


def deliver(settings: Settings, day: dt.date, *faults: str, since: dt.date | None) -> None:
    """Deliver a morning's tables, complete."""
    for name, rows in GROCER.deliver(day, since=since, faults=faults).items():
        file = io.BytesIO()
        rows.write_parquet(file)
        deliveries.put_table(settings.deliveries_url, NAME, day, name, file.getvalue())
    now = dt.datetime.combine(day, dt.time(3), tzinfo=dt.UTC)
    deliveries.complete(settings.deliveries_url, NAME, day, "history" if since is None else "daily", now)


def morning(settings: Settings, day: dt.date, *, load: bool = False) -> set[str]:
    """Carry out the morning up to its gate, and perhaps load what passed; return the codes of what was found."""
    with contextlib.suppress(GateFailed):  # What it found is in its verdicts.
        for step in ("ingest", "clean", "gate_clean", *(["load"] if load else [])):
            execute(Call(step=step, retailer=NAME, day=day), settings)
    return found(settings, day)


def found(settings: Settings, day: dt.date) -> set[str]:
    """Return the codes of the refused rows and of the unmet verdicts."""
    warehouse = Warehouse.from_settings(settings)
    refused, verdicts = (
        warehouse.scan(NAME, table).filter(pl.col("run_day") == day).collect()
        for table in (tables.QUARANTINE, tables.VERDICTS)
    )
    return set(refused["reason"]) | set(verdicts.filter(~pl.col("passed"))["code"])


def copied(settings: Settings, to: Path) -> Settings:
    """Return settings of a copy of the home."""
    shutil.copytree(settings.home, to)
    return Settings(home=to, retailers=settings.retailers)
