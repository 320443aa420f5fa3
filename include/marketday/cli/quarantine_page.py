"""What `marketday quarantine explain` says of one row."""

import datetime as dt
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from rich.markup import escape

if TYPE_CHECKING:
    from marketday.quarantine.explaining import Reference
    from marketday.retailers import Retailer
    from marketday.tables import Table
    from marketday.warehouse import Warehouse


def page(found: dict[str, Any], tenant: "Retailer", warehouse: "Warehouse", *, today: dt.date) -> Iterator[str]:
    """Return the lines about a refused row, given as :func:`marketday.quarantine.states.states` has it."""
    import polars as pl

    from marketday import tables
    from marketday.checks import CHECKS
    from marketday.quarantine import explaining
    from marketday.quarantine.decisions import row_id
    from marketday.quarantine.retrying import as_delivered

    table = tables.get(found["table"])
    refused = pl.DataFrame([found], schema_overrides={"tried": pl.Date})
    [row] = as_delivered(refused, table).iter_rows(named=True)
    dimensions = {
        name: warehouse.scan(tenant.name, tables.get(name)).collect()
        for name in {column.references for column in table.columns if column.references}
    }
    refers = explaining.references(row, table, dimensions)
    yield f"[bold]{row_id(row['delivery_day'], table.name, row['row'])}[/] of {tenant.name}: {_state(row)}"
    yield f"[bold]Rule {row['reason']}:[/] {escape(CHECKS[row['reason']].says)}"
    yield f"[bold]Here:[/] {escape(row['message'])}"
    yield "[bold]As delivered:[/]"
    yield from (f"  {line}" for line in _content(row, table))
    if refers:
        yield "[bold]What it refers to:[/]"
        yield from (f"  {escape(_reference(each))}" for each in refers)
    yield "[bold]The same key elsewhere:[/]"
    facts, quarantine = (warehouse.scan(tenant.name, each) for each in (table, tables.QUARANTINE))
    lines = explaining.elsewhere(row, table, facts, quarantine) or ["nowhere"]
    yield from (f"  {escape(line)}" for line in lines)
    yield "[bold]What to do:[/]"
    days = (today, row["delivery_day"] + dt.timedelta(days=tenant.replay_days))
    advice = explaining.what_to_do(row, table, refers, days=days, retailer=tenant.name)
    yield from (f"  - {escape(line)}" for line in advice)


def _state(row: dict[str, Any]) -> str:
    text = f"{row['state']} since {row['since']}"
    if row["state"] == "discarded":
        text += f", by {row['by']}: {row['why']}"
    elif row["tried"]:
        text += f", tried again on {row['tried']}"
    return escape(text)


def _content(row: dict[str, Any], table: "Table") -> Iterator[str]:
    for column in table.columns:
        value = row[column.name]
        unit = f" {column.unit}" if column.unit and value is not None else ""
        yield escape(f"{column.name}: {'-' if value is None else value}{unit}")
    if row["unreadable"] is not None:
        yield escape(f"could not be read: {row['unreadable']}")


def _reference(reference: "Reference") -> str:
    single = reference.dimension.removesuffix("s")
    if reference.since:
        return f"{single} '{reference.value}' is known since {reference.since}"
    near = f"; near: {', '.join(reference.near)}" if reference.near else ""
    return f"{single} '{reference.value}' is not known{near}"
