"""A sent file into the Parquet file that is kept: of whatever format it was, in row groups that any reader can hold.

Memory is bounded by a batch of rows. Whoever takes files from outside does this in a process of its own, with limits.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from marketday.deliveries import columnar, text
from marketday.deliveries.columns import check_schema, conformed
from marketday.deliveries.formats import HEAD, Sent, recognised
from marketday.deliveries.limits import Limits, too_much
from marketday.deliveries.receipts import TableReceipt
from marketday.deliveries.unfolding import Unfolded
from marketday.errors import DeliveryError
from marketday.tables import Table

GROUP_ROWS = 1 << 17
_GROUP_BYTES = 32 << 20
_BATCH_ROWS = 1 << 14
"""Rows that are encoded at a time."""


def rewrite(source: Path, target: Path, table: Table, sent: Sent, limits: Limits) -> TableReceipt:
    """Read the file that was sent, to its end, and write it as Parquet; return what it measures.

    Raises:
        DeliveryError: it is not what it is said to be, its columns are not the catalogue's, or it is more than may be.

    """
    if not source.stat().st_size:
        raise DeliveryError(
            f"{table.name}: the file is empty, and not a readable table",
            hint="A table without rows has its columns all the same.",
            where={"table": table.name, "rule": "format"},
        )
    try:
        return _rewritten(source, target, table, sent, limits)
    except UnicodeError as error:  # of a CSV; what else is no text says so with its own words
        if sent.charset:
            raise DeliveryError(
                f"{table.name}: a text is not in the charset {sent.charset[:40]}: {str(error)[:200]}",
                hint="Name the charset that the file is written in.",
                where={"table": table.name, "rule": "charset"},
            ) from error
        return _rewritten(source, target, table, sent._replace(charset="latin-1"), limits)


def _rewritten(source: Path, target: Path, table: Table, sent: Sent, limits: Limits) -> TableReceipt:
    with Unfolded(source, table.name, sent.coding, limits) as stream:
        form = sent.format or recognised(stream.peek(HEAD))
        said = {"parquet": "Parquet", "arrow": "Arrow IPC stream", "ndjson": "NDJSON"}.get(form, "CSV")
        if form == "parquet":
            whole = _whole(stream, target.with_suffix(".whole")) if stream.folded else source
            schema, batches = columnar.parquet(whole, table.name, limits)
        elif form == "arrow":
            schema, batches = columnar.arrow(stream, table.name)
        elif form == "ndjson":
            schema, batches = text.lines(stream, table)
        else:
            encoding = text.encoding_of(stream, table.name, sent.charset)
            separator, schema, batches = text.separated(stream, table, encoding, limits)
            said = f"CSV, separated by {separator!r}, {encoding}"
        rows = _write(target, table, check_schema(table, schema, limits), batches, limits)
        stream.drain()  # what a reader has no need of belongs to the hash
        with target.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return TableReceipt(
            rows=rows, bytes=target.stat().st_size, sha256=digest, sent_sha256=stream.sha256, sent_as=said
        )


def _whole(stream: Unfolded, path: Path) -> Path:
    """Unfold a Parquet file to ``path``: reading one begins at its end."""
    with path.open("wb") as file:
        while content := stream.read(1 << 20):
            file.write(content)
    return path


def _write(target: Path, table: Table, schema: pa.Schema, batches: Iterator[pa.RecordBatch], limits: Limits) -> int:
    rows, unfolded, group = 0, 0, list[pa.RecordBatch]()
    options = {"compression": "zstd", "compression_level": 1, "store_schema": False, "write_batch_size": _BATCH_ROWS}
    # Days go up from row to row: a dictionary of them takes longer to write, and is larger.
    repeated = [field.name for field in schema if not pa.types.is_temporal(field.type)]
    with pq.ParquetWriter(target, schema, use_dictionary=repeated, **options) as writer:
        for batch in batches:
            rows += batch.num_rows
            unfolded += batch.nbytes
            if rows > limits.rows:
                raise too_much(table.name, "rows", rows, limits.rows)
            if unfolded > limits.unfolded:
                raise too_much(table.name, "unfolded", unfolded, limits.unfolded)
            group.append(conformed(table, batch, schema))
            if sum(each.num_rows for each in group) >= GROUP_ROWS or sum(e.nbytes for e in group) >= _GROUP_BYTES:
                writer.write_table(pa.Table.from_batches(group, schema), GROUP_ROWS)
                group = []
        if group or not rows:
            writer.write_table(pa.Table.from_batches(group, schema), GROUP_ROWS)
    return rows
