"""Deliveries are visible whole or not at all, immutable, and idempotent by content; in a folder and in a bucket."""

import datetime as dt
import hashlib
import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import polars as pl
import pytest
from bucket import serving

from marketday import deliveries
from marketday.deliveries import acceptance, storage
from marketday.errors import DeliveryError, ServiceUnavailable

DAY = dt.date(2025, 3, 3)
NOW = dt.datetime(2025, 3, 3, 4, 30, tzinfo=dt.UTC)


def sales(units: float = 2.0) -> bytes:
    rows = pl.DataFrame(
        {"location_id": ["S01"], "product_id": ["P001"], "day": [DAY - dt.timedelta(1)], "units": [units]}
    )
    return parquet(rows)


def parquet(rows: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    rows.write_parquet(buffer)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def bucket() -> Iterator[dict[str, str]]:
    with serving() as environment:
        yield environment


@pytest.fixture(params=["folder", "bucket"])
def root(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The root of nothing yet: in a folder, and in an object store."""
    if request.param == "folder":
        return str(tmp_path / "deliveries")
    for name, value in request.getfixturevalue("bucket").items():
        monkeypatch.setenv(name, value)
    return f"s3://bucket/{tmp_path.name}"


def deliver(root: str, content: bytes, day: dt.date = DAY) -> deliveries.Receipt:
    deliveries.put_table(root, "shop", day, "sales", content)
    return deliveries.complete(root, "shop", day, "daily", NOW)


def test_a_delivery_is_invisible_until_it_is_complete(root):
    deliveries.put_table(root, "shop", DAY, "sales", sales())
    assert deliveries.latest(root, "shop", DAY) is None
    assert deliveries.last_day(root, "shop") is None
    receipt = deliveries.complete(root, "shop", DAY, "daily", NOW)
    assert deliveries.latest(root, "shop", DAY) == receipt
    assert deliveries.last_day(root, "shop") == DAY


def test_the_receipt_says_what_was_delivered_and_the_rows_come_back(root):
    receipt = deliver(root, sales())
    assert (receipt.retailer, receipt.day, receipt.kind, receipt.sequence) == ("shop", DAY, "daily", 1)
    assert receipt.tables["sales"].rows == 1
    assert receipt.tables["sales"].sent_sha256 == hashlib.sha256(sales()).hexdigest()
    assert deliveries.scan(root, receipt, "sales").collect().equals(pl.read_parquet(io.BytesIO(sales())))


def test_a_file_and_a_stream_are_as_good_as_bytes(root, tmp_path):
    path = tmp_path / "sales.parquet"
    path.write_bytes(sales())
    from_path = deliveries.put_table(root, "shop", DAY, "sales", path)
    from_stream = deliveries.put_table(root, "shop", DAY, "sales", io.BytesIO(sales()))
    assert from_path == from_stream == deliveries.put_table(root, "shop", DAY, "sales", sales())


def test_the_same_content_again_is_the_same_delivery(root):
    first = deliver(root, sales())
    assert deliver(root, sales()) == first
    assert deliveries.complete(root, "shop", DAY, "daily", NOW) == first, "a lost answer may be asked for again"


def test_clients_that_send_the_same_at_the_same_time_share_one_delivery(root):
    with ThreadPoolExecutor(8) as pool:
        receipts = list(pool.map(lambda _: deliver(root, sales()), range(16)))
    assert receipts == [receipts[0]] * 16
    assert storage.names(root, "shop/receipts") == [f"{DAY}/000001.json"]
    assert storage.names(root, "shop/staging") == []


def test_other_content_for_the_day_is_a_correction_and_the_first_stays(root):
    first, second = deliver(root, sales(2.0)), deliver(root, sales(3.0))
    assert (first.sequence, second.sequence) == (1, 2)
    assert deliveries.latest(root, "shop", DAY) == second
    assert deliveries.scan(root, first, "sales").collect()["units"].item() == 2.0
    assert deliver(root, sales(2.0)).sequence == 3, "back to the first content is a correction too"


def test_whoever_dies_after_the_receipt_leaves_nothing_to_deliver(root, monkeypatch):
    with monkeypatch.context() as dying:
        dying.setattr(storage, "delete", die)
        with pytest.raises(KeyboardInterrupt):
            deliver(root, sales(2.0))
    assert storage.names(root, "shop/staging"), "what was staged could not be removed any more"
    first = deliveries.complete(root, "shop", DAY, "daily", NOW)
    assert (first.sequence, deliver(root, sales(3.0)).sequence) == (1, 2)
    assert storage.names(root, "shop/staging") == []


def die(*_: object) -> None:
    raise KeyboardInterrupt


def test_an_upload_that_another_delivery_has_overtaken_does_not_come_back(root, monkeypatch):
    """One caller has seen what is staged and then sleeps; meanwhile it is accepted, corrected and gone."""
    deliveries.put_table(root, "shop", DAY, "sales", sales(2.0))
    look = acceptance._last

    def sleep_and_look(*given: object) -> object:
        monkeypatch.setattr(acceptance, "_last", look)
        deliveries.complete(root, "shop", DAY, "daily", NOW)
        deliver(root, sales(3.0))
        return look(*given)

    monkeypatch.setattr(acceptance, "_last", sleep_and_look)
    late = deliveries.complete(root, "shop", DAY, "daily", NOW)
    assert late == deliveries.latest(root, "shop", DAY)
    assert (late.sequence, deliveries.scan(root, late, "sales").collect()["units"].item()) == (2, 3.0)


def test_of_two_corrections_at_the_same_time_each_gets_a_number(root, monkeypatch):
    deliver(root, sales(1.0))
    create = storage.create

    def lose(*given: object) -> bool:
        monkeypatch.setattr(storage, "create", create)
        deliver(root, sales(2.0))
        return create(*given)

    deliveries.put_table(root, "shop", DAY, "suppliers", table(supplier_id="V1"))
    monkeypatch.setattr(storage, "create", lose)
    last = deliveries.complete(root, "shop", DAY, "daily", NOW)
    assert [deliveries.latest(root, "shop", DAY), last.sequence] == [last, 2]
    assert list(last.tables) == ["sales", "suppliers"]


def test_a_delivery_is_found_by_its_id(root):
    first, second = deliver(root, sales(2.0)), deliver(root, sales(3.0), DAY + dt.timedelta(1))
    assert deliveries.find(root, "shop", first.id) == first
    assert deliveries.find(root, "shop", second.id, second.day) == second
    with pytest.raises(DeliveryError, match="no accepted delivery 'nothing'"):
        deliveries.find(root, "shop", "nothing")


def test_a_store_that_does_not_answer_is_not_one_without_deliveries(monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    monkeypatch.setattr(storage, "_RETRY", {"max_retries": 0, "retry_timeout": dt.timedelta(seconds=1)})
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x")
    with pytest.raises(ServiceUnavailable, match="failed at 'shop/receipts/2025-03-03/'"):
        deliveries.latest("s3://nowhere/at/all", "shop", DAY)


def test_the_last_day_can_be_asked_for_before_another(root):
    for offset in (0, 1, 5):
        deliver(root, sales(), DAY + dt.timedelta(offset))
    assert deliveries.last_day(root, "shop") == DAY + dt.timedelta(5)
    assert deliveries.last_day(root, "shop", before=DAY + dt.timedelta(5)) == DAY + dt.timedelta(1)
    assert deliveries.last_day(root, "shop", before=DAY) is None


def test_an_unknown_table_is_refused_with_those_that_are_allowed(root):
    with pytest.raises(DeliveryError, match=r"No table 'forecasts'.*\n.*suppliers, products, locations, events, sales"):
        deliveries.put_table(root, "shop", DAY, "forecasts", sales())


@pytest.mark.parametrize("content", [b"", b"location_id;units\nS01;2\n", sales()[:-20], b"\0" * 40 + sales()[40:]])
def test_what_is_no_whole_parquet_file_is_refused_and_leaves_nothing(root, content):
    with pytest.raises(DeliveryError, match="not a readable"):
        deliveries.put_table(root, "shop", DAY, "sales", content)
    assert storage.names(root, "shop") == []


def test_columns_are_checked_at_the_door(root):
    rows = pl.DataFrame({"location_id": ["S01"], "day": [DAY], "units": [1.0], "till": [4]})
    with pytest.raises(
        DeliveryError, match=r"missing: product_id; unknown: till\n.*location_id, product_id, day, units"
    ):
        deliveries.put_table(root, "shop", DAY, "sales", parquet(rows))


def test_a_history_needs_dimensions_and_a_daily_delivery_does_not(root):
    deliveries.put_table(root, "shop", DAY, "sales", sales())
    with pytest.raises(DeliveryError, match="the history delivery lacks products, locations; there is sales"):
        deliveries.complete(root, "shop", DAY, "history", NOW)
    assert deliveries.complete(root, "shop", DAY, "daily", NOW).kind == "daily"


def test_nothing_staged_is_not_a_delivery(root):
    with pytest.raises(DeliveryError, match="lacks sales; there is nothing"):
        deliveries.complete(root, "shop", DAY, "daily", NOW)


def table(**columns: object) -> bytes:
    return parquet(pl.DataFrame({name: [value] for name, value in columns.items()}))


PRODUCTS = table(product_id="P001", category="food", department="dairy", unit="pieces")
LOCATIONS = table(location_id="S01", region="hills")


def send(root: str, kind: deliveries.Kind, **content: bytes) -> deliveries.Receipt:
    for name, rows in content.items():
        deliveries.put_table(root, "shop", DAY, name, rows)
    return deliveries.complete(root, "shop", DAY, kind, NOW)


def test_a_daily_delivery_cannot_replace_the_history_of_its_day(root):
    history = send(root, "history", sales=sales(), products=PRODUCTS, locations=LOCATIONS)
    with pytest.raises(
        DeliveryError, match=r"the whole history(.|\n)*is discarded(.|\n)*Put (.|\n)*again(.|\n)*as history"
    ):
        send(root, "daily", sales=sales(3.0))
    with pytest.raises(DeliveryError, match="would replace the whole history"):
        send(root, "daily")
    assert deliveries.latest(root, "shop", DAY) == history
    corrected = send(root, "history", products=table(product_id="P1", category="c", department="d", unit="pieces"))
    assert corrected.tables["sales"] == history.tables["sales"], "what was refused is not in a later delivery"


def test_a_history_replaces_a_daily_delivery_of_its_day_as_a_whole(root):
    send(root, "daily", sales=sales(), suppliers=table(supplier_id="V1"))
    history = send(root, "history", sales=sales(), products=PRODUCTS, locations=LOCATIONS)
    assert set(history.tables) == {"sales", "products", "locations"}


def test_a_correction_replaces_the_tables_that_it_brings_and_the_others_stand(root):
    first = send(root, "daily", sales=sales(2.0), suppliers=table(supplier_id="V1"))
    second = send(root, "daily", sales=sales(3.0))
    assert (second.sequence, list(second.tables)) == (2, ["sales", "suppliers"])
    assert second.tables["suppliers"] == first.tables["suppliers"]
    assert deliveries.scan(root, second, "sales").collect()["units"].item() == 3.0
    assert deliveries.scan(root, second, "suppliers").collect()["supplier_id"].item() == "V1"
    assert deliveries.scan(root, first, "sales").collect()["units"].item() == 2.0


def test_a_correction_without_a_required_table_has_that_of_the_delivery_before(root):
    send(root, "daily", sales=sales())
    corrected = send(root, "daily", suppliers=table(supplier_id="V1"))
    assert list(corrected.tables) == ["sales", "suppliers"]


def test_a_correction_is_known_by_all_of_its_content_brought_or_carried_over(root):
    send(root, "daily", sales=sales(2.0), suppliers=table(supplier_id="V1"))
    second = send(root, "daily", sales=sales(3.0))
    assert send(root, "daily", sales=sales(3.0)) == second
    assert send(root, "daily", suppliers=table(supplier_id="V1")) == second
    assert send(root, "daily", sales=sales(3.0), suppliers=table(supplier_id="V1")) == second
    assert send(root, "daily", sales=sales(2.0)).sequence == 3


def test_an_empty_table_takes_back_what_a_correction_would_keep(root):
    send(root, "daily", sales=sales(), suppliers=table(supplier_id="V1"))
    corrected = send(root, "daily", suppliers=parquet(pl.DataFrame(schema={"supplier_id": pl.String})))
    assert deliveries.scan(root, corrected, "suppliers").collect().is_empty()


def test_a_file_that_was_changed_is_not_carried_over_into_a_correction(root):
    send(root, "daily", sales=sales(), suppliers=table(supplier_id="V1"))
    overwrite(root, "shop/files/suppliers", table(supplier_id="V2"))
    with pytest.raises(DeliveryError, match="changed after it was accepted"):
        send(root, "daily", sales=sales(3.0))


def test_a_file_that_was_changed_after_acceptance_is_not_read(root):
    receipt = deliver(root, sales(2.0))
    overwrite(root, "shop/files/sales", sales(200.0))
    with pytest.raises(DeliveryError, match="changed after it was accepted"):
        deliveries.scan(root, receipt, "sales").collect()


def overwrite(root: str, folder: str, content: bytes) -> None:
    (name,) = storage.names(root, folder)
    storage.put(root, f"{folder}/{name}", content)


def test_a_table_that_was_not_delivered_cannot_be_read(root):
    with pytest.raises(DeliveryError, match="has no table 'stock'"):
        deliveries.scan(root, deliver(root, sales()), "stock")
