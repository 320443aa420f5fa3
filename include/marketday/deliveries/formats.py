"""In which formats a table may come, and how each is recognised: by name, by media type, or by how it begins."""

from collections.abc import Iterable
from email.message import Message
from typing import Literal, NamedTuple, get_args

from marketday.errors import DeliveryError, listed

Format = Literal["parquet", "arrow", "csv", "ndjson"]
Coding = Literal["identity", "gzip", "zstd"]

MEDIA_TYPES: dict[str, Format] = {
    "application/vnd.apache.parquet": "parquet",
    "application/x-parquet": "parquet",
    "application/vnd.apache.arrow.stream": "arrow",
    "text/csv": "csv",
    "application/csv": "csv",
    "application/x-ndjson": "ndjson",
    "application/ndjson": "ndjson",
    "application/jsonl": "ndjson",
}
CODINGS: dict[str, Coding] = {"": "identity", "identity": "identity", "gzip": "gzip", "x-gzip": "gzip", "zstd": "zstd"}
ENDINGS: dict[str, Format] = {
    ".parquet": "parquet",
    ".arrows": "arrow",
    ".arrow": "arrow",
    ".csv": "csv",
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
}
"""Of files."""
CODING_ENDINGS: dict[str, Coding] = {".gz": "gzip", ".zst": "zstd"}

_UNKNOWN = ("", "application/octet-stream", "application/x-www-form-urlencoded")
"""Media types that clients send when nobody has named one."""
_FOLDED: dict[bytes, Coding] = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
_ARROW_STREAM = b"\xff\xff\xff\xff"
_ARROW_FILE = b"ARROW1"
_LONGEST = 1000
"""Characters of a media type with its parameters that are looked at."""
HEAD = 64
"""Bytes that :func:`recognised` needs to see."""


class Sent(NamedTuple):
    """How a file comes: its format, None where it must be recognised; its coding; the encoding of a text, if named."""

    format: Format | None = None
    coding: Coding = "identity"
    charset: str = ""


def of_headers(content_type: str, content_encoding: str) -> Sent:
    """Read the headers ``Content-Type`` and ``Content-Encoding``.

    Raises:
        DeliveryError: no such format, or no such coding.

    """
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type not in MEDIA_TYPES and media_type not in _UNKNOWN:
        raise _unsupported("Content-Type", media_type, MEDIA_TYPES)
    coding = content_encoding.strip().lower()
    if coding not in CODINGS:
        raise _unsupported("Content-Encoding", coding, get_args(Coding))
    header = Message()
    header["Content-Type"] = content_type[:_LONGEST]
    return Sent(MEDIA_TYPES.get(media_type), CODINGS[coding], header.get_content_charset(""))


def of_name(name: str) -> tuple[str, Sent] | None:
    """Return the table and how it comes of a file such as ``sales.csv.gz``, or None if its ending is none of ours."""
    coding: Coding = "identity"
    for ending, each in CODING_ENDINGS.items():
        if name.endswith(ending):
            name, coding = name.removesuffix(ending), each
    stem, dot, ending = name.rpartition(".")
    known = ENDINGS.get(dot + ending.lower())
    return (stem, Sent(known, coding)) if known and stem else None


def folded_as(head: bytes) -> Coding:
    """Return the coding of a file that begins so."""
    return next((coding for magic, coding in _FOLDED.items() if head.startswith(magic)), "identity")


def recognised(head: bytes) -> Format:
    """Return the format of an unfolded file that begins so: what is nothing else is a CSV.

    Raises:
        DeliveryError: it is Arrow's file format, of which there is no end to stream to.

    """
    if head.startswith(b"PAR1"):
        return "parquet"
    if head.startswith(_ARROW_STREAM):
        return "arrow"
    if head.startswith(_ARROW_FILE):
        raise DeliveryError(
            "This is an Arrow file (Feather)", hint="Send an Arrow IPC stream.", where={"rule": "format"}
        )
    return "ndjson" if head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{") else "csv"


def _unsupported(header: str, given: str, allowed: Iterable[str]) -> DeliveryError:
    return DeliveryError(
        f"{header} {given[:60]!r} is not taken",
        hint=f"Use one of: {listed(allowed)}.",
        where={"rule": UNSUPPORTED},
    )


UNSUPPORTED = "unsupported"
"""The rule of a format or coding that nobody here reads."""
