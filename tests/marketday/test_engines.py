"""Other engines read the warehouse's tables and see the same rows as Marketday, now and as of an older version."""

import datetime as dt
import functools
import importlib.util
import re
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from deltalake import DeltaTable
from polars.testing import assert_frame_equal
from project_copy import ROOT

from marketday import tables
from marketday.tables import Table
from marketday.tables.examples import example_row
from marketday.warehouse import Warehouse, as_known
from marketday.warehouse.maintenance import checkpoint, compact

STORED = [*tables.DELIVERED, *tables.MADE]
FIRST = dt.date(2025, 3, 20)
OFTEN = 11
"""Business days with sales: enough for a checkpoint."""

Read = Callable[[str, int | None], pl.DataFrame]


def put(warehouse: Warehouse, table: Table, run_day: dt.date, *, whole: bool = True) -> None:
    """Write the table's example as the rows of a day; not whole: without what may be null."""
    row = example_row(table)
    if not whole:
        row |= {column.name: None for column in table.columns if column.nullable}
    frame = pl.from_arrow(pa.Table.from_pylist([row], schema=table.delivered_schema))
    warehouse.write("r", table, frame, run_day=run_day, block=row["block"] if table.blocked else None)


@pytest.fixture(scope="module")
def filled(tmp_path_factory) -> Warehouse:
    """A warehouse with two mornings of every table, the first then replaced, and many of the sales, tidied up since."""
    warehouse = Warehouse(str(tmp_path_factory.mktemp("warehouse")))
    for table in STORED:
        for n in range(OFTEN if table is tables.SALES else 2):
            put(warehouse, table, FIRST + dt.timedelta(n))
        put(warehouse, table, FIRST, whole=False)
    assert "sales" in checkpoint(warehouse, "r")
    assert "sales" in compact(warehouse, "r", before=dt.date(2025, 5, 1))
    return warehouse


def with_polars(path: str, version: int | None) -> pl.DataFrame:
    return pl.scan_delta(path, version=version).collect()


def with_pyarrow(path: str, version: int | None) -> pl.DataFrame:
    return pl.from_arrow(DeltaTable(path, version=version).to_pyarrow_dataset().to_table())


def with_duckdb(path: str, version: int | None) -> pl.DataFrame:
    at = "" if version is None else f", version={version}"
    return pl.from_arrow(duckdb_with_delta().sql(f"FROM delta_scan('{path}'{at})").to_arrow_table())


@functools.cache
def duckdb_with_delta():
    """Return a connection that has loaded the extension from its package, without a network."""
    duckdb = pytest.importorskip("duckdb")
    package = importlib.util.find_spec("duckdb_extension_delta")
    if package is None:
        pytest.skip("there is no package of DuckDB's delta extension for this platform")
    (extension,) = Path(package.origin).parent.rglob("*.duckdb_extension")
    connection = duckdb.connect()
    connection.execute(f"LOAD '{extension}'; SET TimeZone = 'UTC'")
    return connection


@pytest.mark.parametrize("read", [with_polars, with_pyarrow, with_duckdb])
@pytest.mark.parametrize("table", STORED, ids=lambda table: table.name)
def test_an_engine_reads_the_same_rows_now_and_as_of_an_older_version(filled: Warehouse, table: Table, read: Read):
    path, latest = f"{filled.url}/r/{table.name}", filled.version("r", table)
    for version in (None, 0, 1, latest - 1, latest):
        expected = filled.scan("r", table, version=version).collect()
        seen = read(path, version).select(expected.columns)
        by = [tables.RUN_DAY, *table.key]
        assert_frame_equal(seen.sort(by), expected.sort(by))
        assert expected.height > 0 or version == 0


def test_the_lines_on_the_page_read_what_it_says(filled: Warehouse):
    page = (ROOT / "docs" / "tables.md").read_text(encoding="utf-8").replace("warehouse/simulated", f"{filled.url}/r")
    blocks = re.findall(r"^```(python|sql)\n(.*?)^```$", page, flags=re.MULTILINE | re.DOTALL)
    assert [language for language, _ in blocks] == ["python", "python", "sql"]
    for _, code in blocks[:2]:
        exec(code, {})  # noqa: S102  our own page
    morning = FIRST + dt.timedelta(5)
    *_, known = [line for line in blocks[2][1].replace("2025-03-04", morning.isoformat()).split(";") if line.strip()]
    found = pl.from_arrow(duckdb_with_delta().sql(known).to_arrow_table()).drop("run_month")
    assert_frame_equal(found, as_known(filled.scan("r", tables.SALES), tables.SALES, morning).collect())
