"""The warehouse keeps one transaction per table and day, and remembers every morning."""

import datetime as dt
import multiprocessing
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from marketday import tables
from marketday.errors import WarehouseError
from marketday.warehouse import NOTHING_YET, Warehouse, as_known, conform, content_hash

MONDAY, TUESDAY, WEDNESDAY = (dt.date(2025, 3, day) for day in (3, 4, 5))


def sales(day: dt.date, **units: float) -> pl.DataFrame:
    """One row per product in store s1."""
    return pl.DataFrame(
        {
            "location_id": ["s1"] * len(units),
            "product_id": list(units),
            "day": [day] * len(units),
            "units": [float(value) for value in units.values()],
        }
    )


def test_a_day_is_replaced_and_the_others_stay(warehouse: Warehouse):
    warehouse.write("r", tables.SALES, sales(MONDAY, a=1, b=2), run_day=TUESDAY)
    warehouse.write("r", tables.SALES, sales(TUESDAY, a=5), run_day=WEDNESDAY)
    warehouse.write("r", tables.SALES, sales(MONDAY, a=3), run_day=TUESDAY)
    rows = warehouse.scan("r", tables.SALES).sort("run_day").collect()
    assert rows["units"].to_list() == [3.0, 5.0]
    assert rows["run_day"].to_list() == [TUESDAY, WEDNESDAY]


def test_writing_the_same_rows_again_changes_nothing_not_even_the_version(warehouse: Warehouse):
    first = warehouse.write("r", tables.SALES, sales(MONDAY, a=1, b=2), run_day=TUESDAY)
    again = warehouse.write("r", tables.SALES, sales(MONDAY, a=1, b=2).reverse(), run_day=TUESDAY)
    assert again == first


def test_an_empty_frame_clears_the_day(warehouse: Warehouse):
    warehouse.write("r", tables.SALES, sales(MONDAY, a=1), run_day=TUESDAY)
    warehouse.write("r", tables.SALES, sales(MONDAY), run_day=TUESDAY)
    assert warehouse.scan("r", tables.SALES).collect().is_empty()


def test_an_old_version_still_reads_as_it_was(warehouse: Warehouse):
    old = warehouse.write("r", tables.SALES, sales(MONDAY, a=1), run_day=TUESDAY)
    warehouse.write("r", tables.SALES, sales(MONDAY, a=9), run_day=TUESDAY)
    assert warehouse.scan("r", tables.SALES, version=old.version).collect()["units"].to_list() == [1.0]
    assert warehouse.scan("r", tables.SALES, version=NOTHING_YET).collect().is_empty()


def test_a_version_that_never_was_is_a_clear_error(warehouse: Warehouse):
    warehouse.write("r", tables.SALES, sales(MONDAY, a=1), run_day=TUESDAY)
    with pytest.raises(WarehouseError, match="sales@99: there is no such version"):
        warehouse.scan("r", tables.SALES, version=99)
    with pytest.raises(WarehouseError, match="never written"):
        warehouse.scan("r", tables.STOCK, version=3)


def test_a_later_run_day_supersedes_but_only_from_its_own_morning_on(warehouse: Warehouse):
    warehouse.write("r", tables.SALES, sales(MONDAY, a=1, b=2), run_day=TUESDAY)
    warehouse.write("r", tables.SALES, sales(MONDAY, a=7), run_day=WEDNESDAY)
    rows = warehouse.scan("r", tables.SALES)
    on_tuesday = as_known(rows, tables.SALES, TUESDAY).collect()
    on_wednesday = as_known(rows, tables.SALES, WEDNESDAY).collect()
    assert dict(on_tuesday.select("product_id", "units").iter_rows()) == {"a": 1.0, "b": 2.0}
    assert dict(on_wednesday.select("product_id", "units").iter_rows()) == {"a": 7.0, "b": 2.0}


Deliveries = dict[int, set[tuple[int, str]]]
"""By run day (a day of the month): which (day, product) is promoted, as delivered."""


