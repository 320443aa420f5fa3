"""What proves a delivery: its receipt, with a line for each table."""

import datetime as dt
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from marketday.tables import DELIVERED

Kind = Literal["history", "daily"]

REQUIRED: dict[Kind, tuple[str, ...]] = {
    "history": tuple(table.name for table in DELIVERED if table.required),
    "daily": ("sales",),
}
"""Tables without which a delivery is not complete: dimensions are known from the history on."""


class TableReceipt(BaseModel):
    """One delivered table, as measured on arrival."""

    model_config = ConfigDict(frozen=True)

    rows: int = Field(description="Rows received.")
    bytes: int = Field(description="Size of the stored Parquet file.")
    sha256: str = Field(description="Hash of the stored Parquet file.")
    sent_sha256: str = Field(description="Hash of the file as it was sent, without Content-Encoding.")
    sent_as: str = Field(default="Parquet", description="Format that it was read as, for a text with its encoding.")


class Receipt(BaseModel):
    """Proof of an accepted delivery."""

    model_config = ConfigDict(frozen=True)

    retailer: str
    day: dt.date = Field(description="Business day that the delivery is for; its facts end the day before.")
    id: str = Field(description="SHA-256 over kind and tables, shortened: the same content has the same id.")
    kind: Kind
    sequence: int = Field(ge=1, description="How many-th delivery of the day it is; the last one counts.")
    tables: dict[str, TableReceipt]
    accepted_at: dt.datetime = Field(description="In UTC.")
