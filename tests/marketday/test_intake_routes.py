"""The delivery API over real HTTP: every format in, and a receipt that says what became of every row."""

import datetime as dt
import gzip
import io
import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import polars as pl
import probe_service
import pyarrow as pa
import pytest
from bucket import serving
from probe_service import until

from marketday import deliveries, tables
from marketday.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
DAY = dt.date(2026, 3, 2)
SALES = "location_id;product_id;day;units\nS1;P1;2026-03-01;2\nS1;P2;2026-03-01;1,5\nS1;P9;2026-03-01;1\n"
HISTORY = {
    "locations": b"location_id,region\nS1,hills\n",
    "products": b"product_id,category,department,unit\nP1,food,dairy,pieces\nP2,food,dairy,weight\n",
    "sales": SALES.encode(),
}
PIECES = [b"x" * (1 << 19)] * 3
"""A body that does not say how long it is."""
NDJSON = {"Content-Type": "application/x-ndjson"}


@pytest.fixture(scope="module", params=["folder", "bucket"])
def service(request, tmp_path_factory):
    """A service that keeps deliveries in a folder, and one that keeps them in a bucket."""
    settings = Settings(home=tmp_path_factory.mktemp("intake"), retailers=ROOT / "include" / "retailers")
    environment = {"MARKETDAY_DELIVERY_BYTES": str(1 << 20), "MARKETDAY_DELIVERY_RATE": "0"}
    if request.param == "folder":
        with probe_service.running(settings, environment=environment) as service:
            yield service
    else:
        with serving() as store:
            environment |= {"MARKETDAY_DELIVERIES": "s3://bucket/deliveries", **store}
            with probe_service.running(settings, environment=environment) as service:
                yield service


@pytest.fixture
def http(service):
    with httpx.Client(base_url=service.url, trust_env=False, timeout=30) as client:
        yield client


@pytest.fixture
def day(request) -> str:
    """The address of a day that nobody else delivers for."""
    day.used = getattr(day, "used", 0) + 1
    return f"/retailers/simulated/deliveries/{DAY + dt.timedelta(days=day.used)}"


def deliver(http, day, kind="history", **content):
    for table, body in content.items():
        answer = http.put(f"{day}/{table}", content=body)
        assert answer.status_code == 200, answer.text
    answer = http.post(f"{day}/complete", params={"kind": kind})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_the_receipt_says_where_every_row_went(http, day):
    receipt = deliver(http, day, **HISTORY)
    assert receipt["checks"]["sales"] == {
        "received": 3,
        "accepted": 2,
        "collapsed": 0,
        "quarantined": {"unknown_product": 1},
    }
    assert receipt["checks"]["products"]["accepted"] == 2
    assert (receipt["sequence"], receipt["changes"], receipt["note"]) == (1, None, "")
    assert http.get(day).json() == receipt
    assert http.get(day, params={"sequence": 1}).json() == receipt
    assert http.get(day, params={"sequence": 2}).status_code == 404


def test_what_was_refused_is_paged(http, day):
    rows = [{"location_id": "S1", "product_id": f"X{n}", "day": "2026-03-01", "units": n} for n in range(25)]
    receipt = deliver(http, day, **{**HISTORY, "sales": "\n".join(map(json.dumps, rows)).encode()})
    pages = [http.get(f"{day}/quarantine", params={"offset": n, "limit": 10}).json() for n in (0, 10, 20, 30)]
    assert [(page["total"], page["offset"], len(page["rows"])) for page in pages] == [
        (25, 0, 10),
        (25, 10, 10),
        (25, 20, 5),
        (25, 30, 0),
    ]
    refused = [row for page in pages for row in page["rows"]]
    assert [row["row"] for row in refused] == list(range(25))
    assert {(row["table"], row["reason"]) for row in refused} == {("sales", "unknown_product")}
    assert json.loads(refused[3]["content"])["product_id"] == "X3"
    assert pages[0]["delivery"] == receipt["id"]


