"""The integrity check finds every file that is missing, altered or surplus, and nothing else."""

import datetime as dt
import os
import shutil
from pathlib import Path

import pytest
from mornings import FIRST, SHOP, morning, predict, publish, sell

from marketday.tables import SALES
from marketday.warehouse import Warehouse
from marketday.warehouse.integrity import Finding, check, remove_leftovers

DAYS = [FIRST + dt.timedelta(days=i) for i in range(0, 24, 4)]


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A warehouse with six mornings, one of them unpublished, and a correction to the first."""
    folder = tmp_path_factory.mktemp("grown")
    warehouse = Warehouse(str(folder))
    for day in DAYS:
        morning(warehouse, day, published=day != DAYS[1])
    sell(warehouse, DAYS[0], units=7.0)
    return folder


@pytest.fixture
def shop(grown: Path, tmp_path: Path) -> Path:
    """A copy of the shop's folder, to be spoiled."""
    shutil.copytree(grown, tmp_path / "warehouse")
    return tmp_path / "warehouse" / SHOP


def found(shop: Path, *, deep: bool = False) -> list[Finding]:
    _, checks = check(Warehouse(str(shop.parent)), SHOP, deep=deep)
    return [finding for checked in checks for finding in checked.findings]


def data_files(shop: Path, table: str) -> list[Path]:
    return sorted((shop / table).glob("run_month=*/*.parquet"), key=lambda path: path.stat().st_mtime_ns)


@pytest.mark.parametrize("deep", [False, True])
def test_a_warehouse_as_it_was_written_is_clean(shop, deep):
    assert found(shop, deep=deep) == []


def test_a_missing_file_is_found_also_where_only_a_published_morning_needs_it(shop):
    first = data_files(shop, "sales")[0]
    first.unlink()
    [finding] = found(shop)
    assert (finding.kind, finding.place) == ("missing", "sales")
    assert finding.path == first.relative_to(shop.parent).as_posix()


def test_a_file_of_another_size_is_found(shop):
    with data_files(shop, "forecasts")[2].open("ab") as file:
        file.write(b"x")
    [finding] = found(shop)
    assert (finding.kind, finding.place) == ("altered", "forecasts")
    assert "bytes" in finding.message


@pytest.mark.parametrize("which", [0, 3, -1])
def test_a_changed_row_is_found_by_the_deep_check_even_where_the_size_is_the_same(shop, which):
    file = data_files(shop, "sales")[which]
    file.write_bytes(forged(shop.parent / "other", DAYS[max(0, which)], file.stat().st_size))
    assert found(shop) == []
    assert {(finding.kind, finding.place) for finding in found(shop, deep=True)} == {("altered", "sales")}


def forged(folder: Path, day: dt.date, size: int) -> bytes:
    """Return a file of other sales of the day that is as large."""
    for units in range(20, 40):
        sell(Warehouse(str(folder)), day, units=units)
        for path in data_files(folder / SHOP, "sales"):
            if path.stat().st_size == size:
                return path.read_bytes()
    raise AssertionError("no forgery is as large as the original")


def test_a_file_that_cannot_be_read_any_more_is_found_by_the_deep_check(shop):
    file = data_files(shop, "sales")[2]
    file.write_bytes(bytes(file.stat().st_size))
    assert found(shop) == []
    [finding] = found(shop, deep=True)
    assert (finding.kind, finding.path) == ("altered", file.relative_to(shop.parent).as_posix())


def test_a_file_that_tells_what_is_published_and_cannot_be_read_is_found_at_once(shop):
    file = data_files(shop, "runs")[2]
    file.write_bytes(bytes(file.stat().st_size))
    [finding] = found(shop)
    assert (finding.kind, finding.path) == ("altered", file.relative_to(shop.parent).as_posix())


def test_a_file_that_nobody_has_committed_is_a_leftover_and_one_of_another_name_is_surplus(shop):
    file = data_files(shop, "sales")[0]
    shutil.copy(file, file.with_name("part-00000-abc-c000.zstd.parquet"))
    (file.parent / "8cdd5dba-2a4e-4ae3-8b5e-0f38aa6b5a60.zstd.parquet#1").write_bytes(b"half")
    (file.parent / "notes.txt").write_text("by hand")
    (shop / "sales" / "_delta_log" / "00000000000000000001.json.bak").write_text("{}")
    by_kind = {}
    for finding in found(shop, deep=True):
        by_kind.setdefault(finding.kind, set()).add(Path(finding.path).name)
    assert by_kind == {
        "leftover": {"part-00000-abc-c000.zstd.parquet", "8cdd5dba-2a4e-4ae3-8b5e-0f38aa6b5a60.zstd.parquet#1"},
        "surplus": {"notes.txt", "00000000000000000001.json.bak"},
    }


def test_only_old_leftovers_are_removed_and_nothing_else(shop):
    warehouse, now = Warehouse(str(shop.parent)), dt.datetime.now(dt.UTC)
    file = data_files(shop, "sales")[0]
    old, young, foreign = (file.with_name(name) for name in ("part-old.parquet", "part-young.parquet", "notes.txt"))
    for path in (old, young, foreign):
        path.write_bytes(b"x")
    for path in (old, foreign):
        os.utime(path, (0, 0))
    assert remove_leftovers(warehouse, SHOP, now=now) == 1
    assert (old.exists(), young.exists(), foreign.exists()) == (False, True, True)
    assert remove_leftovers(warehouse, SHOP, now=now) == 0


@pytest.mark.parametrize("version", [2, 0])
def test_a_lost_or_spoilt_commit_is_found_and_nothing_is_taken_for_a_leftover_then(shop, version):
    commit = shop / "sales" / "_delta_log" / f"{version:020}.json"
    commit.unlink()
    assert [finding.kind for finding in found(shop)] == ["missing"]
    commit.write_text('{"add": ')
    assert [finding.kind for finding in found(shop)] == ["altered"]
    assert remove_leftovers(Warehouse(str(shop.parent)), SHOP, now=dt.datetime.max.replace(tzinfo=dt.UTC)) == 0


def test_a_checkpoint_that_tells_another_story_than_the_commits_is_found(shop):
    from deltalake import DeltaTable

    DeltaTable(str(shop / "sales")).create_checkpoint()
    assert found(shop) == []
    [checkpoint] = (shop / "sales" / "_delta_log").glob("*.checkpoint.parquet")
    DeltaTable(str(shop / "forecasts")).create_checkpoint()
    [other] = (shop / "forecasts" / "_delta_log").glob("*.checkpoint.parquet")
    shutil.copy(other, checkpoint)
    assert [(finding.kind, finding.place) for finding in found(shop)] == [("altered", "sales")]


def test_a_version_that_a_published_morning_refers_to_must_exist(shop):
    warehouse = Warehouse(str(shop.parent))
    publish(warehouse, DAYS[2], predict(warehouse, DAYS[2], mean=9.0)._replace(version=99))
    [finding] = found(shop)
    assert (finding.kind, finding.place) == ("missing", "forecasts")
    assert "version 99" in finding.message


def test_rows_of_a_table_without_any_are_no_finding(shop):
    warehouse = Warehouse(str(shop.parent))
    warehouse.write(SHOP, SALES, warehouse.scan(SHOP, SALES).collect().clear().drop("run_day"), run_day=DAYS[0])
    assert found(shop, deep=True) == []
