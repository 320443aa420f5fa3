"""Files that are made to hurt whoever reads them; small themselves, and quick to make."""

import gzip
import io
import zlib

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

NAMES = ("location_id", "product_id", "day", "units")
HEADER = ",".join(NAMES).encode() + b"\n"
_BLOCK = 1 << 24


def gzip_bomb(unfolded: int = 10 << 30) -> bytes:
    """A CSV whose one line never ends: 10 MB for 10 GB."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    head = deflate.compress(HEADER) + deflate.flush(zlib.Z_FULL_FLUSH)
    block = deflate.compress(b"0" * _BLOCK) + deflate.flush(
        zlib.Z_FULL_FLUSH
    )  # stands for itself, so it can be repeated
    return gzip.compress(b"")[:10] + head + block * (unfolded // _BLOCK) + deflate.flush() + bytes(8)


def zstd_bomb(unfolded: int = 10 << 30) -> bytes:
    """The same in the other coding, with rows of sound length."""
    rows = b"S01,P001,2025-03-02,1\n"
    frame = pa.compress(rows * (_BLOCK // len(rows)), "zstd", asbytes=True)
    return pa.compress(HEADER, "zstd", asbytes=True) + frame * (unfolded // _BLOCK)


def wide(columns: int = 1000) -> pl.DataFrame:
    return pl.DataFrame({f"c{n}": [0.5] for n in range(columns)})


def endless_quote(size: int = 64 << 20) -> bytes:
    return HEADER + b'S01,"' + b"x" * size


def parquet_page_bomb(unfolded: int = 10 << 30, pages: int = 8) -> bytes:
    """Pages that unfold to more than a GB each, and say so."""
    return crooked_parquet(page=unfolded // pages, pages=pages)


def crooked_parquet(*, page: int, claimed: int | None = None, pages: int = 1, rows: int | None = None) -> bytes:
    """A Parquet file of sales, all of it numbers, in zstd pages that unfold to ``page`` zeros each.

    ``claimed`` is the size that their headers name instead; ``rows`` is what the footer claims to be there.
    """
    block = pa.compress(bytes(min(page, _BLOCK)), "zstd", asbytes=True)
    body = block * max(page // _BLOCK, 1)
    values = page // 8
    header = _struct(
        (1, _i32(0)),
        (2, _i32(page if claimed is None else claimed)),
        (3, _i32(len(body))),
        (5, (12, _struct((1, _i32(values)), (2, _i32(0)), (3, _i32(3)), (4, _i32(3))))),
    )
    chunk = (header + body) * pages
    told = values * pages if rows is None else rows
    columns = []
    for number, name in enumerate(NAMES):
        start = 4 + number * len(chunk)
        described = _struct(
            (1, _i32(5)),
            (2, _list(5, [_varint(0)])),
            (3, _list(8, [_text(name)])),
            (4, _i32(6)),
            (5, _i64(told)),
            (6, _i64(64)),  # the footer's own figure of the unfolded size: a lie as well
            (7, _i64(len(chunk))),
            (9, _i64(start)),
        )
        columns.append(_struct((2, _i64(start)), (3, (12, described))))
    group = _struct((1, _list(12, columns)), (2, _i64(64)), (3, _i64(told)))
    return b"PAR1" + chunk * len(NAMES) + _footer(_list(12, [group]), told)


def long_footer(sound: bytes) -> bytes:
    """The file with a footer that claims to be of 4 GB."""
    return sound[:-8] + b"\xff\xff\xff\xff" + sound[-4:]


def many_row_groups(groups: int = 200_000) -> bytes:
    """A footer with a list of very many row groups, none of which is there."""
    group = _struct((1, _list(12, [])), (2, _i64(0)), (3, _i64(0)))
    return b"PAR1" + _footer((9, b"\xfc" + _unsigned(groups) + group * groups), 0)


def repeated_text(rows: int = 2_000_000, length: int = 1 << 20) -> bytes:
    """One very long text, that each row only points to."""
    texts = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), pa.array(["x" * length]))
    buffer = io.BytesIO()
    pq.write_table(pa.table(dict.fromkeys(NAMES, texts)), buffer, compression="zstd")
    return buffer.getvalue()


def arrow_bomb(rows: int = 100_000_000) -> bytes:
    """An Arrow stream of one batch, whose few bytes unfold to gigabytes."""
    zeros = pa.array(np.zeros(rows))
    buffer = io.BytesIO()
    schema = pa.schema([(name, pa.float64()) for name in NAMES])
    with pa.ipc.new_stream(buffer, schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_batch(pa.RecordBatch.from_arrays([zeros] * len(NAMES), schema=schema))
    return buffer.getvalue()


# Thrift's compact protocol, as far as Parquet's footers and page headers need it.


def _varint(number: int) -> bytes:
    return _unsigned((number << 1) ^ (number >> 63))


def _unsigned(number: int) -> bytes:
    parts = bytearray()
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*parts, number])


def _i32(number: int) -> tuple[int, bytes]:
    return 5, _varint(number)


def _i64(number: int) -> tuple[int, bytes]:
    return 6, _varint(number)


def _footer(groups: tuple[int, bytes], rows: int) -> bytes:
    root = _struct((4, (8, _text("schema"))), (5, _i32(len(NAMES))))
    leaves = [_struct((1, _i32(5)), (3, _i32(0)), (4, (8, _text(name)))) for name in NAMES]
    footer = _struct((1, _i32(1)), (2, _list(12, [root, *leaves])), (3, _i64(rows)), (4, groups))
    return footer + len(footer).to_bytes(4, "little") + b"PAR1"


def _text(text: str) -> bytes:
    return _unsigned(len(text)) + text.encode()


def _list(kind: int, items: list[bytes]) -> tuple[int, bytes]:
    return 9, bytes([len(items) << 4 | kind]) + b"".join(items)


def _struct(*fields: tuple[int, tuple[int, bytes]]) -> bytes:
    parts, last = b"", 0
    for number, (kind, content) in fields:
        parts += bytes([(number - last) << 4 | kind]) + content
        last = number
    return parts + b"\0"