def test_a_correction_says_what_it_changes_and_nothing_else_does(http, day):
    first = deliver(http, day, **HISTORY)
    assert deliver(http, day, **HISTORY) == first, "the same bytes twice change nothing"
    sales = (
        SALES.replace("S1;P1;2026-03-01;2\n", "S1;P1;2026-03-01;2.0\n").replace("1,5", "1,75") + "S1;P1;2026-02-28;4\n"
    )
    second = deliver(http, day, sales=sales.replace("S1;P9;2026-03-01;1\n", "").encode())
    assert (second["sequence"], second["tables"]["products"]) == (2, first["tables"]["products"])
    assert second["changes"] == {
        "locations": {"added": 0, "removed": 0, "changed": 0},
        "products": {"added": 0, "removed": 0, "changed": 0},
        "sales": {"added": 1, "removed": 1, "changed": 1},
    }
    assert http.get(day, params={"sequence": 1}).json() == first


def test_every_format_is_taken_by_its_media_type(http, day):
    rows = pl.read_csv(io.StringIO(SALES.replace(",", ".")), separator=";", try_parse_dates=True)
    columnar, stream = io.BytesIO(), io.BytesIO()
    rows.write_parquet(columnar)
    with pa.ipc.new_stream(stream, rows.to_arrow().schema) as writer:
        writer.write_table(rows.to_arrow())
    for content, media_type, coding in (
        (columnar.getvalue(), "application/vnd.apache.parquet", ""),
        (stream.getvalue(), "application/vnd.apache.arrow.stream", ""),
        (pa.compress(stream.getvalue(), "zstd", asbytes=True), "application/vnd.apache.arrow.stream", "zstd"),
        (gzip.compress(SALES.encode("latin-1")), "text/csv; charset=latin-1", "gzip"),
        (b'{"location_id": "S1"}\n{}\n{}', "application/x-ndjson", ""),
    ):
        headers = {"Content-Type": media_type, "Content-Encoding": coding}
        answer = http.put(f"{day}/sales", content=content, headers=headers)
        assert (answer.status_code, answer.json().get("rows")) == (200, 3), answer.text


def test_a_refusal_names_table_column_row_rule_and_examples(http, day):
    problem = http.put(f"{day}/sales", content=b'{"units": 1}\n{"units": [2]}\n', headers=NDJSON)
    assert problem.headers["Content-Type"] == "application/problem+json"
    named = {name: problem.json()[name] for name in ("status", "table", "column", "row", "rule")}
    assert named == {"status": 422, "table": "sales", "column": "units", "row": 1, "rule": "format"}
    for line in (b'{"product_id": "P\\ud83d"}', b'{"\\ud83d": "S"}', '{"größe": 1}'.encode()):
        half = http.put(f"{day}/sales", content=b"{}\n" + line, headers=NDJSON)
        assert (half.status_code, half.json()["row"], half.content.isascii()) == (422, 1, True), half.text
    ragged = http.put(f"{day}/sales", content=SALES.encode() + b"S1;P3\n" * 30).json()
    assert (ragged["rule"], ragged["row"], len(ragged["examples"])) == ("cells", 3, 10)


@pytest.mark.parametrize(
    ("content", "headers", "answer"),
    [
        (b"x" * (1 << 20), {}, (422, "format")),
        (b"x" * ((1 << 20) + 1), {}, (413, "limit_body")),
        (PIECES, {}, (413, "limit_body")),
        (b"", {"Content-Type": "application/pdf"}, (415, "unsupported")),
        (b"", {"Content-Encoding": "br"}, (415, "unsupported")),
        (SALES.encode(), {"Content-Encoding": "gzip"}, (422, "coding")),
    ],
)  # fmt: skip
def test_what_is_not_taken_has_its_own_status(http, day, content, headers, answer):
    body = iter(content) if content is PIECES else content
    problem = http.put(f"{day}/sales", content=body, headers={"Content-Type": "text/csv", **headers})
    assert (problem.status_code, problem.json()["rule"]) == answer


