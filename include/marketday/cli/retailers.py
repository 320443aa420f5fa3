"""`marketday retailers`: what is defined, and what is wrong with it."""

from rich.markup import escape
from rich.table import Table

from marketday import retailers as definitions
from marketday import settings as configuration
from marketday.cli.console import console
from marketday.errors import RetailerError, StepError
from marketday.retailers import Retailer, Training
from marketday.settings import Settings


def retailers() -> None:
    """List the retailers and their pipelines; a wrong definition is shown with its file, line and what is allowed.

    Example: marketday retailers
    """
    settings = configuration.load()
    folder = settings.retailers
    table = Table("retailer", "title", "daily run", "time zone", "horizon", "orders", "delivered by")
    wrong = []
    for name in definitions.names(folder):
        try:
            retailer = definitions.load(name, folder)
            _check_model(retailer, settings)
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


def _check_model(retailer: Retailer, settings: Settings) -> None:
    """Refuse a kind of model that there is not; for the usual one, nothing heavy is imported."""
    kind = retailer.training.model
    if kind == Training().model:
        return
    from marketday import discovery, models

    try:
        discovery.load(settings.step_modules.split())
        models.get(kind)
    except StepError as error:
        file = settings.retailers / f"{retailer.name}.yaml"
        raise RetailerError(f"{file}: training.model: {error.message}. {error.hint}") from error
