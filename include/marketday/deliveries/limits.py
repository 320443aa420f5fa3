"""What one delivered file may cost, and the words of its refusal."""

from typing import NamedTuple, Self

from marketday.errors import DeliveryError
from marketday.settings import Settings

RATIO = 200
"""Times that a compressed file may unfold. Texts unfold 5 to 50 times; what is made to hurt, 1,000 times and more."""

FREE = 16 << 20
"""Bytes that may come out of any compressed file, however small it is."""


class Limits(NamedTuple):
    """Of one file: bytes as sent and unfolded, rows, columns."""

    body: int
    unfolded: int
    rows: int
    columns: int

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Return what the environment allows."""
        return cls(
            body=settings.delivery_bytes,
            unfolded=settings.delivery_unfolded_bytes,
            rows=settings.delivery_rows,
            columns=settings.delivery_columns,
        )


_VARIABLES = {
    "body": "MARKETDAY_DELIVERY_BYTES",
    "unfolded": "MARKETDAY_DELIVERY_UNFOLDED_BYTES",
    "rows": "MARKETDAY_DELIVERY_ROWS",
    "columns": "MARKETDAY_DELIVERY_COLUMNS",
}
_WORDS = {
    "body": ("bytes", "in one body"),
    "unfolded": ("bytes", "unfolded"),
    "rows": ("rows", "in one file"),
    "columns": ("columns", "in one table"),
}

LIMIT = "limit_"
"""What the rules begin with that say how much is too much."""


def too_much(table: str, what: str, given: int, most: int) -> DeliveryError:
    """Return the refusal of a file that has more of ``what`` (a field of :class:`Limits`) than it may."""
    unit, where = _WORDS[what]
    return DeliveryError(
        f"{table}: at least {given:,} {unit} {where}; at most {most:,} are taken",
        hint=f"Send less at a time, or have the service's {_VARIABLES[what]} raised.",
        where={"table": table, "rule": LIMIT + what},
    )


def folded(table: str) -> DeliveryError:
    """Return the refusal of a file that unfolds far more than data does."""
    return DeliveryError(
        f"{table}: the file unfolds to more than {RATIO} times its size",
        hint="Send it with less compression or none, if it really is data.",
        where={"table": table, "rule": LIMIT + "ratio"},
    )
