"""`marketday explain`: why a forecast is what it is, and what changed since the forecast before."""

import datetime as dt
import difflib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from marketday.cli.console import RetailerName, console, parse_day
from marketday.cli.explain_words import (
    Explained,
    change_rows,
    day_rows,
    likely,
    moved,
    number,
    order_lines,
    question,
    steps_of,
    units_of,
)
from marketday.cli.show import PublishedDay, headline
from marketday.errors import StepError, listed
from marketday.retailers import Retailer

if TYPE_CHECKING:
    import polars as pl
    from rich.table import Table as RichTable

    from marketday.warehouse import Warehouse

QUANTILES = ("q025", "q250", "q500", "q750", "q975")
_BAR = 44
"""Characters of the longest bar."""


def explain(
    retailer: RetailerName,
    *,
    location: Annotated[str, typer.Option(help="Location of the series.")],
    product: Annotated[str, typer.Option(help="Product of the series.")],
    day: PublishedDay = None,
    of_day: Annotated[
        dt.date | None,
        typer.Option(
            "--of-day",
            metavar="YYYY-MM-DD",
            parser=parse_day,
            help="Day of the forecast to explain step by step. Default: the first one.",
        ),
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Also write the explanation as a page: a file .html.")] = None,
) -> None:
    """Explain the forecast of one series: base x factors = mean, the order, and what changed since yesterday.

    The base is the level that the series has sold at. Each factor says by what a group of causes multiplies it; further
    ahead, recent sales hold the forecast's own first days.

    Example: marketday explain simulated --location S01 --product P041 --html why.html
    """
    from marketday import publishing, retailers, settings
    from marketday.tables import FORECASTS
    from marketday.warehouse import Warehouse

    if html and html.suffix != ".html":
        raise typer.BadParameter(f"{html.name} must end in .html", param_hint="--html")
    environment = settings.load()
    tenant = retailers.load(retailer, environment.retailers)
    warehouse = Warehouse.from_settings(environment)
    publication, forecasts = publishing.read(warehouse, retailer, FORECASTS, day)
    one = only(forecasts, location, product)
    found = look_up(warehouse, tenant, publication, one, of_day)
    console.print(headline(tenant, publication))
    console.print(f"[bold]{escape(found.heading)}[/]\n")
    console.print(_days_table(found))
    console.print(f"\n[bold]{question(found)}[/]")
    console.print(_bars(found))
    for line in (likely(found), *found.orders):
        console.print(line, markup=False)
    console.print(f"\n[bold]What changed since {escape(found.compared_with)}?[/]")
    if found.changes is not None:
        console.print(_changes_table(found.changes))
    for line in found.moved:
        console.print(f"• {line}", markup=False)
    if html:
        from marketday.cli.explain_page import page

        html.parent.mkdir(parents=True, exist_ok=True)
        html.write_text(page(found), encoding="utf-8")
        console.print(f"\nPage: {html}", markup=False)


def only(forecasts: "pl.DataFrame", location: str, product: str) -> "pl.DataFrame":
    """Return the rows of one series.

    Raises:
        StepError: there are none; names what is like it.

    """
    import polars as pl

    for what, column, given in (("location", "location_id", location), ("product", "product_id", product)):
        known = forecasts[column].unique().sort().to_list()
        if given not in known:
            raise StepError(
                f"There is no {what} {given!r} among the forecasts in force",
                hint=f"Use one of its {len(known)} {what}s: {listed(_near(given, known))}.",
            )
    rows = forecasts.filter(pl.col("location_id") == location, pl.col("product_id") == product)
    if rows.is_empty():
        sold_at = forecasts.filter(pl.col("product_id") == product)["location_id"].unique().sort().to_list()
        raise StepError(
            f"{product} has no forecast in {location}", hint=f"It has one in {listed(_near(location, sold_at))}."
        )
    return rows


def look_up(
    warehouse: "Warehouse",
    tenant: Retailer,
    publication: dict[str, Any],
    forecasts: "pl.DataFrame",
    of_day: dt.date | None,
) -> Explained:
    """Gather what explains the published ``forecasts`` of one series.

    Raises:
        StepError: they do not cover ``of_day``, or were not explained.

    """
    import polars as pl

    from marketday import distributions, explanations, publishing
    from marketday.tables import ORDERS, PRODUCTS
    from marketday.warehouse import as_known

    made_on = publication["of_day"]
    series = explanations.Series(*forecasts.select("location_id", "product_id").row(0))
    now = explanations.explain(warehouse, tenant.name, forecasts, made_on)
    ahead = distributions.with_quantiles(now.filter(pl.col("horizon") >= 1), QUANTILES)
    rows = ahead.filter(day=of_day) if of_day else ahead
    if rows.is_empty():
        raise StepError(
            f"The forecast of {made_on} does not cover {of_day}",
            hint=f"--of-day is a day from {ahead['day'][0]} to {ahead['day'][-1]}.",
        )
    products = as_known(warehouse.scan(tenant.name, PRODUCTS), PRODUCTS, made_on)
    name, counted = products.filter(product_id=series.product).select("name", "unit").collect().row(0)
    unit = units_of(counted)
    orders = []
    if ORDERS in publishing.tables_in_force(warehouse, tenant.name, publication["run_day"]):
        placed = publishing.read(warehouse, tenant.name, ORDERS, publication["run_day"])[1]
        orders = order_lines(placed.filter(series.rows), unit)
    changes, compared_with, said = None, "the forecast before", ["There is no earlier forecast of it to compare with."]
    earlier = explanations.before(warehouse, tenant.name, made_on, series)
    if earlier:
        compared_with = f"the forecast of {earlier[0]['of_day']}"
        try:
            then = explanations.explain(warehouse, tenant.name, earlier[1], earlier[0]["of_day"])
        except StepError as error:
            said = [f"What moved it is not known: {error.message}."]
        else:
            changes = explanations.changes(now.filter(pl.col("horizon") >= 1), then)
            said = moved(changes, explanations.since(warehouse, tenant, series, now, then), now, then, unit)
    models = listed(now["model"].unique().sort())
    heading = f"{name or series.product} in {series.location}, forecast of {made_on} by {models}"
    return Explained(heading, unit, ahead, rows.row(0, named=True), orders, changes, compared_with, said)


def _near(given: str, known: list[str]) -> list[str]:
    return difflib.get_close_matches(given, known, n=5, cutoff=0.5) or known


def _days_table(found: Explained) -> "RichTable":
    return _table(f"Forecast, {found.unit} per day: level x factors = forecast", *day_rows(found))


def _changes_table(changes: "pl.DataFrame") -> "RichTable":
    return _table("By what each cause moved it", *change_rows(changes))


def _table(title: str, headings: list[str], cells: list[list[str]]) -> "RichTable":
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, pad_edge=False)
    for at, heading in enumerate(headings):
        table.add_column(heading, justify="right" if at else "left")
    for row in cells:
        table.add_row(*row)
    return table


def _bars(found: Explained) -> "RichTable":
    from rich.table import Table

    table = Table(show_header=False, box=None, pad_edge=False)
    for justify in ("left", "right", "right", "left"):
        table.add_column(justify=justify, no_wrap=True)
    steps = steps_of(found)
    scale = _BAR / max(*(step.end for step in steps), *(step.start for step in steps), 1e-9)
    for step in steps:
        low, high = sorted((round(step.start * scale), round(step.end * scale)))
        colour = "blue" if step.factor is None else "green" if step.end > step.start else "red"
        bar = f"{' ' * low}[{colour}]{'█' * max(high - low, 1)}[/]"
        if step.factor is None:
            table.add_row(f"[bold]{step.label}[/]", "", f"[bold]{number(step.end)}[/]", bar)
        else:
            table.add_row(step.label, f"x {step.factor:.2f}", f"{step.end - step.start:+.2f}", bar)
    return table
