"""The command line: `marketday`. Every command imports what it needs when it runs, so that help is instant."""

import logging
from collections.abc import Callable
from typing import Annotated

import typer

from marketday.cli.backtest import backtest
from marketday.cli.checks import checks
from marketday.cli.console import ReadableErrors
from marketday.cli.deliver import deliver
from marketday.cli.explain import explain
from marketday.cli.export import export
from marketday.cli.features import features
from marketday.cli.fsck import fsck
from marketday.cli.migrate import migrate
from marketday.cli.new import new
from marketday.cli.platform import serve, up
from marketday.cli.quarantine import quarantine
from marketday.cli.rebuild import rebuild
from marketday.cli.retailers import retailers
from marketday.cli.run import run, simulate
from marketday.cli.show import show
from marketday.cli.status import status
from marketday.cli.step import step
from marketday.cli.tables import tables
from marketday.cli.token import token

COMMANDS: dict[str, tuple[Callable[..., None], ...]] = {
    "A morning": (run, simulate, deliver),
    "What came out": (status, show, explain, export, rebuild),
    "How good it is": (backtest,),
    "What runs": (up, serve, migrate, retailers, checks, tables, features, fsck),
    "Your own": (new,),
}

app = typer.Typer(
    name="marketday",
    cls=ReadableErrors,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,  # plain tracebacks read better in a log
    context_settings={"help_option_names": ["-h", "--help"]},
)
for panel, functions in COMMANDS.items():
    for function in functions:
        app.command(rich_help_panel=panel)(function)
app.add_typer(quarantine, rich_help_panel="What came out")
app.add_typer(step, rich_help_panel="What runs")
app.add_typer(token, rich_help_panel="What runs")


@app.callback()
def marketday(
    debug: Annotated[bool, typer.Option("--debug", help="Show an error with its traceback.")] = False,
) -> None:
    """Daily demand forecasts of retailers, from the delivery to published order proposals.

    Example: marketday run simulated --embedded
    """
    if debug:
        logging.basicConfig(level=logging.DEBUG)
