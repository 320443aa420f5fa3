"""`marketday retailers`: what is defined, and what is wrong with it."""

from rich.markup import escape
from rich.table import Table

from marketday import retailers as definitions
from marketday import settings as configuration
from marketday.cli.console import console
from marketday.errors import RetailerError


def retailers() -> None:
    """List the retailers and their pipelines; a wrong definition is shown with its file, line and what is allowed.

    Example: marketday retailers
    """
    folder = configuration.load().retailers
    table = Table("retailer", "title", "daily run", "time zone", "horizon", "orders", "delivered by")
    wrong = []
    for name in definitions.names(folder):
        try:
            retailer = definitions.load(name, folder)
        except RetailerError as error:
            wrong.append(error)
            table.add_row(name, "[red]wrong, see below[/]")
            continue
        orders = "yes" if retailer.orders else "no"
        source = "a customer" if retailer.source == "none" else retailer.source
        table.add_row(
            name, retailer.title, retailer.schedule, retailer.time_zone, f"{retailer.horizon} days", orders, source
        )
    console.print(table)
    if wrong:
        raise RetailerError("\n".join(error.message for error in wrong), hint="Correct the lines above.")
    if not table.rows:
        raise RetailerError(f"No retailer is defined in {escape(str(folder))}", hint="Set MARKETDAY_RETAILERS.")
