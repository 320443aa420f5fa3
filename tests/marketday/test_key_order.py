"""Large tables come in the order of their key, a bounded number of rows at a time, and keep their hash."""

import datetime as dt
import itertools
from collections.abc import Iterator

import polars as pl
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from marketday import tables
from marketday.warehouse import ahead, conform, content_hash, in_key_order, rising
from marketday.warehouse.hashing import Digest

KEY = ["place", "thing", "number"]
keys = st.lists(st.tuples(st.none() | st.sampled_from("abc"), st.sampled_from("xyz"), st.integers(0, 5)), max_size=40)


def rows(given_keys: list[tuple[str | None, str, int]]) -> pl.DataFrame:
    schema = {"place": pl.String, "thing": pl.String, "number": pl.Int64}
    return pl.DataFrame(given_keys, schema=schema, orient="row").with_row_index("at")


@hypothesis_settings(max_examples=60, deadline=None)
@given(keys, st.integers(1, 12), st.integers(1, 3))
def test_frames_are_the_sorted_table_cut_where_rows_differ(given_keys, most: int, together: int):
    table = rows(given_keys)
    frames = list(in_key_order(table.lazy(), KEY, most=most, together=together))
    assert pl.concat(frames).equals(table.sort(KEY, maintain_order=True))
    alike = [set(frame.select(KEY[:together]).rows()) for frame in frames]
    assert sum(map(len, alike)) == len(set().union(*alike)), "what agrees is in one frame"
    assert all(frame.height <= most or len(group) == 1 for frame, group in zip(frames, alike, strict=True))


def test_a_table_without_rows_is_one_empty_frame():
    (frame,) = in_key_order(rows([]).lazy(), KEY)
    assert frame.is_empty()
    assert frame.columns == ["at", *KEY]


@hypothesis_settings(max_examples=60, deadline=None)
@given(keys)
def test_rising_means_sorted_and_no_key_twice(given_keys):
    table = rows(given_keys)
    ordered = [key for key in table.select(KEY).rows() if key[0] is not None]
    found = rising(table.filter(pl.col("place").is_not_null()), KEY)
    assert found == (sorted(set(ordered)) == ordered)
    with_null = table.height > 1 and table["place"].null_count()
    assert not (with_null and rising(table, KEY))


def test_keys_have_no_nulls_so_that_they_have_an_order():
    for table in tables.ALL.values():
        assert not any(table.schema.field(name).nullable for name in table.key), table.name


def orders() -> pl.DataFrame:
    days = [dt.date(2025, 3, 3) + dt.timedelta(n) for n in range(7)]
    names = [f"S{n}" for n in range(3)]
    return (
        pl.DataFrame({"location_id": names})
        .join(pl.DataFrame({"day": days}), how="cross")
        .with_columns(temperature=pl.int_range(pl.len()) / 7, precipitation=pl.lit(0.0), source=pl.lit("observed"))
    )


@hypothesis_settings(max_examples=40, deadline=None)
@given(st.sets(st.integers(0, 21)), st.lists(st.none() | st.text(max_size=3), min_size=21, max_size=21))
def test_the_hash_does_not_depend_on_where_frames_end(cuts: set[int], names: list[str | None]):
    day = dt.date(2025, 3, 10)
    named = pl.DataFrame(
        {"supplier_id": [f"{n:02}" for n in range(21)], "name": names}, schema_overrides={"name": pl.String}
    )
    for given_rows, table in ((orders(), tables.WEATHER), (named, tables.SUPPLIERS)):
        whole = conform(given_rows, table, day)
        digest = Digest(table)
        ends = [0, *sorted(cuts), whole.height]
        for start, end in itertools.pairwise(ends):
            digest.feed(whole[start:end])
        assert digest.hexdigest() == content_hash(whole, table)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (["ab", "c"], ["a", "bc"]),
        ([None, "a"], ["", "a"]),
        (["a", "a", None], ["a", None, None]),
        (["a", "a", "b"], ["a", "b", "b"]),
    ],
)
def test_the_hash_tells_apart_what_only_looks_alike(one, other):
    def hashed(names) -> str:
        frame = pl.DataFrame({"supplier_id": [str(n) for n in range(len(names))], "name": names})
        return content_hash(conform(frame, tables.SUPPLIERS, dt.date(2025, 3, 3)), tables.SUPPLIERS)

    assert hashed(one) != hashed(other)


def test_what_is_made_ahead_comes_in_order_and_fails_where_it_fails():
    def some() -> Iterator[int]:
        yield 1
        yield 2
        raise ValueError("no third")

    made = ahead(some())
    assert (next(made), next(made)) == (1, 2)
    with pytest.raises(ValueError, match="no third"):
        next(made)
