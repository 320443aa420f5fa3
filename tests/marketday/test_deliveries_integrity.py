"""The integrity check of deliveries: what is told of a folder and of a bucket, also while somebody delivers."""

import datetime as dt
import io
from collections.abc import Iterator

import polars as pl
import pytest
from bucket import serving

from marketday import deliveries
from marketday.deliveries import integrity, storage
from marketday.warehouse.objects import Objects, Stored, objects

DAY = dt.date(2025, 3, 3)
NOW = dt.datetime(2025, 3, 3, 4, 30, tzinfo=dt.UTC)


@pytest.fixture(scope="module")
def bucket() -> Iterator[dict[str, str]]:
    with serving() as environment:
        yield environment


@pytest.fixture(params=["folder", "bucket"])
def root(request, tmp_path, monkeypatch):
    """Where one delivery lies, in a folder and in an object store."""
    place = str(tmp_path / "deliveries")
    if request.param == "bucket":
        place = f"s3://bucket/{tmp_path.name}"
        for name, value in request.getfixturevalue("bucket").items():
            monkeypatch.setenv(name, value)
    put(place, 2.0)
    deliveries.complete(place, "shop", DAY, "daily", NOW)
    return place


def put(root: str, units: float) -> deliveries.TableReceipt:
    rows = {"location_id": ["S01"], "product_id": ["P001"], "day": [DAY - dt.timedelta(1)], "units": [units]}
    content = io.BytesIO()
    pl.DataFrame(rows).write_parquet(content)
    return deliveries.put_table(root, "shop", DAY, "sales", content.getvalue())


def told(root: str, *, deep: bool = False) -> list[tuple[str, str]]:
    return [(finding.kind, finding.message) for finding in integrity.check(root, "shop", deep=deep).findings]


class Crossed:
    """Objects of which the first walk meets files first, then an upload that ends at this moment, then the rest."""

    def __init__(self, real: Objects, root: str) -> None:
        self.real, self.root, self.walks = real, root, 0

    def walk(self, below: str) -> Iterator[Stored]:
        self.walks += 1
        if self.walks > 1:
            yield from self.real.walk(below)
            return
        yield from [entry for entry in self.real.walk(below) if "/files/" in entry.path]
        put(self.root, 3.0)
        yield from [entry for entry in self.real.walk(below) if "/files/" not in entry.path]

    def read(self, path: str) -> bytes:
        return self.real.read(path)


def test_an_upload_that_ends_during_the_check_is_no_finding(root, monkeypatch):
    crossed = Crossed(objects(root), root)
    monkeypatch.setattr(integrity, "objects", lambda _: crossed)
    assert told(root) == []
    assert (crossed.walks, len(storage.names(root, "shop/staging"))) == (2, 1)


def test_a_file_that_is_gone_is_told_though_it_was_looked_for_twice(root):
    (name,) = storage.names(root, "shop/files")
    storage.delete(root, [f"shop/files/{name}"])
    assert told(root) == [("missing", "a receipt names it, or an upload")]


def test_the_deep_check_finds_another_content_of_the_same_size_and_holds_no_file_in_memory(root, monkeypatch):
    assert told(root, deep=True) == []
    (name,) = storage.names(root, "shop/files")
    size = len(storage.get(root, f"shop/files/{name}") or b"")
    storage.put(root, f"shop/files/{name}", bytes(size))
    real = objects(root)
    read = []
    monkeypatch.setattr(type(real), "read", lambda _, path: read.append(path) or storage.get(root, path))
    assert told(root) == []
    assert told(root, deep=True) == [("altered", "its content is not what came: the hash is another")]
    assert {path.split("/")[1] for path in read} == {"receipts"}
