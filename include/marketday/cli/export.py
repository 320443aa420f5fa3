"""`marketday export`: a day's rows as a file."""

import datetime as dt
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from marketday.cli.console import RetailerName, console
from marketday.cli.show import PublishedDay

if TYPE_CHECKING:
    import polars as pl

    from marketday.tables import Table
    from marketday.warehouse import Warehouse

FORECAST_COLUMNS = (
    "location_id",
    "product_id",
    "day",
    "horizon",
    "mean",
    "dispersion",
    "zero_share",
    "q005",
    "q025",
    "q165",
    "q250",
    "q500",
    "q750",
    "q835",
    "q975",
    "q995",
    "model",
    "mode",
)


class What(StrEnum):
    """What can be exported."""

    forecasts = "forecasts"
    orders = "orders"
    features = "features"
    quarantine = "quarantine"


def export(
    what: Annotated[What, typer.Argument(help="Forecasts and orders as published; features and quarantine as made.")],
    retailer: RetailerName,
    out: Annotated[Path, typer.Option(help="File to write: .parquet or .csv.")],
    day: PublishedDay = None,
) -> None:
    """Write what is in force on a day, or what was made or refused on it, to one file.

    Example: marketday export forecasts simulated --day 2025-03-03 --out forecasts.parquet
    """
    from marketday import retailers, settings
    from marketday.warehouse import Warehouse

    if out.suffix not in {".parquet", ".csv"}:
        raise typer.BadParameter(f"{out.name} must end in .parquet or .csv", param_hint="--out")
    if what is What.features and out.suffix == ".csv":
        raise typer.BadParameter("features hold lists, which CSV cannot; use .parquet", param_hint="--out")
    environment = settings.load()
    tenant = retailers.load(retailer, environment.retailers)
    rows = select(Warehouse.from_settings(environment), what, tenant.name, day)
    write(rows, out)
    console.print(f"{rows.height:,} rows of {what.value} → {out}", markup=False)


def select(warehouse: "Warehouse", what: What, retailer: str, day: dt.date | None) -> "pl.DataFrame":
    """Return the rows to export, in key order; forecasts with their quantiles and from horizon 1 on."""
    import polars as pl

    from marketday import distributions, publishing
    from marketday.tables import FEATURES, FORECASTS, ORDERS, QUARANTINE, RUN_DAY

    if what is What.forecasts:
        _, rows = publishing.read(warehouse, retailer, FORECASTS, day)
        ahead = rows.filter(pl.col("horizon") >= 1).sort(FORECASTS.key)
        return distributions.with_quantiles(ahead).select(FORECAST_COLUMNS)
    if what is What.orders:
        _, rows = publishing.read(warehouse, retailer, ORDERS, day)
        return rows.drop(RUN_DAY).sort(ORDERS.key)
    return _made(warehouse, FEATURES if what is What.features else QUARANTINE, retailer, day)


def write(rows: "pl.DataFrame", out: Path) -> None:
    """Write the file whole or not at all."""
    partial = out.with_name(f".{out.name}.partial")
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        if out.suffix == ".csv":
            rows.write_csv(partial)
        else:
            rows.write_parquet(partial, compression="zstd")
        partial.replace(out)
    finally:
        partial.unlink(missing_ok=True)


def _made(warehouse: "Warehouse", table: "Table", retailer: str, day: dt.date | None) -> "pl.DataFrame":
    import polars as pl

    from marketday.tables import RUN_DAY

    rows = warehouse.scan(retailer, table)
    of_day = pl.lit(day) if day else pl.col(RUN_DAY).max()
    return rows.filter(pl.col(RUN_DAY) == of_day).drop(RUN_DAY).collect().sort(table.key)
