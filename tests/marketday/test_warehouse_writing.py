"""A write puts its rows in the place of the day's in one commit, whoever else writes, compacts or dies meanwhile."""

import datetime as dt
import multiprocessing
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError

from marketday import tables
from marketday.errors import WarehouseError
from marketday.warehouse import NOTHING_YET, Rows, Warehouse, Written, files, writing

STAGED = tables.STAGED["sales"]
MONDAY, TUESDAY, WEDNESDAY = (dt.date(2025, 3, day) for day in (3, 4, 5))


def sales(location: str, *units: float) -> pl.DataFrame:
    """One row per product of a location."""
    return pl.DataFrame(
        {"location_id": location, "product_id": [f"p{n:02}" for n in range(len(units))], "day": MONDAY, "units": units},
        schema_overrides={"units": pl.Float64},
    )


def write(warehouse: Warehouse, rows, run_day: dt.date = TUESDAY) -> Written:
    return warehouse.write("r", tables.SALES, rows, run_day=run_day)


def stored(warehouse: Warehouse, run_day: dt.date = TUESDAY) -> list[tuple[str, float]]:
    rows = warehouse.scan("r", tables.SALES).filter(pl.col("run_day") == run_day)
    return sorted(rows.select("location_id", "units").collect().iter_rows())


def compact(warehouse: Warehouse, table: tables.Table = tables.SALES) -> None:
    DeltaTable(f"{warehouse.url}/r/{table.name}").optimize.compact()


def data_files(warehouse: Warehouse) -> set[Path]:
    return set(Path(warehouse.url).rglob("*.parquet"))


def test_many_frames_are_one_version_and_the_same_as_one(warehouse: Warehouse):
    frames = [sales("a", 1, 2), sales("b", 3), sales("c", 4, 5)]
    written = write(warehouse, iter(frames))
    assert stored(warehouse) == [("a", 1), ("a", 2), ("b", 3), ("c", 4), ("c", 5)]
    assert (written.version, written.rows) == (1, 5), "after the version that made the table"
    there = data_files(warehouse)
    assert write(warehouse, pl.concat(frames)) == written
    assert write(warehouse, [pl.concat(frames[:2]), frames[2].clear(), frames[2]]) == written
    assert data_files(warehouse) == there, "what was not needed after all is taken away"


@pytest.mark.parametrize(
    ("frames", "complaint"),
    [
        ([sales("b", 1), sales("a", 1)], "do not come in the order of their key"),
        ([sales("a", 1), sales("a", 1)], "occurs twice"),
        ([sales("a", 1), sales("b", 1).drop("units")], r"missing columns \[units\]"),
    ],
)
def test_frames_that_do_not_go_together_leave_nothing_visible(warehouse: Warehouse, frames, complaint: str):
    with pytest.raises(WarehouseError, match=complaint):
        write(warehouse, frames)
    assert warehouse.version("r", tables.SALES) == NOTHING_YET


def stage(warehouse: Warehouse, rows, run_day: dt.date = TUESDAY) -> Written:
    return warehouse.write("r", STAGED, rows, run_day=run_day)


def staged_day(warehouse: Warehouse, run_day: dt.date = TUESDAY) -> Rows:
    return warehouse.stored_day("r", STAGED, run_day, warehouse.version("r", STAGED))


def test_a_stored_day_is_copied_into_a_table_of_the_same_columns(warehouse: Warehouse):
    stage(warehouse, [sales("a", 1, 2), sales("b", 3)])
    stage(warehouse, sales("a", 9), WEDNESDAY)
    sources = {path.read_bytes() for path in data_files(warehouse)}
    copied = write(warehouse, staged_day(warehouse))
    assert stored(warehouse) == [("a", 1), ("a", 2), ("b", 3)]
    assert {path.read_bytes() for path in Path(warehouse.url).rglob("sales/**/*.parquet")} < sources
    there = data_files(warehouse)
    assert write(warehouse, pl.concat([sales("a", 1, 2), sales("b", 3)])) == copied, "hash and version of the same rows"
    assert write(warehouse, staged_day(warehouse)) == copied
    assert data_files(warehouse) == there, "what was not needed after all is taken away"
    stage(warehouse, sales("b", 4))
    write(warehouse, staged_day(warehouse))
    assert stored(warehouse) == [("b", 4)]
    compact(warehouse)
    assert stored(warehouse) == [("b", 4)], "its statistics are those of the rows"


def test_a_stored_day_without_rows_clears_the_day(warehouse: Warehouse):
    write(warehouse, sales("a", 1))
    assert write(warehouse, staged_day(warehouse)).rows == 0, "nothing was ever staged"
    assert stored(warehouse) == []
    stage(warehouse, sales("a", 1), WEDNESDAY)
    write(warehouse, sales("a", 1))
    assert write(warehouse, staged_day(warehouse)).rows == 0, "only another day was"
    assert stored(warehouse) == []


def test_a_stored_day_in_a_compacted_file_is_read_and_written_anew(warehouse: Warehouse):
    for day, units in ((TUESDAY, 2), (WEDNESDAY, 3)):
        stage(warehouse, sales("a", units), day)
    compact(warehouse, STAGED)
    written = write(warehouse, staged_day(warehouse))
    assert (stored(warehouse), written.rows) == ([("a", 2)], 1)
    assert stored(warehouse, WEDNESDAY) == []


