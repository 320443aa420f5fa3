"""`marketday features`: what the models may know, and what each feature rests on."""

from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from marketday.cli.console import console


def features(
    name: Annotated[
        str, typer.Argument(metavar="[FEATURE]", help="One feature to explain; without it, all are listed.")
    ] = "",
) -> None:
    """List the declared features, or explain one: what it reads, how far back, and what it knows at the origin.

    A feature is a function over arrays, series x days, with a declaration above it. "origin" features know what was
    observed up to the end of the origin, the day before the first one that is forecast. "planned" features know what
    is planned for the target day itself and nothing that is observed. `marketday new feature` adds one; the tests
    prove of every declared feature that it does not look ahead.

    Example: marketday features mean_28_back_7
    """
    from marketday import discovery, settings
    from marketday.features.declare import registry

    discovery.load(settings.load().step_modules.split())
    if name:
        _explain(name)
        return
    table = Table("feature", "knows", "per", "reads", "days", "what it is")
    for feature in registry().values():
        table.add_row(
            f"[bold]{feature.name}[/]",
            feature.knows,
            feature.per,
            ", ".join(feature.inputs),
            str(feature.reach),
            escape(feature.doc.split("\n")[0]),
        )
    console.print(table)
    console.print("days: of history that a value rests on, its own included. More: marketday features FEATURE")


def _explain(name: str) -> None:
    import numpy as np

    from marketday.features.declare import INPUTS, get

    feature = get(name)
    console.print(f"[bold]{feature.name}[/]: {escape(feature.doc)}")
    known = {
        "origin": "what was observed up to the end of the origin",
        "planned": "what is planned for the target day; nothing observed",
    }
    reads = "; ".join(f"{name} ({INPUTS[name].doc[0].lower()}{INPUTS[name].doc[1:]})" for name in feature.inputs)
    table = Table(show_header=False, box=None)
    table.add_row("knows", known[feature.knows])
    table.add_row("reads", escape(reads))
    table.add_row("rows", f"one per {feature.per}{_repeated(feature.per)}")
    table.add_row(
        "look-back", f"{_days(feature.lookback)}{_when(feature.knows, feature.back, same_weekday=feature.same_weekday)}"
    )
    kind = f"whole numbers that stand for names of {feature.vocabulary}" if feature.vocabulary else "numbers"
    table.add_row("values", f"{kind}, {np.dtype(feature.dtype).name}")
    table.add_row("declared in", feature.compute.__module__)
    console.print(table)


def _repeated(per: str) -> str:
    return "" if per == "series" else ", repeated for its series"


def _when(knows: str, back: int, *, same_weekday: bool) -> str:
    """Say on which day the look-back ends."""
    day = "the origin" if knows == "origin" else "the target"
    if same_weekday:
        day = "the last day up to the origin that has the target's weekday"
    return f"{back} days before {day}" if back else day


def _days(lookback: int) -> str:
    return "" if lookback == 1 else f"{lookback} days, the last of them "
