"""Write tables by hand and run a gate on them as the step service would."""

import datetime as dt
from collections.abc import Callable

import polars as pl
import pytest
from gate_cases import DAY

from marketday import tables
from marketday.calls import Call, Result
from marketday.settings import Settings
from marketday.steps.execution import execute
from marketday.warehouse import Warehouse


@pytest.fixture
def write(warehouse: Warehouse) -> Callable[..., None]:
    def rows_of(day: dt.date = DAY, **given: pl.DataFrame) -> None:
        for name, rows in given.items():
            table = tables.get(name)
            nulls = {f.name for f in table.schema if f.nullable} - set(rows.columns)
            warehouse.write("simulated", table, rows.with_columns(pl.lit(None).alias(n) for n in nulls), run_day=day)

    return rows_of


@pytest.fixture
def page(settings: Settings) -> Callable[[str], str]:
    """Return the text of a page by the address that a gate links to."""
    return lambda url: (settings.reports_path / url.removeprefix(f"{settings.reports_url}/")).read_text()


@pytest.fixture
def gate(settings: Settings) -> Callable[..., Result]:
    """Run a gate by its name; further arguments are the versions to read, by table."""
    return lambda name, **inputs: execute(Call(step=name, retailer="simulated", day=DAY, inputs=inputs), settings)
