"""Compaction, vacuum and checkpoints change no row, and nothing that a published morning refers to is ever deleted."""

import datetime as dt
import random
from pathlib import Path

import pytest
from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError
from mornings import FIRST, SHOP, contents, morning, predict, publish, record, sell

from marketday.errors import WarehouseError
from marketday.tables import FORECASTS, RUNS, SALES
from marketday.warehouse import Warehouse, content_hash
from marketday.warehouse.integrity import check
from marketday.warehouse.maintenance import checkpoint, compact, vacuum

DAYS = [FIRST + dt.timedelta(days=i) for i in range(0, 24, 3)]
LATER = dt.date(2025, 3, 1)
RETENTION = dt.timedelta(days=30)


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    """Eight mornings of two months, and a correction to the second."""
    warehouse = Warehouse(str(tmp_path / "warehouse"))
    for day in DAYS:
        morning(warehouse, day)
    sell(warehouse, DAYS[1], units=5.0)
    return warehouse


def clean(warehouse: Warehouse) -> bool:
    _, checks = check(warehouse, SHOP, deep=True)
    return [finding for checked in checks for finding in checked.findings] == []


def in_a_while(days: int = 100) -> dt.datetime:
    return dt.datetime.now(dt.UTC) + dt.timedelta(days=days)


def files(warehouse: Warehouse, table: str) -> set[Path]:
    return set((Path(warehouse.url) / SHOP / table).glob("run_month=*/*"))


def test_compaction_leaves_one_file_per_past_month_and_the_same_rows(warehouse):
    before = contents(warehouse)
    done = compact(warehouse, SHOP, before=LATER, metadata={"step": "compact@1"})
    assert (done["sales"].before, done["sales"].after, done["sales"].left) == (len(DAYS), 2, [])
    assert len(warehouse.delta(SHOP, SALES).file_uris()) == 2
    assert {name: rows.equals(before[name]) for name, rows in contents(warehouse).items()} == dict.fromkeys(
        before, True
    )
    assert clean(warehouse)
    assert warehouse.delta(SHOP, SALES).history(1)[0]["step"] == "compact@1"


def test_a_compaction_whose_answer_was_lost_is_recognised_and_deletes_nothing(warehouse, monkeypatch):
    before, commit = contents(warehouse), DeltaTable.create_write_transaction

    def committed_but(self, *args, **kwargs):
        commit(self, *args, **kwargs)
        raise CommitFailedError("the connection was reset")

    monkeypatch.setattr(DeltaTable, "create_write_transaction", committed_but)
    done = compact(warehouse, SHOP, before=LATER)
    assert (done["sales"].after, done["sales"].left) == (2, [])
    assert all(rows.equals(before[name]) for name, rows in contents(warehouse).items())
    assert clean(warehouse)


def test_a_compaction_that_came_too_late_leaves_the_rows_and_its_files_to_vacuum(warehouse, monkeypatch):
    def lost(*_, **__):
        raise CommitFailedError("another was faster")

    before = contents(warehouse)
    with monkeypatch.context() as patched:
        patched.setattr(DeltaTable, "create_write_transaction", lost)
        assert compact(warehouse, SHOP, before=LATER)["sales"].left == ["2025-01", "2025-02"]
    assert all(rows.equals(before[name]) for name, rows in contents(warehouse).items())
    _, checks = check(warehouse, SHOP)
    assert {finding.kind for checked in checks for finding in checked.findings} == {"leftover"}


def test_compaction_leaves_the_month_that_is_being_written_alone(warehouse):
    done = compact(warehouse, SHOP, before=DAYS[-1])
    assert {name: result.after for name, result in done.items()} == dict.fromkeys(contents(warehouse), 1)
    assert compact(warehouse, SHOP, before=DAYS[-1]) == {}


def test_a_second_compaction_has_nothing_to_do_and_makes_no_version(warehouse):
    compact(warehouse, SHOP, before=LATER)
    version = warehouse.version(SHOP, SALES)
    assert compact(warehouse, SHOP, before=LATER) == {}
    assert warehouse.version(SHOP, SALES) == version


def test_a_day_can_be_replaced_after_compaction_and_the_others_stay(warehouse):
    compact(warehouse, SHOP, before=LATER)
    before = warehouse.scan(SHOP, SALES).collect()
    sell(warehouse, DAYS[2], units=40.0)
    after = warehouse.scan(SHOP, SALES).collect()
    others = (before["run_day"] != DAYS[2]).to_list()
    assert (
        after.filter(after["run_day"] != DAYS[2])
        .sort("run_day", "product_id")
        .equals(before.filter(others).sort("run_day", "product_id"))
    )
    assert after.filter(after["run_day"] == DAYS[2])["units"].sort().to_list() == [40.0, 41.0]
    assert clean(warehouse)


def test_the_same_rows_make_no_version_after_compaction_either(warehouse):
    compact(warehouse, SHOP, before=LATER)
    version = warehouse.version(SHOP, SALES)
    assert sell(warehouse, DAYS[3]).version == version


def test_vacuum_deletes_nothing_that_was_in_force_within_the_retention(warehouse):
    predict(warehouse, DAYS[0], mean=2.0)
    there = files(warehouse, "forecasts")
    assert vacuum(warehouse, SHOP, now=dt.datetime.now(dt.UTC), retention=RETENTION) == {}
    assert files(warehouse, "forecasts") == there


