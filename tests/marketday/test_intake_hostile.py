"""Files that are made to hurt are refused within 5 s and 300 MB, and hurt nobody but the process that reads them."""

import datetime as dt
import io
import time
from pathlib import Path

import hostile_files
import numpy as np
import polars as pl
import pytest

from marketday import deliveries
from marketday.deliveries import Sent, reports, storage
from marketday.errors import DeliveryError, ServiceUnavailable
from marketday.service import bounded, intake, limits, process
from marketday.settings import ResourceClass, Settings

SECONDS = 5.0
MEMORY = 300 * 10**6
SALES = deliveries.table_named("sales")
SOUND = pl.DataFrame({"location_id": ["S01"], "product_id": ["P1"], "day": [dt.date(2025, 3, 2)], "units": [2.0]})


@pytest.fixture(scope="module", autouse=True)
def fork_server():
    process.start_fork_server(["marketday.service.intake"], threads=2)


@pytest.fixture
def read(tmp_path, monkeypatch):
    """Read a file as the service does; leaves the seconds and the bytes of memory that it took."""
    settings = Settings(home=tmp_path)
    assert settings.delivery_memory * limits.GIB < MEMORY, "the kernel refuses more, also between two looks"
    watches: list[limits.Watch] = []

    class Kept(limits.Watch):
        def __init__(self, limit: ResourceClass) -> None:
            super().__init__(limit)
            watches.append(self)

    monkeypatch.setattr(limits, "Watch", Kept)

    def read_file(content: bytes, sent: Sent) -> deliveries.TableReceipt:
        (tmp_path / "sent").write_bytes(content)
        started = time.monotonic()
        try:
            return intake.read_file(settings, SALES, sent, tmp_path / "sent", tmp_path / "kept")
        finally:
            read_file.seconds, read_file.memory = time.monotonic() - started, watches[-1].peak

    return read_file


def parquet(rows: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    rows.write_parquet(buffer)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("make", "sent", "rule"),
    [
        pytest.param(hostile_files.gzip_bomb, Sent("csv", "gzip"), "format", id="10 MB of gzip, one line of 10 GB"),
        pytest.param(hostile_files.zstd_bomb, Sent("csv", "zstd"), "limit_ratio", id="1 MB of zstd, rows of 10 GB"),
        pytest.param(hostile_files.gzip_bomb, Sent("parquet"), "limit_ratio", id="a bomb that says it is Parquet"),
        pytest.param(hostile_files.gzip_bomb, Sent("ndjson"), "format", id="a bomb that says it is NDJSON"),
        pytest.param(hostile_files.gzip_bomb, Sent("arrow"), "batch_size", id="a bomb that says it is Arrow"),
        pytest.param(hostile_files.endless_quote, Sent("csv"), "format", id="a quote that nobody closes"),
        pytest.param(lambda: parquet(hostile_files.wide()), Sent(), "limit_columns", id="Parquet of 1,000 columns"),
        pytest.param(lambda: hostile_files.wide().write_csv().encode(), Sent(), "limit_columns", id="CSV of 1,000"),
        pytest.param(lambda: hostile_files.long_footer(parquet(SOUND)), Sent(), "format", id="a footer of 4 GB"),
        pytest.param(hostile_files.many_row_groups, Sent(), "format", id="a footer of 200,000 row groups"),
        pytest.param(
            lambda: hostile_files.crooked_parquet(page=1 << 20, rows=10**12), Sent(), "limit_rows", id="10^12 rows"
        ),
        pytest.param(
            lambda: hostile_files.crooked_parquet(page=1 << 20, rows=10**7), Sent(), "format", id="rows that are not"
        ),
        pytest.param(
            lambda: hostile_files.crooked_parquet(page=1 << 20, rows=1_000), Sent(), "format", id="rows left out"
        ),
        pytest.param(
            lambda: hostile_files.crooked_parquet(page=1 << 20, claimed=2**31 - 1),
            Sent(),
            "limit_process",
            id="a page that claims 2 GB",
        ),
        pytest.param(
            lambda: hostile_files.crooked_parquet(page=1 << 28, claimed=800), Sent(), "format", id="a page of 800 B"
        ),
        pytest.param(hostile_files.parquet_page_bomb, Sent(), "limit_rows", id="pages that unfold to 10 GB"),
        pytest.param(hostile_files.repeated_text, Sent(), "text_length", id="a text of 1 MB, two million times"),
        pytest.param(hostile_files.arrow_bomb, Sent(), "limit_process", id="an Arrow batch of 3 GB"),
    ],
)  # fmt: skip
def test_a_hostile_file_is_refused_in_time_and_in_little_memory(read, make, sent, rule):
    with pytest.raises(DeliveryError) as refused:
        read(make(), sent)
    assert refused.value.where["rule"] == rule, refused.value
    assert read.seconds < SECONDS
    assert read.memory < MEMORY


