"""Whatever the warehouse promises on a folder, it promises on an object store; and writers there lose nothing."""

import datetime as dt
import inspect
import multiprocessing
from collections.abc import Iterator

import obstore
import polars as pl
import pytest
import test_warehouse
from bucket import serving
from mornings import FIRST, SHOP, contents, morning, predict, row, sell
from obstore.store import S3Store, from_url

from marketday.tables import FORECASTS, RUNS, SALES
from marketday.warehouse import Warehouse
from marketday.warehouse.integrity import check, remove_leftovers
from marketday.warehouse.maintenance import checkpoint, compact, vacuum

WRITERS, BLOCKS = 4, 3
LATER = dt.date(2025, 3, 1)

# The very same tests as on a folder: here the fixture `warehouse` is another one.
globals().update(
    (name, promise)
    for name, promise in vars(test_warehouse).items()
    if name.startswith("test_") and "warehouse" in inspect.signature(promise).parameters
)


@pytest.fixture(scope="module")
def store() -> Iterator[dict[str, str]]:
    with serving() as environment:
        yield environment


@pytest.fixture
def url(store: dict[str, str], tmp_path, monkeypatch: pytest.MonkeyPatch) -> str:
    for variable, value in store.items():
        monkeypatch.setenv(variable, value)
    return f"s3://bucket/{tmp_path.name}"


@pytest.fixture
def warehouse(url: str) -> Warehouse:
    return Warehouse(url)


def findings(warehouse: Warehouse) -> list[tuple[str, str]]:
    _, checks = check(warehouse, SHOP, deep=True)
    return [(finding.kind, finding.place) for checked in checks for finding in checked.findings]


def objects_of(warehouse: Warehouse, table: str) -> tuple[S3Store, list[str]]:
    """Return the bucket's folder of a table and the data files in it."""
    store = from_url(f"{warehouse.url}/{SHOP}/{table}")
    paths = sorted(entry["path"] for page in obstore.list(store) for entry in page)
    return store, [path for path in paths if path.startswith("run_month=")]


def write(url: str, writer: int) -> list[int]:
    """Write some blocks of its own, and the same day as all other writers."""
    warehouse, versions = Warehouse(url), []
    for number in range(BLOCKS):
        block = f"{writer}-{number}"
        rows = row(RUNS, step=f"s{block}@1", block=block, inputs="{}", written="{}", seconds=float(writer))
        warehouse.write(SHOP, RUNS, rows, run_day=FIRST, block=block)
        versions.append(sell(warehouse, FIRST, units=10.0 * writer + number).version)
    return versions


def test_writers_of_different_blocks_and_of_the_same_day_lose_and_double_nothing(url):
    # Spawned, since a fork of a process that already used polars may deadlock.
    with multiprocessing.get_context("spawn").Pool(WRITERS) as pool:
        written = pool.starmap(write, [(url, writer) for writer in range(WRITERS)])
    warehouse = Warehouse(url)
    runs = warehouse.scan(SHOP, RUNS).collect()
    assert sorted(runs["block"]) == [f"{writer}-{number}" for writer in range(WRITERS) for number in range(BLOCKS)]
    # The day holds what one of them wrote last, whole, and every version holds what its writer put there.
    every = {version: (writer, number) for writer, of in enumerate(written) for number, version in enumerate(of)}
    assert len(every) == WRITERS * BLOCKS, "no version is told to two writers"
    for version, (writer, number) in every.items():
        units = warehouse.scan(SHOP, SALES, version=version).collect()["units"].sort().to_list()
        assert units == [10.0 * writer + number, 10.0 * writer + number + 1]
    assert [kind for kind, _ in findings(warehouse) if kind != "leftover"] == []


def test_maintenance_and_the_integrity_check_work_there_too(warehouse):
    for day in range(0, 24, 4):
        morning(warehouse, FIRST + dt.timedelta(days=day))
    unpublished = predict(warehouse, dt.date(2025, 2, 20))
    predict(warehouse, dt.date(2025, 2, 20), mean=2.0)
    before = contents(warehouse)
    assert compact(warehouse, SHOP, before=LATER)["sales"].after == 2
    assert set(checkpoint(warehouse, SHOP)) <= set(before)
    far = dt.datetime.now(dt.UTC) + dt.timedelta(days=90)
    # Both forecasts of a day that was never published: the rows of the second are in the large file too.
    assert vacuum(warehouse, SHOP, now=far, retention=dt.timedelta(days=30))["forecasts"].files == 2
    after = contents(warehouse)
    assert [name for name, rows in before.items() if not rows.equals(after[name])] == []
    assert findings(warehouse) == []
    with pytest.raises((FileNotFoundError, pl.exceptions.PolarsError)):
        warehouse.scan(SHOP, FORECASTS, version=unpublished.version).collect()


def test_missing_altered_surplus_and_left_objects_are_found(warehouse):
    for day in range(3):
        morning(warehouse, FIRST + dt.timedelta(days=day))
    store, paths = objects_of(warehouse, "sales")
    content = obstore.get(store, paths[0]).bytes().to_bytes()
    obstore.put(store, paths[0], content + b"x")
    assert findings(warehouse) == [("altered", "sales")]
    obstore.put(store, paths[0], bytes(len(content)))
    assert findings(warehouse) == [("altered", "sales")]
    obstore.delete(store, paths[0])
    assert findings(warehouse) == [("missing", "sales")]
    obstore.put(store, paths[0], content)
    obstore.put(store, "run_month=2025-01/part-1.parquet", b"half")
    obstore.put(store, "notes.txt", b"by hand")
    assert sorted(findings(warehouse)) == [("leftover", "sales"), ("surplus", "sales")]
    assert remove_leftovers(warehouse, SHOP, now=dt.datetime.now(dt.UTC) + dt.timedelta(days=2)) == 1
    assert findings(warehouse) == [("surplus", "sales")]