def test_an_upload_that_breaks_off_leaves_nothing_and_can_be_repeated(http, service, day):
    address = httpx.URL(service.url)
    with socket.create_connection((address.host, address.port)) as line:
        head = f"PUT {day}/sales HTTP/1.1\r\nHost: {address.host}\r\nContent-Length: {len(SALES)}\r\n\r\n"
        line.sendall(head.encode() + SALES.encode()[:40])
        incoming = service.output.parent / "incoming"
        assert until(lambda: any(incoming.rglob("sent")), 5)
    assert until(lambda: not any(incoming.iterdir()), 5)
    assert http.get(day).status_code == 404
    assert http.post(f"{day}/complete", params={"kind": "daily"}).status_code == 422
    assert deliver(http, day, kind="daily", sales=SALES.encode())["sequence"] == 1


def test_whoever_waits_for_a_delivery_has_it_at_once(http, service, day):
    def waited() -> tuple[int, float]:
        with httpx.Client(base_url=service.url, trust_env=False, timeout=30) as own:
            return own.get(day, params={"wait": 20}).status_code, time.monotonic()

    assert http.get(day, params={"wait": 0.2}).status_code == 404
    with ThreadPoolExecutor() as pool:
        waiting = [pool.submit(waited) for _ in range(3)]
        time.sleep(0.3)
        deliver(http, day, kind="daily", sales=SALES.encode())
        done = time.monotonic()
        assert [(status, at < done + 1) for status, at in (each.result() for each in waiting)] == [(200, True)] * 3


def test_the_tables_are_described_for_whoever_writes_them(http):
    listed = http.get("/retailers/simulated/tables").json()["tables"]
    assert [each["name"] for each in listed] == [table.name for table in tables.DELIVERED]
    for each in listed:
        schema = http.get(each["href"])
        assert schema.headers["Content-Type"] == "application/schema+json"
        assert schema.json()["title"] == each["name"]
        arrow = http.get(each["href"], params={"f": "arrow"})
        assert pa.ipc.read_schema(pa.py_buffer(arrow.content)).names == tables.get(each["name"]).delivered_schema.names
    assert http.get("/retailers/simulated/tables/forecasts").status_code == 404


def test_the_description_of_the_api_has_bodies_and_problems(http):
    described = http.get("/openapi.json").json()["paths"]
    put = described["/retailers/{retailer}/deliveries/{day}/{table}"]["put"]
    assert {"application/vnd.apache.parquet", "text/csv", "application/x-ndjson"} <= set(put["requestBody"]["content"])
    for path, methods in described.items():
        for method, operation in methods.items():
            assert operation["summary"], (path, method)
            assert "application/problem+json" in operation["responses"]["4XX"]["content"], (path, method)


def test_a_delivery_on_another_replica_is_seen_within_seconds(tmp_path):
    shared = {"MARKETDAY_DELIVERIES": str(tmp_path / "shared"), "MARKETDAY_DELIVERY_RATE": "0"}
    one, two = (
        Settings(
            home=tmp_path / name, retailers=ROOT / "include" / "retailers", jobs_url=f"sqlite:///{tmp_path}/jobs.db"
        )
        for name in ("one", "two")
    )
    with (
        probe_service.running(one, environment=shared) as here,
        probe_service.running(two, environment=shared) as there,
        ThreadPoolExecutor() as pool,
        httpx.Client(base_url=here.url, trust_env=False, timeout=30) as http,
    ):
        address = f"/retailers/simulated/deliveries/{DAY}"
        waiting = pool.submit(httpx.get, f"{there.url}{address}", params={"wait": 30}, timeout=60, trust_env=False)
        receipt = deliver(http, address, kind="daily", sales=SALES.encode())
        started = time.monotonic()
        assert waiting.result().json()["id"] == receipt["id"]
        assert time.monotonic() - started < 5
        assert deliveries.latest(shared["MARKETDAY_DELIVERIES"], "simulated", DAY).id == receipt["id"]
