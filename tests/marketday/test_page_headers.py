"""A Parquet file's pages tell how many values there are, whoever wrote them, and whatever its footer says."""

import io
import itertools
import time

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from marketday.deliveries.page_headers import count_values

ROWS = 3_000
TABLE = pa.table(
    {
        "numbers": np.random.default_rng(1).normal(size=ROWS),
        "repeated": np.arange(ROWS, dtype=np.int32) % 7,
        "gaps": [None if n % 3 == 0 else f"text {n % 50}" for n in range(ROWS)],
        "nothing": pa.array([None] * ROWS, pa.string()),
        "long": ["x" * 30_000 if n % 1_000 == 0 else "" for n in range(ROWS)],
    }
)


def counted(content: bytes) -> set[tuple[int, int]]:
    """Return the footer's rows and the pages' values of every column's chunk."""
    found, footer = set(), pq.ParquetFile(io.BytesIO(content)).metadata
    for group in map(footer.row_group, range(footer.num_row_groups)):
        for column in map(group.column, range(footer.num_columns)):
            starts = (column.dictionary_page_offset, column.data_page_offset)
            start = min(each for each in starts if each is not None)
            end = start + column.total_compressed_size
            found.add((group.num_rows, count_values(io.BytesIO(content), start, end)))
    return found


@pytest.mark.parametrize(
    ("version", "page", "dictionary", "more"),
    itertools.product(["1.0", "2.0"], [1 << 10, 1 << 20], [True, False], [True, False]),
)
def test_the_pages_of_arrow_hold_the_rows_of_its_footer(version: str, page: int, dictionary: bool, more: bool):
    buffer = io.BytesIO()
    layout = {"data_page_version": version, "data_page_size": page, "use_dictionary": dictionary}
    also = {"write_statistics": more, "write_page_checksum": more, "write_page_index": more}
    pq.write_table(TABLE, buffer, row_group_size=1_024, **layout, **also)
    assert counted(buffer.getvalue()) == {(1_024, 1_024), (ROWS - 2_048, ROWS - 2_048)}


@pytest.mark.parametrize("compression", ["uncompressed", "gzip", "zstd"])
def test_so_do_those_of_polars(compression):
    buffer = io.BytesIO()
    pl.DataFrame(TABLE).write_parquet(buffer, compression=compression, statistics="full", data_page_size=5_000)
    assert counted(buffer.getvalue()) == {(ROWS, ROWS)}


@hypothesis_settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300))
def test_what_is_no_page_is_an_error_and_no_more(content: bytes):
    try:
        count = count_values(io.BytesIO(content), 0, max(len(content), 1))
    except ValueError:
        return
    assert isinstance(count, int)


@pytest.mark.parametrize("kind", [1, 3, 5, 6, 7, 8, 12])
def test_a_list_that_claims_more_than_there_is_is_refused_at_once(kind: int):
    a_thousand_million = b"\x80\x80\x80\x80\x04"
    for outer in (b"\x19", b"\x1a"):
        content = outer + bytes([0xF0 | kind]) + a_thousand_million + bytes(5_000)
        started = time.monotonic()
        with pytest.raises(ValueError, match="without an end"):
            count_values(io.BytesIO(content), 0, len(content))
        assert time.monotonic() - started < 1


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "without an end"),
        (b"\x00", "no page"),
        (b"\x15\x00", "without an end"),
        (b"\x15" + b"\xff" * 20, "number without an end"),
        (b"\x1c" * 4_000, "of the kind 12"),
        (b"\x1d", "of the kind 13"),
    ],
)
def test_errors_say_what_is_there(content: bytes, says: str):
    with pytest.raises(ValueError, match=says):
        count_values(io.BytesIO(content), 0, 100)
