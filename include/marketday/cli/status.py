"""`marketday status`: what is in force, how it came about, and what failed."""

import datetime as dt
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from marketday.cli.console import console
from marketday.retailers import Retailer

if TYPE_CHECKING:
    import polars as pl

    from marketday.warehouse import Warehouse


def status(
    retailer: Annotated[
        str | None, typer.Argument(metavar="[RETAILER]", help="Name of the retailer. Default: all of them.")
    ] = None,
) -> None:
    """Say per retailer what is in force, whether it is stale and why, which step failed and what was refused.

    Example: marketday status simulated
    """
    from marketday import retailers, settings
    from marketday.warehouse import Warehouse

    environment = settings.load()
    warehouse = Warehouse.from_settings(environment)
    for name in [retailer] if retailer else retailers.names(environment.retailers):
        tenant = retailers.load(name, environment.retailers)
        _report(warehouse, tenant, dt.datetime.now(tenant.zone))


def _report(warehouse: "Warehouse", tenant: Retailer, now: dt.datetime) -> None:
    from marketday import publishing
    from marketday.tables import PUBLICATIONS, RUN_DAY, RUNS

    console.print(f"[bold]{tenant.title}[/bold] ({tenant.name})")
    publications = warehouse.scan(tenant.name, PUBLICATIONS).collect()
    if publications.is_empty():
        console.print("  nothing is published yet")
    for row in publishing.in_force(publications, dt.date.max).iter_rows(named=True):
        console.print(f"  {row['table']} of {_published(row)}")
    if not publications.is_empty() and max(publications[RUN_DAY]) < now.date():
        console.print(f"  [yellow]today, {now.date()}, is not published; due by {tenant.deadline:%H:%M}[/yellow]")
    runs = warehouse.scan(tenant.name, RUNS).collect()
    if not runs.is_empty():
        _report_runs(runs, warehouse, tenant)


def _published(row: dict[str, Any]) -> str:
    text = f"{row['of_day']}: {row['mode']}, {row['rows']:,} rows, version {row['version']}"
    if row["reason"]:
        text += f"; [yellow]still in force on {row['run_day']}: {escape(row['reason'])}[/yellow]"
    return text


def _report_runs(runs: "pl.DataFrame", warehouse: "Warehouse", tenant: Retailer) -> None:
    import polars as pl

    from marketday.tables import QUARANTINE, RUN_DAY

    day = max(runs[RUN_DAY])
    latest = runs.filter(pl.col(RUN_DAY) == day).sort("started", "step", "block")
    failed = latest.filter(pl.col("state") == "failed")
    seconds = latest["seconds"].sum()
    console.print(f"  last run {day}: {latest.height} executions of steps in {seconds:.0f} s, {failed.height} failed")
    for row in failed.iter_rows(named=True):
        first_line = row["message"].splitlines()[0]
        console.print(f"    [red]{row['block']}[/red] failed at {row['started']:%H:%M} UTC: {escape(first_line)}")
    refused = warehouse.scan(tenant.name, QUARANTINE).filter(pl.col(RUN_DAY) == day).collect()
    for table, rows in refused["table"].value_counts().sort("table").iter_rows():
        console.print(f"  quarantine of {day}: {rows:,} rows of {table}")
