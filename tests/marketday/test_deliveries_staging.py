"""Uploads and deliveries that cross each other: what was put counts as it was meant, and no other is deleted for it."""

import datetime as dt
import functools
import io
import itertools
import json
from pathlib import Path

import polars as pl
import pytest

from marketday import deliveries
from marketday.deliveries import Sent, acceptance, storage
from marketday.errors import DeliveryError

DAY = dt.date(2025, 3, 3)
NOW = dt.datetime(2025, 3, 3, 4, 30, tzinfo=dt.UTC)
HISTORY = {
    "products": b"product_id,category,department,unit\nP001,food,dairy,pieces\n",
    "locations": b"location_id,region\nS01,hills\n",
    "sales": b"location_id,product_id,day,units\nS01,P001,2025-03-02,1\n",
}


@pytest.fixture
def root(tmp_path: Path) -> str:
    return str(tmp_path / "deliveries")


def put(root: str, units: float) -> None:
    rows = {"location_id": ["S01"], "product_id": ["P001"], "day": [DAY - dt.timedelta(1)], "units": [units]}
    content = io.BytesIO()
    pl.DataFrame(rows).write_parquet(content)
    deliveries.put_table(root, "shop", DAY, "sales", content.getvalue())


def complete(root: str, kind: deliveries.Kind = "daily") -> deliveries.Receipt:
    return deliveries.complete(root, "shop", DAY, kind, NOW)


def sold(root: str, receipt: deliveries.Receipt) -> float:
    return deliveries.scan(root, receipt, "sales").collect()["units"].item()


def mark(monkeypatch: pytest.MonkeyPatch, *marks: str) -> None:
    """Give the next uploads these marks, by which those of the same number are in order."""
    given = itertools.chain(marks)
    monkeypatch.setattr(acceptance.secrets, "token_hex", lambda _: next(given))


def test_the_same_bytes_in_another_charset_are_a_correction(root):
    content = "location_id,product_id,day,units\nS01,Käse zu 5 €,2025-03-02,1\n".encode("cp1252")

    def deliver(charset: str) -> deliveries.Receipt:
        deliveries.put_table(root, "shop", DAY, "sales", content, sent=Sent("csv", charset=charset))
        return complete(root)

    first, second = deliver("latin-1"), deliver("cp1252")
    assert [first.sequence, second.sequence] == [1, 2]
    assert first.id != second.id
    assert first.tables["sales"].sent_sha256 == second.tables["sales"].sent_sha256
    assert deliveries.scan(root, second, "sales").collect()["product_id"].item() == "Käse zu 5 €"
    assert deliver("cp1252") == second


def test_a_delivery_is_the_same_again_whatever_another_release_made_its_id_of(root):
    put(root, 2.0)
    first = complete(root)
    key = f"shop/receipts/{DAY}/000001.json"
    stored = json.loads(storage.get(root, key) or b"")
    storage.put(root, key, json.dumps(stored | {"id": "0123456789abcdef"}).encode())
    put(root, 2.0)
    again = complete(root)
    assert (again.id, again.sequence) == ("0123456789abcdef", 1)
    assert again.tables == first.tables


def test_an_upload_comes_after_one_that_is_put_and_accepted_while_it_looks(root, monkeypatch):
    mark(monkeypatch, "ffffffff", "00000000")
    names = storage.names

    def look_and_be_overtaken(root: str, folder: str = "") -> list[str]:
        found = names(root, folder)
        if folder == f"shop/staging/{DAY}/sales":
            monkeypatch.setattr(storage, "names", names)
            put(root, 2.0)
            assert complete(root).sequence == 1
        return found

    monkeypatch.setattr(storage, "names", look_and_be_overtaken)
    put(root, 3.0)
    last = complete(root)
    assert (last.sequence, sold(root, last)) == (2, 3.0)


def test_an_upload_that_ends_after_a_later_one_was_accepted_is_not_lost(root, monkeypatch):
    mark(monkeypatch, "00000000", "ffffffff")
    late, keep = [], storage.put
    monkeypatch.setattr(storage, "put", lambda *given: late.append(functools.partial(keep, *given)))
    put(root, 4.0)
    monkeypatch.setattr(storage, "put", keep)
    put(root, 3.0)
    first = complete(root)
    late.pop()()
    second = complete(root)
    assert [(each.sequence, sold(root, each)) for each in (first, second)] == [(1, 3.0), (2, 4.0)]
    assert complete(root) == second


def test_what_a_completion_that_was_killed_has_left_there_counts_no_more(root, monkeypatch):
    put(root, 3.0)
    with monkeypatch.context() as killed:
        killed.setattr(acceptance, "_clear", lambda *_: None)
        first = complete(root)
    assert complete(root) == first
    with monkeypatch.context() as killed:
        killed.setattr(acceptance, "_clear", lambda *_: None)
        put(root, 4.0)
        assert complete(root).sequence == 2
        put(root, 5.0)
    last = complete(root)
    assert (last.sequence, sold(root, last)) == (3, 5.0)
    assert storage.names(root, "shop/staging") == []


def test_an_upload_that_ends_while_another_is_discarded_stays(root, monkeypatch):
    for name, content in HISTORY.items():
        deliveries.put_table(root, "shop", DAY, name, content, sent=Sent("csv"))
    complete(root, "history")
    mark(monkeypatch, "00000000", "ffffffff")
    late, keep, look = [], storage.put, acceptance._last
    monkeypatch.setattr(storage, "put", lambda *given: late.append(functools.partial(keep, *given)))
    put(root, 4.0)
    monkeypatch.setattr(storage, "put", keep)
    put(root, 3.0)

    def end_and_look(*given: object) -> object:
        late.pop()()
        monkeypatch.setattr(acceptance, "_last", look)
        return look(*given)

    monkeypatch.setattr(acceptance, "_last", end_and_look)
    with pytest.raises(DeliveryError, match="what was put for it is discarded"):
        complete(root)
    assert storage.names(root, f"shop/staging/{DAY}/sales") == ["00000001-00000000"]
    corrected = complete(root, "history")
    assert (corrected.sequence, sold(root, corrected)) == (2, 4.0)
    assert storage.names(root, "shop/staging") == []
