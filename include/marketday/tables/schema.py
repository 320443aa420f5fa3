"""What a table of the catalogue says about itself."""

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal, NamedTuple

import pyarrow as pa

Kind = Literal["dimension", "fact", "raw", "staged", "made"]

RUN_DAY = "run_day"
"""The business day whose run wrote the row: when the row became known. Every table has it."""


class Pattern(NamedTuple):
    """How a text must be written."""

    regex: str
    """What all of it must match."""
    words: str
    """The same for people, to follow "it must be"."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column: Arrow type, meaning, unit and what values make sense."""

    name: str
    type: pa.DataType
    description: str
    unit: str = ""
    nullable: bool = False
    minimum: float | None = None
    maximum: float | None = None
    allowed: tuple[str, ...] = ()
    pattern: Pattern | None = None
    references: str = ""
    """Name of the dimension whose key this column must be found in."""
    wildcard: str = ""
    """A value that stands for "all" and needs no reference."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """One table: its columns, its key (without ``run_day``) and where it stands in the flow."""

    name: str
    kind: Kind
    description: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    blocked: bool = False
    """Whether the blocks of a day are written one by one; the table then has a column ``block``."""
    required: bool = field(default=False)
    """Whether a complete delivery must bring it."""
    planned: bool = False
    """Whether each delivery brings the whole plan from its business day on, so that what it leaves out is withdrawn."""

    @cached_property
    def schema(self) -> pa.Schema:
        """Arrow schema as stored, ``run_day`` last."""
        own = [pa.field(c.name, c.type, nullable=c.nullable) for c in self.columns]
        return pa.schema([*own, pa.field(RUN_DAY, pa.date32(), nullable=False)])

    @cached_property
    def delivered_schema(self) -> pa.Schema:
        """Arrow schema as delivered: without ``run_day``."""
        return pa.schema([pa.field(c.name, c.type, nullable=c.nullable) for c in self.columns])

    def column(self, name: str) -> Column:
        """Return the column of that name."""
        return next(c for c in self.columns if c.name == name)


BLOCK = Column(
    name="block",
    type=pa.string(),
    description="Part of the day that is written on its own: a block of locations, a gate, a step.",
)
ROW = Column(name="row", type=pa.int64(), description="Row number in the delivered table, from 0.", minimum=0)
UNREADABLE = Column(
    name="unreadable",
    type=pa.string(),
    nullable=True,
    description="What could not be read as its column's type, as `column=text`; the column is null then.",
)


REREAD = Column(
    name="reread",
    type=pa.string(),
    nullable=True,
    description="Numbers that were written with a decimal comma, as `column=text`; they could be read.",
)


def raw(table: Table) -> Table:
    """Return the raw twin: the same columns, all nullable and unchecked, with the row's number and how it was read."""
    loose = tuple(
        replace(c, nullable=True, references="", minimum=None, maximum=None, allowed=(), pattern=None)
        for c in table.columns
    )
    return Table(
        name=f"raw_{table.name}",
        kind="raw",
        description=f"As delivered, unchecked: {table.description}",
        columns=(*loose, ROW, UNREADABLE, REREAD),
        key=("row",),
    )


def staged(table: Table) -> Table:
    """Return the staged twin: checked rows that wait for the gate before they become facts."""
    return replace(
        table, name=f"staged_{table.name}", kind="staged", description=f"Checked, not yet loaded: {table.description}"
    )
