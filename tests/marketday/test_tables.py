"""The catalogue is consistent with itself, so that what is derived from it can rely on it."""

import pyarrow as pa
import pytest

from marketday import tables
from marketday.errors import WarehouseError
from marketday.tables import RUN_DAY, Table

EVERY = pytest.mark.parametrize("table", tables.ALL.values(), ids=lambda table: table.name)


@EVERY
def test_a_key_is_made_of_columns_that_cannot_be_null(table: Table):
    for name in table.key:
        assert not table.column(name).nullable or table.kind == "raw"


@EVERY
def test_every_column_is_described_and_run_day_comes_last(table: Table):
    assert table.description
    assert all(column.description for column in table.columns)
    assert table.schema.names[-1] == RUN_DAY
    assert table.delivered_schema.names == table.schema.names[:-1]


@EVERY
def test_references_lead_to_the_key_of_a_dimension(table: Table):
    for column in table.columns:
        if column.references:
            target = tables.get(column.references)
            assert target.kind == "dimension"
            assert target.key == (column.name,)


@EVERY
def test_ranges_and_allowed_values_fit_their_types(table: Table):
    for column in table.columns:
        if column.minimum is not None or column.maximum is not None:
            assert pa.types.is_floating(column.type) or pa.types.is_integer(column.type)
        if column.allowed or column.pattern:
            assert column.type == pa.string()


@EVERY
def test_a_table_written_in_blocks_says_which(table: Table):
    assert not table.blocked or "block" in table.schema.names


def test_dimensions_come_before_the_facts_that_refer_to_them():
    seen: set[str] = set()
    for table in tables.DELIVERED:
        assert {c.references for c in table.columns if c.references} <= seen | {table.name}
        seen.add(table.name)


def test_an_unknown_table_is_told_which_there_are():
    with pytest.raises(WarehouseError, match="There is no table 'sale'"):
        tables.get("sale")