def test_a_stored_day_is_that_of_its_version(warehouse: Warehouse):
    first = stage(warehouse, sales("a", 1))
    stage(warehouse, sales("a", 2))
    write(warehouse, warehouse.stored_day("r", STAGED, TUESDAY, first.version))
    assert stored(warehouse) == [("a", 1)]


def test_a_writer_that_fails_halfway_leaves_the_day_as_it_was(warehouse: Warehouse):
    before = write(warehouse, sales("a", 1))

    def broken():
        yield sales("a", 7)
        yield sales("b", 7)
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        write(warehouse, broken())
    assert stored(warehouse) == [("a", 1)]
    assert warehouse.version("r", tables.SALES) == before.version


def test_a_day_in_a_compacted_file_is_replaced_and_its_neighbours_stay(warehouse: Warehouse):
    for day, units in ((MONDAY, 1), (TUESDAY, 2), (WEDNESDAY, 3)):
        write(warehouse, sales("a", units), day)
    compact(warehouse)
    again = write(warehouse, sales("a", 2), TUESDAY)
    assert again.version == warehouse.version("r", tables.SALES) == 4, "the same rows are known to be there"
    write(warehouse, [sales("a", 8), sales("b", 9)], TUESDAY)
    assert [stored(warehouse, day) for day in (MONDAY, TUESDAY, WEDNESDAY)] == [
        [("a", 1)],
        [("a", 8), ("b", 9)],
        [("a", 3)],
    ]
    write(warehouse, sales("a"), WEDNESDAY)
    assert stored(warehouse, WEDNESDAY) == []
    assert stored(warehouse, MONDAY) == [("a", 1)]


def test_a_compaction_in_between_does_not_bring_old_rows_back(warehouse: Warehouse, monkeypatch):
    write(warehouse, sales("a", 1), TUESDAY)
    write(warehouse, sales("a", 2), WEDNESDAY)
    looked = files.holding

    def holding_then_compacted(delta, part):
        found = looked(delta, part)
        if delta.version() == 2:
            compact(warehouse)
        return found

    monkeypatch.setattr(files, "holding", holding_then_compacted)
    written = write(warehouse, sales("a", 7), TUESDAY)
    assert written.version == 4
    assert (stored(warehouse, TUESDAY), stored(warehouse, WEDNESDAY)) == ([("a", 7)], [("a", 2)])


def test_a_commit_whose_answer_was_lost_is_recognised_as_ones_own(warehouse: Warehouse, monkeypatch):
    commit = DeltaTable.create_write_transaction

    def committed_but(self, *args, **kwargs):
        commit(self, *args, **kwargs)
        monkeypatch.setattr(DeltaTable, "create_write_transaction", commit)
        raise CommitFailedError("the connection was reset")

    monkeypatch.setattr(DeltaTable, "create_write_transaction", committed_but)
    written = write(warehouse, [sales("a", 1), sales("b", 2)])
    assert written.version == warehouse.version("r", tables.SALES) == 1
    assert stored(warehouse) == [("a", 1), ("b", 2)]


def test_a_writer_that_always_loses_gives_up_and_says_so(warehouse: Warehouse, monkeypatch):
    def lost(*_, **__):
        raise CommitFailedError("another was faster")

    monkeypatch.setattr(DeltaTable, "create_write_transaction", lost)
    monkeypatch.setattr(writing.time, "sleep", lambda _: None)
    with pytest.raises(WarehouseError, match="commits in a row lost"):
        write(warehouse, sales("a", 1))
    assert stored(warehouse) == []


def _write_in_turn(url: str, units: float) -> None:
    for more in range(3):
        write(Warehouse(url), sales("a", units + more, units))


def test_of_writers_of_the_same_day_one_is_the_last_and_none_leaves_rows_beside_it(tmp_path: Path):
    # Spawned, since a fork of a process that already used polars may deadlock.
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        pool.starmap(_write_in_turn, [(str(tmp_path), units) for units in (10.0, 20.0)])
    rows = stored(Warehouse(str(tmp_path)))
    assert rows in ([("a", 10.0), ("a", 12.0)], [("a", 20.0), ("a", 22.0)])


def test_the_log_is_kept_for_ever_and_says_what_a_commit_replaced(warehouse: Warehouse):
    warehouse.write("r", tables.SALES, sales("a", 1), run_day=TUESDAY, metadata={"step": "load@1"})
    delta = warehouse.delta("r", tables.SALES)
    assert delta.metadata().configuration["delta.enableExpiredLogCleanup"] == "false"
    assert delta.metadata().configuration["delta.logRetentionDuration"] == "interval 36500 days"
    last = delta.history(1)[0]
    assert last["step"] == "load@1"
    assert last["operationParameters"]["predicate"] == "run_month = '2025-03' AND run_day = '2025-03-04'"
    assert len(last["hash"]) == 64


def test_a_table_with_other_columns_than_the_catalogue_is_not_written_to(warehouse: Warehouse):
    old = pl.DataFrame({"location_id": ["a"], "run_month": ["2025-03"]}).to_arrow()
    DeltaTable.create(f"{warehouse.url}/r/sales", schema=old.schema, partition_by=["run_month"])
    with pytest.raises(WarehouseError, match=r"other columns than the catalogue: surplus \[\], missing \[product_id"):
        write(warehouse, sales("a", 1))
