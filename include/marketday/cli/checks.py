"""`marketday checks`: every rule that a delivery is judged by, and how it holds for a retailer."""

from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from marketday.checks import CHECKS, LEFT_OUT
from marketday.cli.console import console


def checks(
    retailer: Annotated[
        str, typer.Argument(metavar="[RETAILER]", help="Show how severe each is there; without it, by itself.")
    ] = "",
) -> None:
    """List the checks of a delivery: what breaks each, what to do then, and how severe it is.

    refuse: the row goes to quarantine. warn: it is kept, and reported. fail: the gate stops the morning. Those that are
    marked with * may be left out or given another severity in the section `checks` of a retailer's definition.

    Example: marketday checks simulated
    """
    from marketday import retailers
    from marketday import settings as configuration
    from marketday.retailers import Checks

    here = retailers.load(retailer, configuration.load().retailers).checks if retailer else Checks()
    for of, title in (("rows", "Of single rows, in this order"), ("tables", "Of whole tables, by the gate clean")):
        table = Table(
            "check", "severity", "looks at", "what breaks it", "what to do", title=title, title_justify="left"
        )
        for check in CHECKS.values():
            if check.of == of:
                severity = here.of(check.code) or LEFT_OUT
                mark = " *" if check.other else ""
                looks_at = ", ".join(check.tables) or "all tables"
                table.add_row(check.code, severity + mark, looks_at, escape(check.says), escape(check.advice))
        console.print(table)