def promoted(delivered: Deliveries, on: int) -> set[tuple[int, str]]:
    """What is known of promotions on the morning of ``on``."""
    schema = {"location_id": pl.String, "product_id": pl.String, "day": pl.Date, "run_day": pl.Date}
    rows = [
        ("s1", product, dt.date(2025, 3, day), dt.date(2025, 3, run_day))
        for run_day, facts in delivered.items()
        for day, product in facts
    ]
    known = as_known(pl.LazyFrame(rows, schema=schema, orient="row"), tables.PROMOTIONS, dt.date(2025, 3, on)).collect()
    return {(row["day"].day, row["product_id"]) for row in known.iter_rows(named=True)}


def test_a_plan_that_the_next_delivery_no_longer_has_is_withdrawn():
    delivered = {3: {(5, "a"), (5, "b"), (6, "a")}, 4: {(5, "a"), (7, "c")}}
    assert promoted(delivered, on=3) == {(5, "a"), (5, "b"), (6, "a")}
    assert promoted(delivered, on=4) == {(5, "a"), (7, "c")}


def test_plans_are_withdrawn_too_where_no_two_deliveries_bring_the_same_day():
    assert promoted({3: {(5, "a")}, 4: {(6, "b")}}, on=4) == {(6, "b")}


def test_a_withdrawn_plan_does_not_come_back_once_its_day_is_past():
    delivered = {3: {(5, "a"), (5, "b")}, 4: {(5, "a")}, 6: {(5, "a"), (9, "a")}, 8: {(9, "a")}}
    for on in (4, 5, 6, 8, 20):
        assert (5, "b") not in promoted(delivered, on)
        assert (5, "a") in promoted(delivered, on)


def test_what_was_still_planned_on_its_day_stays_a_fact_when_later_plans_no_longer_reach_back():
    delivered = {3: {(3, "a"), (4, "a")}, 4: {(4, "a"), (9, "b")}, 5: {(9, "b")}, 6: {(9, "b")}}
    assert promoted(delivered, on=6) == {(3, "a"), (4, "a"), (9, "b")}


def test_a_delivery_that_brings_only_past_facts_withdraws_no_plan():
    delivered = {3: {(6, "a")}, 4: {(3, "b")}}
    assert promoted(delivered, on=4) == {(6, "a"), (3, "b")}


def test_a_history_that_came_at_once_is_known_as_it_came():
    history = {(day, "a") for day in range(1, 29)}
    assert promoted({15: history}, on=15) == history


def still_in_force(delivered: Deliveries, on: int) -> set[tuple[int, str]]:
    """The same, row by row."""
    plans = {run_day for run_day, facts in delivered.items() if any(day >= run_day for day, _ in facts)}
    return {
        fact
        for run_day, facts in delivered.items()
        for fact in facts
        if run_day <= on and not any(run_day < plan <= min(on, fact[0]) for plan in plans)
    }


@hypothesis_settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(st.integers(1, 9), st.sets(st.tuples(st.integers(1, 12), st.sampled_from("ab")), max_size=6)),
    st.integers(1, 12),
)
def test_what_is_planned_is_what_no_later_plan_left_out(delivered: Deliveries, on: int):
    # A key that a later plan repeats is in force through that plan, so leaving out is all that has to be looked for.
    assert promoted(delivered, on) == still_in_force(delivered, on)


