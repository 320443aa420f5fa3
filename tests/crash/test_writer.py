"""A writer that is killed at any moment loses nothing, leaves nothing half-visible, and can simply be run again."""

import random
from collections.abc import Iterator

import pytest
from bucket import serving
from cable import between
from killing import Told, carried_out, killed
from mornings import SHOP
from working import a_morning, tried, with_room_for

from marketday.tables import FORECASTS, SALES
from marketday.warehouse import Warehouse, content_hash
from marketday.warehouse.integrity import check

SAMPLE, ALL, ALL_ON_S3 = 3, 170, 15
SIZES = (300, 800, 1200, 1600, 2400, 5000)
"""Bytes that a file may have at most: of a commit, of a data file, of neither."""
TOGETHER = 10
"""Kills of one warehouse, so that it stays small."""


@pytest.fixture(scope="module")
def store() -> Iterator[dict[str, str]]:
    with serving() as environment:
        yield environment


def harmful(warehouse: Warehouse, *, deep: bool = True) -> list[tuple[str, str, str]]:
    _, checks = check(warehouse, SHOP, deep=deep)
    return [(f.kind, f.path, f.message) for checked in checks for f in checked.findings if f.kind != "leftover"]


def assert_receipts_are_true(warehouse: Warehouse, told: Told) -> None:
    """Every write that the process told of can be read as it was told."""
    for name, version, digest, rows in told.done:
        if name in ("sales", "forecasts", "published"):
            table = SALES if name == "sales" else FORECASTS
            held = warehouse.scan(SHOP, table, version=version).collect()
            assert (digest, rows) in {(content_hash(day, table), day.height) for _, day in held.group_by("run_day")}


def kill_mornings(folder: str, kills: int, seed: int, environment: dict[str, str] | None = None) -> None:
    """Kill so many writers before they are done; look at what they leave, and run each again."""
    draw, number = random.Random(seed), 0  # noqa: S311  draws moments, protects nothing
    usual = [carried_out(a_morning, f"{folder}/usual", i, environment=environment).seconds for i in range(4)]
    hit = 0
    while hit < kills:
        url, within = f"{folder}/{hit // TOGETHER}", usual[number % 4]
        told = killed(a_morning, url, number, within=within, draw=draw, environment=environment)
        hit += not told.finished
        warehouse = Warehouse(url)
        assert harmful(warehouse, deep=False) == []
        again = carried_out(a_morning, url, number, environment=environment)
        assert [receipt[2] for receipt in again.done[: len(told.done)]] == [receipt[2] for receipt in told.done]
        for receipts in (told, again):
            assert_receipts_are_true(warehouse, receipts)
        assert harmful(warehouse) == []
        number += 1


def test_a_writer_that_is_killed_can_simply_be_run_again(tmp_path):
    kill_mornings(str(tmp_path), SAMPLE, seed=1)


@pytest.mark.slow
def test_many_writers_that_are_killed_on_a_folder(tmp_path):
    kill_mornings(str(tmp_path), ALL, seed=2)


@pytest.mark.slow
def test_writers_that_are_killed_on_an_object_store(store, monkeypatch):
    for variable, value in store.items():
        monkeypatch.setenv(variable, value)
    kill_mornings("s3://bucket/killed", ALL_ON_S3, seed=3, environment=store)


def test_a_full_disk_loses_nothing_and_the_write_completes_once_there_is_room(tmp_path):
    """No file can grow beyond some bytes: data files and commits fail in the middle, each in some of the rounds."""
    url = str(tmp_path)
    carried_out(a_morning, url, 0)
    warehouse, failed = Warehouse(url), 0
    for number, size in enumerate(SIZES, start=1):
        before = {table: warehouse.scan(SHOP, table).collect() for table in (SALES, FORECASTS)}
        told = carried_out(with_room_for, url, number, size)
        errors = [receipt for receipt in told.done if receipt[0] == "error"]
        failed += bool(errors)
        assert harmful(warehouse) == []
        assert_receipts_are_true(warehouse, told)
        for table, rows in before.items():
            if errors and table.name not in {receipt[0] for receipt in told.done}:
                assert warehouse.scan(SHOP, table).collect().sort(table.key).equals(rows.sort(table.key))
        assert_receipts_are_true(warehouse, carried_out(a_morning, url, number))
    assert failed >= 3
    assert harmful(warehouse) == []


@pytest.mark.slow
def test_a_connection_that_is_lost_in_mid_write_loses_nothing_and_the_write_completes_once_it_is_back(
    store, monkeypatch
):
    """It is cut after ever more pieces of what goes over it, in the middle of requests and of their answers."""
    for variable, value in store.items():
        monkeypatch.setenv(variable, value)
    url = "s3://bucket/lost"
    warehouse = Warehouse(url)
    carried_out(a_morning, url, 0, environment=store)
    with between(store) as (cable, over_the_cable):
        for number, pieces in enumerate(range(1, 120, 12), start=1):
            cable.cut_after(pieces, seconds=0.2)
            told = carried_out(tried, url, number, environment=over_the_cable)
            assert cable.cuts == number
            assert harmful(warehouse) == []
            assert_receipts_are_true(warehouse, told)
            assert_receipts_are_true(warehouse, carried_out(a_morning, url, number, environment=store))
    assert harmful(warehouse) == []
