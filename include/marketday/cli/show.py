"""`marketday show`: a day's forecasts and orders on the screen, and a chart beside them."""

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from marketday.cli.console import RetailerName, console, parse_day
from marketday.retailers import Retailer

if TYPE_CHECKING:
    import polars as pl
    from rich.table import Table as RichTable

    from marketday.tables import Table
    from marketday.warehouse import Warehouse

_TOP = 10
_HISTORY_DAYS = 56
_QUANTILES = ("q025", "q250", "q500", "q750", "q975")

PublishedDay = Annotated[
    dt.date | None,
    typer.Option(
        "--day", metavar="YYYY-MM-DD", parser=parse_day, help="Business day. Default: the latest that is published."
    ),
]
AsOf = Annotated[
    str,
    typer.Option(
        "--as-of",
        metavar="VERSION|TIME|run:DAY",
        help="Look back: a version, a time (2025-03-04T06:00, in the retailer's zone) or a run (run:2025-03-04, or one "
        "step of it, run:2025-03-04/clean). Default: now.",
    ),
]


def show(
    retailer: RetailerName,
    day: PublishedDay = None,
    *,
    as_of: AsOf = "",
    location: Annotated[str | None, typer.Option(help="Location of one series; needs --product.")] = None,
    product: Annotated[str | None, typer.Option(help="Product of one series; needs --location.")] = None,
    chart: Annotated[
        Path | None, typer.Option(help="Chart file, .svg or .png; default: in the reports folder.")
    ] = None,
) -> None:
    """Show what is in force on a day: a summary, or one series with its fan chart.

    With --as-of, what was in force then; a version is one of the table `publications`.

    Example: marketday show simulated --location S01 --product P041 --chart fan.png

    Example: marketday show simulated --as-of 2025-03-03T05:00
    """
    from marketday import publishing, retailers, settings
    from marketday.errors import StepError
    from marketday.tables import FORECASTS, ORDERS, PUBLICATIONS
    from marketday.warehouse import Warehouse

    if (location is None) != (product is None):
        raise typer.BadParameter("--location and --product name one series together; give both or none")
    if chart and chart.suffix not in {".svg", ".png"}:
        raise typer.BadParameter(f"{chart.name} must end in .svg or .png", param_hint="--chart")
    environment = settings.load()
    tenant = retailers.load(retailer, environment.retailers)
    warehouse = Warehouse.from_settings(environment)
    version = version_of(warehouse, tenant, PUBLICATIONS, as_of)
    publication, forecasts = publishing.read(warehouse, retailer, FORECASTS, day, version=version)
    there = ORDERS in publishing.tables_in_force(warehouse, retailer, day, version=version)
    orders = publishing.read(warehouse, retailer, ORDERS, day, version=version)[1] if there else None
    console.print(headline(tenant, publication))
    if location and product:
        import polars as pl

        series = (pl.col("location_id") == location) & (pl.col("product_id") == product)
        forecasts = forecasts.filter(series)
        if forecasts.is_empty():
            raise StepError(
                f"{product} in {location} has no forecast of {publication['of_day']}",
                hint=f"`marketday export forecasts {retailer} --out FILE` lists every series.",
            )
        tables = [_series_table(forecasts), *([] if orders is None else [_orders_table(orders.filter(series))])]
    else:
        tables = [_locations_table(forecasts), *([] if orders is None else [_orders_table(orders)])]
    for table in tables:
        console.print(table)
    target = chart or environment.reports_path / chart_name(tenant, publication["run_day"], location, product)
    draw(warehouse, tenant, forecasts, (location, product), target)
    console.print(f"Chart: {target}", markup=False)


def version_of(warehouse: "Warehouse", tenant: Retailer, table: "Table", as_of: str) -> int | None:
    """Return the version of the table that `--as-of` asks for; None, the latest, if it does not."""
    from marketday.warehouse import known_at

    return known_at.version(warehouse, tenant.name, table, known_at.parse(as_of, tenant.zone)) if as_of else None


def chart_name(tenant: Retailer, day: dt.date, location: str | None = None, product: str | None = None) -> str:
    """Return where a chart lies below the reports, unless told otherwise."""
    name = f"{location}-{product}".replace("/", "-") if location else "total"
    return f"{tenant.name}/{day}/forecast-{name}.svg"


def draw(
    warehouse: "Warehouse",
    tenant: Retailer,
    forecasts: "pl.DataFrame",
    series: tuple[str | None, str | None],
    target: Path,
) -> None:
    """Write the chart of one series, or of the total, as SVG or PNG by the file's ending."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(_chart(warehouse, tenant, forecasts, target.suffix[1:], series))


def headline(tenant: Retailer, publication: dict[str, Any]) -> str:
    """Say in one line what is in force: the day, its mode, and why it is not the day's own."""
    line = f"[bold]{tenant.title}[/bold], business day {publication['run_day']}: {publication['mode']}"
    if publication["reason"]:
        line += f"; [yellow]of {publication['of_day']} still in force: {escape(publication['reason'])}[/yellow]"
    return line


