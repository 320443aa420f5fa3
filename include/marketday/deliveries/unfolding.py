"""A sent file, read from its beginning to its end: unfolded as it is read, counted, hashed, and cut off in time."""

import hashlib
import io
from pathlib import Path

import pyarrow as pa

from marketday.deliveries.formats import HEAD, Coding, folded_as
from marketday.deliveries.limits import FREE, RATIO, Limits, folded, too_much
from marketday.errors import DeliveryError

_AT_ONCE = 1 << 28
"""Bytes that a reader may ask for at once: what asks for more was told so by the file."""


class Unfolded(io.RawIOBase):
    """The bytes of a file without its coding. ``sha256`` is theirs, of those that were read.

    Reading raises DeliveryError as soon as more comes out than may, or than data would.
    """

    def __init__(self, path: Path, table: str, coding: Coding, limits: Limits) -> None:
        super().__init__()
        self._table, self._limits = table, limits
        self._file = pa.OSFile(str(path))
        if coding == "identity":  # A file ending in .gz is often sent without a word about it.
            coding = folded_as(self._file.read(HEAD))
            self._file.seek(0)
        self.folded = coding != "identity"
        self._stream = pa.CompressedInputStream(self._file, coding) if self.folded else self._file
        self._digest = hashlib.sha256()
        self._size = 0
        self._ahead = b""

    @property
    def sha256(self) -> str:
        """Hash of what was read so far."""
        return self._digest.hexdigest()

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def peek(self, size: int) -> bytes:
        """Return the next bytes, at most ``size``, and leave them where they are."""
        while len(self._ahead) < size and (more := self._next(size - len(self._ahead))):
            self._ahead += more
        return self._ahead[:size]

    def read(self, size: int | None = -1) -> bytes:
        """Return the next bytes, fewer than ``size`` only at the end."""
        if size is None or size < 0 or size > _AT_ONCE:
            raise DeliveryError(
                f"{self._table}: a part of the file claims to be longer than {_AT_ONCE >> 20} MiB",
                hint="Write the rows in batches of at most a million.",
                where={"table": self._table, "rule": "batch_size"},
            )
        parts, self._ahead = [self._ahead[:size]], self._ahead[size:]
        left = size - len(parts[0])
        while left and (more := self._next(left)):
            parts.append(more)
            left -= len(more)
        return b"".join(parts)

    def drain(self) -> None:
        """Read what is left, to the end."""
        self._ahead = b""
        while self._next(_AT_ONCE):
            continue

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()

    def _next(self, size: int) -> bytes:
        try:
            content: bytes = self._stream.read(min(size, 1 << 20))
        except OSError as error:
            raise DeliveryError(
                f"{self._table}: the file cannot be unfolded: {error}",
                hint="Send it again, whole, and with the Content-Encoding that it has.",
                where={"table": self._table, "rule": "coding"},
            ) from error
        self._digest.update(content)
        self._size += len(content)
        if self._size > self._limits.unfolded:
            raise too_much(self._table, "unfolded", self._size, self._limits.unfolded)
        if self.folded and self._size > FREE + RATIO * self._file.tell():
            raise folded(self._table)
        return content