def test_blocks_of_a_day_are_written_one_by_one(warehouse: Warehouse):
    def predictions(block: str, mean: float) -> pl.DataFrame:
        return pl.DataFrame(
            {
                "location_id": [f"s{block}"],
                "product_id": ["a"],
                "day": [MONDAY],
                "horizon": [1],
                "mean": [mean],
                "dispersion": [0.1],
                "zero_share": [0.0],
                "common_dispersion": [0.0],
                "family": ["gamma"],
                "model": ["m@1"],
                "mode": ["fresh"],
                "block": [block],
            }
        )

    for block, mean in (("0", 1.0), ("1", 2.0), ("0", 3.0)):
        warehouse.write("r", tables.PREDICTIONS, predictions(block, mean), run_day=MONDAY, block=block)
    assert warehouse.scan("r", tables.PREDICTIONS).collect().sort("block")["mean"].to_list() == [3.0, 2.0]
    with pytest.raises(WarehouseError, match="block by block"):
        warehouse.write("r", tables.PREDICTIONS, predictions("0", 1.0), run_day=MONDAY)


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        (sales(MONDAY, a=1).drop("units"), r"missing columns \[units\]"),
        (sales(MONDAY, a=1).with_columns(colour=pl.lit("red")), r"surplus columns \[colour\]"),
        (sales(MONDAY, a=1).with_columns(units=pl.lit(None, pl.Float64)), "nulls in units"),
        (sales(MONDAY, a=1).with_columns(day=pl.lit("soon")), "wrong type"),
        (pl.concat([sales(MONDAY, a=1), sales(MONDAY, a=2)]), "occurs twice"),
    ],
)
def test_rows_that_do_not_fit_the_catalogue_are_refused(warehouse: Warehouse, rows: pl.DataFrame, complaint: str):
    with pytest.raises(WarehouseError, match=complaint):
        warehouse.write("r", tables.SALES, rows, run_day=TUESDAY)
    assert warehouse.version("r", tables.SALES) == NOTHING_YET


def _write_block(url: str, block: str) -> None:
    row = {"step": "s@1", "state": "successful", "key": "k", "message": "", "release": "marketday 0.1.0"}
    row |= dict.fromkeys(("call", "definition", "inputs", "outputs", "written"), "{}")
    times = {"started": dt.datetime(2025, 3, 3, tzinfo=dt.UTC), "seconds": 1.0, "block": block}
    Warehouse(url).write("r", tables.RUNS, pl.DataFrame([{**row, **times}]), run_day=MONDAY, block=block)


def test_concurrent_writers_of_different_blocks_lose_nothing(tmp_path: Path):
    blocks = [f"b{i}" for i in range(8)]
    # Spawned, since a fork of a process that already used polars may deadlock.
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        pool.starmap(_write_block, [(str(tmp_path), block) for block in blocks])
    stored = Warehouse(str(tmp_path)).scan("r", tables.RUNS).collect()
    assert sorted(stored["block"]) == blocks


@hypothesis_settings(max_examples=40, deadline=None)
@given(
    units=st.lists(st.floats(0, 1e6, allow_nan=False), min_size=2, max_size=30),
    at=st.integers(0, 29),
    seed=st.randoms(use_true_random=False),
)
def test_the_content_hash_sees_every_value_and_no_order(units: list[float], at: int, seed):
    rows = sales(MONDAY, **{f"p{i:02}": value for i, value in enumerate(units)})
    digest = content_hash(conform(rows, tables.SALES, TUESDAY), tables.SALES)
    shuffled = list(range(len(units)))
    seed.shuffle(shuffled)
    parts = pl.concat([rows[[i]] for i in shuffled], rechunk=False)
    assert content_hash(conform(parts, tables.SALES, TUESDAY), tables.SALES) == digest
    changed = units.copy()
    changed[at % len(units)] += 1.0
    other = rows.with_columns(units=pl.Series(changed))
    assert content_hash(conform(other, tables.SALES, TUESDAY), tables.SALES) != digest


def test_text_cannot_move_between_neighbouring_rows_unnoticed():
    def names(*values: str) -> str:
        frame = pl.DataFrame({"supplier_id": [str(i) for i in range(len(values))], "name": values})
        return content_hash(conform(frame, tables.SUPPLIERS, MONDAY), tables.SUPPLIERS)

    assert names("ab", "c") != names("a", "bc")


def test_the_content_hash_knows_nothing_of_what_lies_below_a_null():
    names = pl.Series("name", ["a", "b", None])
    hidden = (
        pl.Series("name", ["a", "b", "left over"])
        .to_frame()
        .select(pl.when(pl.col("name").str.len_chars() < 2).then("name"))
    )

    def digest(name: pl.Series) -> str:
        rows = pl.DataFrame({"supplier_id": ["1", "2", "3"]}).with_columns(name.alias("name"))
        return content_hash(conform(rows, tables.SUPPLIERS, MONDAY), tables.SUPPLIERS)

    assert digest(hidden["name"]) == digest(names)
