"""Parquet and Arrow as batches, in memory that neither a large row group nor a file that lies can grow."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from marketday.deliveries.limits import Limits, too_much
from marketday.deliveries.page_headers import count_values
from marketday.deliveries.unfolding import Unfolded
from marketday.errors import DeliveryError

BATCH_ROWS = 1 << 16

_BUFFER = 1 << 20
_FOOTER = 16 << 20
"""Bytes that a footer may have: it is read as a whole, before anything is known."""
_ENTRIES = 50_000
"""Entries that one list in a footer may have, such as row groups."""
_MAGIC = b"PAR1"


def parquet(path: Path, table: str, limits: Limits) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    """Open a Parquet file: its schema, and its batches. What the footer says is compared with limits before all else.

    Raises:
        DeliveryError: it is no Parquet file, or one of more rows, columns or bytes than may be; while its batches are
            read, that it is broken in the middle or its footer does not tell the truth.

    """
    with path.open("rb") as raw:
        raw.seek(0, 2)
        size = raw.tell()
        raw.seek(max(size - 8, 0))
        end = raw.read(8)
    length = int.from_bytes(end[:4], "little")
    if size < 12 or not end.endswith(_MAGIC) or length > min(size - 12, _FOOTER):
        raise _no_parquet(table, "its footer is not where it should be")
    try:
        file = pq.ParquetFile(
            path, pre_buffer=False, buffer_size=_BUFFER, thrift_container_size_limit=_ENTRIES, memory_map=False
        )
        metadata, schema = file.metadata, file.schema_arrow
        _check_names(schema)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _no_parquet(table, error) from error
    if metadata.num_columns > limits.columns:
        raise too_much(table, "columns", metadata.num_columns, limits.columns)
    if metadata.num_rows > limits.rows:
        raise too_much(table, "rows", metadata.num_rows, limits.rows)
    groups = (metadata.row_group(number) for number in range(metadata.num_row_groups))
    unfolded = sum(group.column(n).total_uncompressed_size for group in groups for n in range(metadata.num_columns))
    if unfolded > limits.unfolded:
        raise too_much(table, "unfolded", unfolded, limits.unfolded)
    texts = [field.name for field in schema if pa.types.is_string(field.type) or pa.types.is_large_string(field.type)]
    file = pq.ParquetFile(
        path,
        metadata=metadata,
        pre_buffer=False,
        buffer_size=_BUFFER,
        read_dictionary=texts,  # names and numbers of products: few, and repeated for each row
    )
    return file.schema_arrow, _batches(path, file, table)


def arrow(stream: Unfolded, table: str) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    """Open an Arrow IPC stream: its schema, and its batches.

    Raises:
        DeliveryError: it is no such stream; while its batches are read, that it is broken or goes on after its end.

    """
    try:
        reader = pa.ipc.open_stream(stream)
        _check_names(reader.schema)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _no_arrow(table, error) from error

    def batches() -> Iterator[pa.RecordBatch]:
        try:
            yield from reader
        except (pa.ArrowException, OSError) as error:
            raise _no_arrow(table, error) from error
        if stream.read(1):
            raise _no_arrow(table, "it goes on after its end")

    return reader.schema, batches()


def _check_names(schema: pa.Schema) -> None:
    """Read the names of the columns, which a library does only when it is asked for them.

    Raises:
        UnicodeError: one is not UTF-8.

    """
    _ = schema.names


def _batches(path: Path, file: pq.ParquetFile, table: str) -> Iterator[pa.RecordBatch]:
    rows = 0
    try:
        _check_pages(path, file.metadata)
        for batch in file.iter_batches(BATCH_ROWS, use_threads=False):
            rows += batch.num_rows
            yield batch
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _no_parquet(table, error) from error
    if rows != file.metadata.num_rows:
        raise _no_parquet(table, f"its footer speaks of {file.metadata.num_rows:,} rows, and there are {rows:,}")


def _check_pages(path: Path, footer: pq.FileMetaData) -> None:
    """Compare the rows that the footer speaks of with the values of every column's pages; cells are flat here.

    Raises:
        ValueError: they are not as many.

    """
    with path.open("rb") as raw:
        for number in range(footer.num_row_groups):
            group = footer.row_group(number)
            for column in (group.column(n) for n in range(footer.num_columns)):
                start = min(filter(None, (column.dictionary_page_offset, column.data_page_offset)), default=0)
                held = count_values(raw, start, start + column.total_compressed_size)
                if held != group.num_rows:
                    raise ValueError(
                        f"its footer speaks of {group.num_rows:,} rows in row group {number}, and the pages of "
                        f"{column.path_in_schema} hold {held:,} values"
                    )


def _no_parquet(table: str, why: object) -> DeliveryError:
    return DeliveryError(
        f"{table}: this is not a readable Parquet file: {str(why)[:300]}",
        hint="Write the table as one Parquet file with a current library, and send all of it.",
        where={"table": table, "rule": "format"},
    )


def _no_arrow(table: str, why: object) -> DeliveryError:
    return DeliveryError(
        f"{table}: this is not a readable Arrow IPC stream: {str(why)[:300]}",
        hint="Write the table as one stream to its end, in batches of at most a million rows, and send all of it.",
        where={"table": table, "rule": "format"},
    )
