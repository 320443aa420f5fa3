"""How many values the pages of a Parquet file hold, by their own headers.

A reader stops at the rows that the footer speaks of, so that those of a footer that speaks of fewer would be left out
unseen. No library shows the headers, which are structures in Thrift's compact protocol
(https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md), of which
https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift says what they mean.
"""

from typing import Any, BinaryIO

_HEADER, _LONGEST = 1 << 12, 1 << 20
"""Bytes that are read for a header at first, and at most: it may have the least and the greatest text of its page."""
_COMPRESSED_SIZE = 3
_DATA_PAGE, _DATA_PAGE_V2 = 5, 8
_NUM_VALUES = 1
_DEPTH = 8
"""Structures within structures: a page's header has three."""
_VARINT = 10
_WIDTHS = {1: 0, 2: 0, 3: 1, 7: 8}
"""Bytes of the kinds that have always as many: true, false, a byte, a real number."""


def count_values(file: BinaryIO, start: int, end: int) -> int:
    """Return how many values, nulls among them, the data pages of a column's chunk have, from ``start`` to ``end``.

    Raises:
        ValueError: there is something else where a page's header should be.

    """
    values = 0
    while start < end:
        header, length = _header(file, start)
        size = header.get(_COMPRESSED_SIZE, -1)
        if not isinstance(size, int) or size < 0:
            raise ValueError(f"at byte {start:,} there is no page")
        for kind in (_DATA_PAGE, _DATA_PAGE_V2):
            page = header.get(kind, {_NUM_VALUES: 0})
            held = page.get(_NUM_VALUES) if isinstance(page, dict) else None
            if not isinstance(held, int) or held < 0:
                raise ValueError(f"the page at byte {start:,} does not say how many values it has")
            values += held
        start += length + size
    return values


def _header(file: BinaryIO, start: int) -> tuple[dict[int, Any], int]:
    """Return the fields of the header at ``start`` by their numbers, and its length."""
    size = _HEADER
    while True:
        file.seek(start)
        content = file.read(size)
        try:
            return _structure(content, 0, _DEPTH)
        except IndexError:
            if len(content) < size or size >= _LONGEST:
                raise ValueError(f"the page at byte {start:,} has a header without an end") from None
            size <<= 4


def _structure(content: bytes, at: int, depth: int) -> tuple[dict[int, Any], int]:
    fields, number = dict[int, Any](), 0
    while (head := content[at]) != 0:
        at += 1
        if head >> 4:
            number += head >> 4
        else:
            number, at = _integer(content, at)
        fields[number], at = _value(content, at, head & 15, depth)
    return fields, at + 1


def _value(content: bytes, at: int, kind: int, depth: int) -> tuple[Any, int]:
    """Return the value of an integer or a structure, and where it ends; of other kinds only the end."""
    if kind in _WIDTHS:
        return None, at + _WIDTHS[kind]
    match kind:
        case 4 | 5 | 6:
            return _integer(content, at)
        case 8:
            length, at = _varint(content, at)
            return None, at + length
        case 9 | 10 if depth:
            head, at = content[at], at + 1
            length, at = (head >> 4, at) if head >> 4 < 15 else _varint(content, at)
            if at + length > len(content):  # An element takes at least a byte, also one that is only passed over.
                raise IndexError
            for _ in range(length):
                # In a list, truth values take a byte each.
                _, at = _value(content, at, 3 if head & 15 in (1, 2) else head & 15, depth - 1)
            return None, at
        case 12 if depth:
            return _structure(content, at, depth - 1)
    raise ValueError(f"a page's header has a field of the kind {kind}")


def _integer(content: bytes, at: int) -> tuple[int, int]:
    number, at = _varint(content, at)
    return (number >> 1) ^ -(number & 1), at


def _varint(content: bytes, at: int) -> tuple[int, int]:
    number = 0
    for place in range(_VARINT):
        part = content[at + place]
        number |= (part & 0x7F) << 7 * place
        if part < 0x80:
            return number, at + place + 1
    raise ValueError("a page's header has a number without an end")