def test_vacuum_deletes_what_only_unpublished_mornings_need(warehouse):
    unpublished = dt.date(2025, 2, 20)
    for mean in (3.0, 4.0, 5.0):
        made = predict(warehouse, unpublished, mean=mean)
        record(warehouse, unpublished, "calibrate", {}, {"forecasts": made.version})
    there = files(warehouse, "forecasts")
    done = vacuum(warehouse, SHOP, now=in_a_while(), retention=RETENTION)
    assert {name: result.files for name, result in done.items()} == {"forecasts": 2}
    assert len(files(warehouse, "forecasts")) == len(there) - 2
    assert clean(warehouse)
    assert vacuum(warehouse, SHOP, now=in_a_while(), retention=RETENTION) == {}


def test_vacuum_keeps_every_version_that_was_ever_published_after_any_corrections(warehouse):
    by_version = {}
    for mean in (6.0, 7.0, 8.0):
        made = predict(warehouse, DAYS[0], mean=mean)
        record(warehouse, DAYS[0], "calibrate", {"sales": sell(warehouse, DAYS[0], mean).version}, {})
        publish(warehouse, DAYS[0], made)
        by_version[made.version] = made.content_hash
    compact(warehouse, SHOP, before=LATER)
    vacuum(warehouse, SHOP, now=in_a_while(), retention=RETENTION)
    for version, published in by_version.items():
        rows = warehouse.scan(SHOP, FORECASTS, version=version).collect()
        assert content_hash(rows.filter(rows["run_day"] == DAYS[0]), FORECASTS) == published
    assert clean(warehouse)


def test_vacuum_keeps_every_record_of_runs_and_publications(warehouse):
    compact(warehouse, SHOP, before=LATER)
    there = files(warehouse, "runs") | files(warehouse, "publications")
    vacuum(warehouse, SHOP, now=in_a_while(), retention=RETENTION)
    assert files(warehouse, "runs") | files(warehouse, "publications") == there


def test_vacuum_takes_leftovers_only_once_they_are_as_old_as_the_retention(warehouse):
    left = Path(warehouse.url) / SHOP / "sales" / "run_month=2025-01" / "part-1.parquet"
    left.write_bytes(b"half")
    assert vacuum(warehouse, SHOP, now=in_a_while(29), retention=RETENTION) == {}
    assert vacuum(warehouse, SHOP, now=in_a_while(31), retention=RETENTION)["sales"] == (1, 4)


def test_vacuum_deletes_nothing_while_the_records_of_what_is_published_are_damaged(warehouse):
    predict(warehouse, dt.date(2025, 2, 20))
    predict(warehouse, dt.date(2025, 2, 20), mean=2.0)
    min(files(warehouse, "runs")).write_bytes(b"x")
    there = files(warehouse, "forecasts")
    with pytest.raises(WarehouseError, match=r"runs/run_month=.* damaged"):
        vacuum(warehouse, SHOP, now=in_a_while(), retention=RETENTION)
    assert files(warehouse, "forecasts") == there


def test_a_retention_shorter_than_a_running_writer_is_refused(warehouse):
    with pytest.raises(WarehouseError, match="retention"):
        vacuum(warehouse, SHOP, now=in_a_while(), retention=dt.timedelta(hours=2))


def test_random_mornings_corrections_and_maintenance_keep_every_published_version(tmp_path):
    """Any order of them: what was published can be read back, and the latest rows are those written last."""
    draw = random.Random(7)  # noqa: S311  orders turns, protects nothing
    warehouse = Warehouse(str(tmp_path / "random"))
    published: dict[int, str] = {}
    last: dict[dt.date, float] = {}
    for turn in range(60):
        day = FIRST + dt.timedelta(days=draw.randrange(40))
        what = draw.choice(["sell", "sell", "publish", "publish", "compact", "vacuum", "checkpoint"])
        if what == "sell":
            last[day] = float(turn)
            sell(warehouse, day, units=turn)
        elif what == "publish":
            made = predict(warehouse, day, mean=turn)
            publish(warehouse, day, made)
            published[made.version] = made.content_hash
        elif what == "compact":
            compact(warehouse, SHOP, before=day)
        elif what == "vacuum":
            vacuum(warehouse, SHOP, now=in_a_while(), retention=RETENTION)
        else:
            checkpoint(warehouse, SHOP)
    assert clean(warehouse)
    for version, digest in published.items():
        rows = warehouse.scan(SHOP, FORECASTS, version=version).collect()
        assert digest in {content_hash(part, FORECASTS) for _, part in rows.group_by("run_day")}
    rows = warehouse.scan(SHOP, SALES).collect()
    assert dict(rows.filter(rows["product_id"] == "a").select("run_day", "units").iter_rows()) == last


def test_a_checkpoint_is_made_after_some_commits_and_the_log_stays(warehouse):
    day = DAYS[-1]
    for block in range(12):
        record(warehouse, day, f"s{block}", {}, {})
    made = checkpoint(warehouse, SHOP)
    assert made == {"runs": warehouse.version(SHOP, RUNS), "sales": warehouse.version(SHOP, SALES)}
    log = Path(warehouse.url) / SHOP / "runs" / "_delta_log"
    assert len(list(log.glob("*.json"))) == made["runs"] + 1
    assert checkpoint(warehouse, SHOP) == {}
    assert clean(warehouse)
