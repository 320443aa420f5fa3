"""`marketday deliver --from`: files of any format, from a folder, a web server or an object store, and the receipt."""

import datetime as dt
import functools
import gzip
import http.server
import threading
from pathlib import Path

import httpx
import obstore
import probe_service
import pytest
from bucket import serving
from obstore.store import from_url
from typer.testing import CliRunner

from marketday import cli, deliveries
from marketday.cli.sources import gathered
from marketday.client import StepServiceClient
from marketday.deliveries import Sent
from marketday.errors import DeliveryError, ServiceUnavailable

DAY = dt.date(2026, 3, 2)
FILES = {
    "locations.csv": b"location_id,region\nS1,hills\n",
    "products.ndjson.gz": gzip.compress(
        b'{"product_id": "P1", "category": "food", "department": "dairy", "unit": "pieces"}'
    ),
    "sales.csv.gz": gzip.compress(
        b"location_id;product_id;day;units\nS1;P1;2026-03-01;2\nS1;P1;2026-03-01;2\nS1;P9;2026-03-01;1\n"
    ),
    "READ.ME": b"not a table",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "drop"
    place.mkdir()
    for name, content in FILES.items():
        (place / name).write_bytes(content)
    return place


@pytest.fixture
def web(folder):
    """The folder's address on a web server."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def bucket(monkeypatch):
    """The URL of a folder in an object store with the same files."""
    with serving() as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        url = f"s3://bucket/drop-{id(monkeypatch)}/{DAY}"
        for name, content in FILES.items():
            obstore.put(from_url(url), name, content)
        yield url


def test_files_are_found_by_their_names_wherever_they_are(folder, web, bucket, tmp_path):
    into = tmp_path / "into"
    into.mkdir()
    everywhere = ([str(folder)], [bucket], [f"{web}/{name}" for name in FILES])
    for sources in everywhere:
        files = gathered(sources, into)
        assert [(file.table, file.sent) for file in files] == [
            ("locations", Sent("csv")),
            ("products", Sent("ndjson", "gzip")),
            ("sales", Sent("csv", "gzip")),
        ]
        assert [file.path.read_bytes() for file in files] == [FILES[file.path.name] for file in files]
    assert files[-1].headers == {"Content-Type": "text/csv", "Content-Encoding": "gzip"}


def test_what_cannot_be_delivered_is_said(folder, web, tmp_path):
    (folder / "sales.parquet").write_bytes(b"")
    with pytest.raises(DeliveryError, match=r"two files of sales: sales\.csv\.gz and sales\.parquet"):
        gathered([str(folder)], tmp_path)
    with pytest.raises(DeliveryError, match=r"no table in .*READ\.ME, only READ\.ME"):
        gathered([str(folder / "READ.ME")], tmp_path)
    with pytest.raises(DeliveryError, match="There is no nowhere"):
        gathered(["nowhere"], tmp_path)
    with pytest.raises(ServiceUnavailable, match=r"stock\.csv cannot be fetched"):
        gathered([f"{web}/stock.csv"], tmp_path)


def test_a_delivery_from_files_prints_where_every_row_went(folder, settings, monkeypatch):
    with probe_service.running(settings) as service:
        monkeypatch.setenv("MARKETDAY_SERVICE_URL", service.url)
        command = ["deliver", "simulated", "--day", f"{DAY}", "--from", str(folder)]
        done = CliRunner().invoke(cli.app, command)
        assert done.exit_code == 0, done.output
        lines = {line.split()[0]: line.split() for line in done.output.splitlines() if line.strip()}
        assert lines["sales"] == ["sales", "3", "1", "1", "1", "unknown_product", "1"]
        assert lines["products"] == ["products", "1", "1", "0", "0"]
        correction = folder / "sales.csv"
        correction.write_bytes(b"location_id;product_id;day;units\nS1;P1;2026-03-01;3\n")
        done = CliRunner().invoke(cli.app, [*command[:-1], str(correction)])
        assert done.exit_code == 0, done.output
        assert "0 added, 1 removed, 1 changed" in done.output
        receipt = deliveries.latest(settings.deliveries_url, "simulated", DAY)
        assert (receipt.sequence, receipt.kind) == (2, "history")


def test_a_receipt_of_the_same_bytes_in_another_charset_is_somebody_elses(folder, settings, monkeypatch):
    sales = folder / "sales.csv"
    sales.write_bytes("location_id;product_id;day;units\nS1;Käse;2026-03-01;3\n".encode("latin-1"))
    with probe_service.running(settings) as service:
        monkeypatch.setenv("MARKETDAY_SERVICE_URL", service.url)
        complete = StepServiceClient.complete_delivery

        def be_overtaken(client, retailer, day, kind):
            url = f"{service.url}/retailers/{retailer}/deliveries/{day}/sales"
            as_cp1252 = {"Content-Type": "text/csv; charset=cp1252"}
            httpx.put(url, content=sales.read_bytes(), headers=as_cp1252, trust_env=False).raise_for_status()
            return complete(client, retailer, day, kind)

        monkeypatch.setattr(StepServiceClient, "complete_delivery", be_overtaken)
        sources = [str(folder / name) for name in ("sales.csv", "locations.csv", "products.ndjson.gz")]
        command = ["deliver", "simulated", "--day", f"{DAY}", *(f"--from={source}" for source in sources)]
        done = CliRunner().invoke(cli.app, command)
        assert done.exit_code == 1
        assert "has other rows of sales than were sent" in done.output
        monkeypatch.setattr(StepServiceClient, "complete_delivery", complete)
        done = CliRunner().invoke(cli.app, command)
        assert done.exit_code == 0, done.output
