"""`marketday export`: a day's rows as a file."""

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from marketday.cli.console import RetailerName, console
from marketday.cli.show import AsOf, PublishedDay, version_of
from marketday.retailers import Retailer

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


def export(
    what: Annotated[
        str,
        typer.Argument(
            metavar="TABLE",
            help="forecasts and orders: as published; other tables that are made here: as made; delivered ones: as "
            "known on the day. `marketday tables` lists them.",
        ),
    ],
    retailer: RetailerName,
    out: Annotated[Path, typer.Option(help="File to write: .parquet or .csv.")],
    *,
    day: PublishedDay = None,
    as_of: AsOf = "",
) -> None:
    """Write what is in force on a day, or what was made or known on it, to one file.

    With --as-of, as it was then. Of what is published, a time or a run means what was in force then; a version is one
    of the table itself.

    Example: marketday export forecasts simulated --day 2025-03-03 --out forecasts.parquet

    Example: marketday export sales simulated --as-of run:2025-03-03/features --out sales.parquet
    """
    from pyarrow import types

    from marketday import retailers, settings, tables
    from marketday.warehouse import Warehouse

    table = tables.get(what)
    if out.suffix not in {".parquet", ".csv"}:
        raise typer.BadParameter(f"{out.name} must end in .parquet or .csv", param_hint="--out")
    if out.suffix == ".csv" and any(map(types.is_nested, table.schema.types)):
        raise typer.BadParameter(f"{what} holds lists, which CSV cannot; use .parquet", param_hint="--out")
    environment = settings.load()
    tenant = retailers.load(retailer, environment.retailers)
    rows = select(Warehouse.from_settings(environment), table, tenant, day, as_of)
    write(rows, out)
    console.print(f"{rows.height:,} rows of {what} → {out}", markup=False)


def select(
    warehouse: "Warehouse", table: "Table", tenant: Retailer, day: dt.date | None, as_of: str = ""
) -> "pl.DataFrame":
    """Return the rows to export, in key order; published forecasts with their quantiles and from horizon 1 on."""
    import polars as pl

    from marketday import distributions, publishing
    from marketday.tables import FORECASTS, PUBLICATIONS, RUN_DAY

    if table.name not in publishing.PUBLISHED:
        return _kept(warehouse, table, tenant, day, as_of)
    if as_of.isdecimal():
        rows = _kept(warehouse, table, tenant, day, as_of)
    else:
        version = version_of(warehouse, tenant, PUBLICATIONS, as_of)
        _, rows = publishing.read(warehouse, tenant.name, table, day, version=version)
    if table is not FORECASTS:
        return rows.drop(RUN_DAY, strict=False).sort(table.key)
    ahead = rows.filter(pl.col("horizon") >= 1).sort(table.key)
    return distributions.with_quantiles(ahead).select(FORECAST_COLUMNS)


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


def _kept(warehouse: "Warehouse", table: "Table", tenant: Retailer, day: dt.date | None, as_of: str) -> "pl.DataFrame":
    """Return what a day's run made, or what was known of a delivered table on it; None is the last day."""
    import polars as pl

    from marketday.tables import RUN_DAY
    from marketday.warehouse import as_known

    rows = warehouse.scan(tenant.name, table, version=version_of(warehouse, tenant, table, as_of))
    if table.kind in ("dimension", "fact"):
        rows = as_known(rows, table, day or dt.date.max)
    else:
        rows = rows.filter(pl.col(RUN_DAY) == (pl.lit(day) if day else pl.col(RUN_DAY).max()))
    return rows.drop(RUN_DAY).collect().sort(table.key)