def _table(title: str, columns: list[str], rows: list[tuple[object, ...]], *, left: int) -> "RichTable":
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, pad_edge=False)
    for at, column in enumerate(columns):
        table.add_column(column, justify="left" if at < left else "right")
    for row in rows:
        table.add_row(*(f"{cell:,.1f}" if isinstance(cell, float) else str(cell) for cell in row))
    return table


def _locations_table(forecasts: "pl.DataFrame") -> "RichTable":
    import polars as pl

    def until(horizon: int) -> pl.Expr:
        return pl.col("mean").filter(pl.col("horizon").is_between(1, horizon)).sum()

    by_location = (
        forecasts.group_by("location_id")
        .agg(
            pl.col("product_id").n_unique().alias("products"),
            until(1).alias("first"),
            until(7).alias("week"),
            (pl.col("mode") != "fresh").mean().mul(100).alias("other"),
        )
        .sort(["week", "location_id"], descending=[True, False])
    )
    title = f"Expected demand, {min(_TOP, by_location.height)} of {by_location.height} locations"
    columns = ["location", "products", "first day", "first 7 days", "not fresh, %"]
    return _table(title, columns, by_location.head(_TOP).rows(), left=1)


def _orders_table(orders: "pl.DataFrame") -> "RichTable":
    import polars as pl

    from marketday.tables import ORDERS

    top = orders.sort(["value", *ORDERS.key], descending=[True, False, False, False]).head(_TOP)
    title = (
        f"Order proposals, {top.height} of {orders.height} by value; "
        f"{orders['packs'].sum():,} packs worth {orders['value'].sum():,.2f} in all"
    )
    arrives = pl.col("arrives").dt.strftime("%a %m-%d")
    stock = pl.col("on_hand") + pl.col("on_order")
    rows = top.select("location_id", "product_id", arrives, "expected_demand", "target", stock, "packs", "value").rows()
    columns = ["location", "product", "arrives", "demand", "target", "stock + ordered", "packs", "value"]
    return _table(title, columns, rows, left=3)


def _series_table(forecasts: "pl.DataFrame") -> "RichTable":
    import polars as pl

    from marketday import distributions

    days = distributions.with_quantiles(forecasts.sort("day"), _QUANTILES)
    rows = days.select(pl.col("day").dt.strftime("%a %m-%d"), "mode", "horizon", "mean", *_QUANTILES).rows()
    columns = ["day", "mode", "horizon", "mean", "2.5 %", "25 %", "median", "75 %", "97.5 %"]
    return _table("Forecast of demand, units per day", columns, rows, left=2)


def _chart(
    warehouse: "Warehouse",
    tenant: Retailer,
    forecasts: "pl.DataFrame",
    form: Any,
    series: tuple[str | None, str | None],
) -> bytes:
    import polars as pl

    from marketday import distributions, plots
    from marketday.tables import PRODUCTS, SALES, STOCK
    from marketday.warehouse import as_known

    of_day, first = forecasts["run_day"][0], forecasts["day"].min()
    recent = pl.col("day").is_between(first - dt.timedelta(days=_HISTORY_DAYS), first - dt.timedelta(days=1))  # type: ignore[operator]
    sales = as_known(warehouse.scan(tenant.name, SALES).filter(recent), SALES, of_day)
    if series == (None, None):
        history = sales.group_by("day").agg(pl.col("units").sum()).sort("day").collect()
        totals = forecasts.group_by("day").agg(pl.col("mean").sum()).sort("day")
        return plots.total_chart(history, totals, title=f"{tenant.title}: demand of all series per day", form=form)
    location, product = series
    one = (pl.col("location_id") == location) & (pl.col("product_id") == product)
    stock = as_known(warehouse.scan(tenant.name, STOCK).filter(recent), STOCK, of_day).filter(one)
    sold = sales.filter(one).select("day", "units")
    if tenant.absent_sales == "zero":
        reporting = sales.filter(pl.col("location_id") == location).select("day").unique()
        sold = reporting.join(sold, on="day", how="left").with_columns(pl.col("units").fill_null(0.0))
    history = (
        sold.join(stock.select("day", "stockout_share"), on="day", how="left")
        .select("day", "units", "stockout_share")
        .sort("day")
        .collect()
    )
    known = as_known(warehouse.scan(tenant.name, PRODUCTS), PRODUCTS, of_day).filter(pl.col("product_id") == product)
    name, unit = known.select("name", "unit").collect().row(0)
    return plots.fan_chart(
        history,
        distributions.with_quantiles(forecasts.sort("day"), _QUANTILES),
        title=f"{name or product} in {location}, forecast of {of_day}",
        units=f"{unit} per day",
        form=form,
    )
