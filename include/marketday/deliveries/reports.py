"""What is told about an accepted delivery beside its receipt: what the checks made of it, and what it changed.

It is kept beside the receipts, which stand for themselves::

    {retailer}/reports/{day}/{sequence}.json             :class:`Report`
    {retailer}/reports/{day}/{sequence}.parquet          every refused row, as the table `quarantine` has it
"""

from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import polars as pl
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field

from marketday.deliveries import storage
from marketday.deliveries.changes import TableChanges
from marketday.deliveries.receipts import Receipt


class _Checked(Protocol):
    """Rows of a table as the checks split them."""

    @property
    def accepted(self) -> pl.DataFrame: ...
    @property
    def refused(self) -> pl.DataFrame: ...
    @property
    def collapsed(self) -> int: ...


class TableChecks(BaseModel):
    """Where the rows of a delivered table went: received = accepted + collapsed + all that are quarantined."""

    model_config = ConfigDict(frozen=True)

    received: int = Field(description="Rows.")
    accepted: int = Field(default=0, description="Rows that go on into the warehouse.")
    collapsed: int = Field(default=0, description="Rows that only repeat an accepted one.")
    quarantined: dict[str, int] = Field(default_factory=dict, description="Rows by the code of the rule they break.")

    def plus(self, part: _Checked) -> "TableChecks":
        """Return the counts with a part of the table more."""
        reasons = Counter(self.quarantined)
        reasons.update(dict(part.refused["reason"].value_counts().iter_rows()))
        return TableChecks(
            received=self.received,
            accepted=self.accepted + part.accepted.height,
            collapsed=self.collapsed + part.collapsed,
            quarantined=dict(sorted(reasons.items())),
        )


class Report(BaseModel):
    """What the checks made of a delivery when it came, and what it changed."""

    model_config = ConfigDict(frozen=True)

    checks: dict[str, TableChecks] = Field(description="By table that it has.")
    changes: dict[str, TableChanges] | None = Field(
        description="By table, compared with the delivery of the day before it; null for the first one."
    )


class Page(NamedTuple):
    """Some rows of many."""

    total: int
    rows: list[dict[str, Any]]


def keep(root: str, receipt: Receipt, report: Report, refused: Path) -> None:
    """Keep the report, and the Parquet file of the refused rows."""
    storage.put_file(root, f"{_place(receipt)}.parquet", refused)
    storage.put(root, f"{_place(receipt)}.json", report.model_dump_json(indent=2).encode())


def of(root: str, receipt: Receipt) -> Report | None:
    """Return the delivery's report, or None if it could not be made."""
    content = storage.get(root, f"{_place(receipt)}.json")
    return None if content is None else Report.model_validate_json(content)


def refused(root: str, receipt: Receipt, offset: int, limit: int) -> Page:
    """Return ``limit`` refused rows from ``offset`` on, of a delivery that has a report."""
    with pq.ParquetFile(storage.Reader(root, f"{_place(receipt)}.parquet")) as file:
        rows, passed = list[dict[str, Any]](), 0
        for number in range(file.metadata.num_row_groups):
            here = file.metadata.row_group(number).num_rows
            if passed + here > offset and len(rows) < limit:
                first = max(offset - passed, 0)
                rows += file.read_row_group(number).slice(first, limit - len(rows)).to_pylist()
            passed += here
        return Page(file.metadata.num_rows, rows)


def _place(receipt: Receipt) -> str:
    return f"{receipt.retailer}/reports/{receipt.day.isoformat()}/{receipt.sequence:06d}"