def test_a_sound_file_is_read_after_all_that(read):
    assert read(parquet(SOUND), Sent()).rows == 1


def sleep(seconds: float) -> dict:
    time.sleep(seconds)
    return {"slept": seconds}


def spin() -> dict:
    while True:
        pass


def grab(size: int) -> dict:
    return {"size": len(bytearray(size))}


def crash() -> dict:
    import ctypes

    return {"read": ctypes.string_at(0)}


def refuse() -> dict:
    raise DeliveryError("not this", hint="that", where={"row": 7})


SMALL = ResourceClass(cores=1, memory_gib=0.1, seconds=1)
PATIENT = ResourceClass(cores=1, memory_gib=0.1, seconds=60)
"""For work that ends by itself, on a machine that has too much to do."""


def fill() -> dict:
    raise OSError(28, "No space left on device", "/some/path/of/ours")


def test_work_gives_what_it_returns_or_raises_what_it_raised():
    assert bounded.run("work", sleep, PATIENT, seconds=0.01) == {"slept": 0.01}
    with pytest.raises(DeliveryError, match="not this") as raised:
        bounded.run("work", refuse, PATIENT)
    assert (raised.value.hint, raised.value.where) == ("that", {"row": 7})


@pytest.mark.parametrize(
    ("work", "arguments", "says"),
    [
        (sleep, {"seconds": 60}, "took more than 1 s"),
        (spin, {}, "took more than 1 s"),
        (grab, {"size": 1 << 30}, r"needed more than 0\.1 GiB"),
        (crash, {}, "was ended by SIGSEGV"),
    ],
)
def test_work_that_goes_beyond_its_bounds_ends_alone(work, arguments, says):
    bounds = SMALL if "1 s" in says else PATIENT
    with pytest.raises(bounded.Ended, match=says):
        bounded.run("work", work, bounds, **arguments)


def test_a_full_disk_is_no_fault_of_the_file(read, tmp_path):
    (tmp_path / "sent").write_bytes(parquet(SOUND))
    with pytest.raises(ServiceUnavailable, match="No space left on device") as refused:
        intake.read_file(Settings(home=tmp_path), SALES, Sent(), tmp_path / "sent", Path("/dev/full"))
    assert refused.value.retry_after == 30
    with pytest.raises(ServiceUnavailable, match=r"^work: No space left on device$"):
        bounded.run("work", fill, PATIENT)


def test_to_show_one_refused_row_reads_little_of_them(tmp_path, monkeypatch):
    settings = Settings(home=tmp_path, retailers=Path(__file__).resolve().parents[2] / "include" / "retailers")
    numbers = np.random.default_rng(1).permutation(30_000)
    names = [f"{number:x}-{number**3}" for number in numbers.tolist()]
    rows = pl.DataFrame({"product_id": names}).with_columns(
        location_id=pl.lit("S1"), day=dt.date(2025, 3, 2), units=1.0
    )
    root, day = settings.deliveries_url, dt.date(2025, 3, 3)
    deliveries.put_table(root, "simulated", day, "sales", parquet(rows))
    receipt = deliveries.complete(root, "simulated", day, "daily", dt.datetime.now(dt.UTC))
    assert intake.judge(settings, receipt, tmp_path).checks["sales"].quarantined == {"unknown_location": 30_000}
    size, fetched = (tmp_path / "quarantine.parquet").stat().st_size, []
    read = storage.Reader.read
    monkeypatch.setattr(
        storage.Reader, "read", lambda self, size=-1: fetched.append(content := read(self, size)) or content
    )
    page = reports.refused(root, receipt, 20_000, 1)
    assert (page.total, [row["row"] for row in page.rows]) == (30_000, [20_000])
    assert sum(map(len, fetched)) < size / 3


def test_where_no_process_can_be_started_the_sender_may_try_again(monkeypatch):
    def fail(*_: object, **__: object) -> None:
        raise OSError(11, "no more processes")

    monkeypatch.setattr(bounded, "JobProcess", fail)
    with pytest.raises(ServiceUnavailable, match="no more processes"):
        bounded.run("work", sleep, SMALL, seconds=0)
