"""What all commands share on the terminal: one console, readable errors, the arguments that recur, waiting."""

import datetime as dt
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from typer.core import TyperGroup

from marketday.errors import MarketdayError
from marketday.retailers import Retailer
from marketday.settings import Settings

_PIPED_WIDTH = 160
"""Columns where nobody looks through a window: tables in a log or a file are not to be cut at 80."""

console = Console(
    highlight=False,
    soft_wrap=True,
    width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else _PIPED_WIDTH,
)
errors = Console(stderr=True, highlight=False, soft_wrap=True)


def parse_day(text: str) -> dt.date:
    """Read a day; typer shows the message of what is not one."""
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a day such as 2026-03-02") from None


RetailerName = Annotated[
    str, typer.Argument(metavar="RETAILER", help="Name of a retailer; `marketday retailers` lists them.")
]
Day = Annotated[
    dt.date | None,
    typer.Option(
        "--day",
        metavar="YYYY-MM-DD",
        parser=parse_day,
        help="Business day that is planned for. Default: today, or the sample day of a simulator or data set.",
    ),
]


class ReadableErrors(TyperGroup):
    """Shows an error of ours as a short message with what to do, and ends with 1; debugging, as a traceback."""

    def invoke(self, ctx: Any) -> Any:  # typer's own copy of click has no public name
        """Run the command."""
        try:
            return super().invoke(ctx)
        except MarketdayError as error:
            if ctx.params.get("debug") or os.environ.get("MARKETDAY_LOG_LEVEL", "").upper() == "DEBUG":
                raise
            show_error(error)
            raise typer.Exit(1) from error


def show_error(error: MarketdayError) -> None:
    """Print what happened, what to do and the evidence."""
    errors.print(f"[bold red]Error:[/] [red]{escape(error.message)}[/]")
    if error.hint:
        errors.print(f"[bold]What to do:[/] {escape(error.hint)}")
    if error.evidence:
        errors.print(f"[bold]Evidence:[/] {escape(error.evidence)}")


@contextmanager
def waiting() -> Iterator[Callable[[str, float], None]]:
    """Give a function that shows what is waited for: a spinner on a terminal, a line per new wait in a log."""
    shown = ""
    with console.status("starting …") as status:

        def tell(what: str, seconds: float) -> None:
            nonlocal shown
            if console.is_terminal:
                status.update(f"{what} … {seconds:.0f} s")
            elif what != shown:
                shown = what
                console.print(f"{what} … {seconds:.0f} s")

        yield tell


def day_of(given: dt.date | None, retailer: Retailer, settings: Settings) -> dt.date:
    """Return the business day: as given, else its customer's default, else the retailer's own today."""
    from marketday.adapters import customer

    if given is not None:
        return given
    if retailer.source == "none":
        return dt.datetime.now(retailer.zone).date()
    return customer(retailer, settings.data).default_day
