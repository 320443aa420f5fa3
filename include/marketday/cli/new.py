"""`marketday new`: the files of a step, model, feature or operator of your own."""

from pathlib import Path
from string import Template
from typing import Annotated

import typer
from rich.markup import escape

from marketday import kit
from marketday.cli.console import console


def new(
    kind: Annotated[kit.Kind, typer.Argument(help="What it is; see above.")],
    name: Annotated[str, typer.Argument(help="Small letters and digits in words joined by _, such as sold_out.")],
    folder: Annotated[Path, typer.Option(help="The project's folder.")] = Path(),
    description: Annotated[str, typer.Option(help="One sentence that says what it is. Default: the example's.")] = "",
) -> None:
    """Write a step, model, feature or operator of your own, with its test: an example that works, to be changed.

    A **step** is a function from the tables that it reads to those that it writes; it runs in this process, as a job
    of the step service or as a pod, and knows nothing of either. A **model** predicts a distribution of demand for
    every row of the table `features`. A **feature** is a function over arrays, series x days, that knows nothing of
    the future. An **operator** makes an Airflow task of the step of its name, with a runbook for support.

    Each is found by lying in its folder: no other file changes, and the tests in tests/conformance ask of it what they
    ask of all others. docs/add-a-step.md goes through it in ten minutes.

    Example: marketday new model smoothed
    """
    written = kit.write(kind, name, folder, description)
    example = kit.EXAMPLES[kind]
    lines = ["Written:", *(f"  {path}" for path in written), "Next:", *(f"  {line}" for line in example.commands)]
    for line in (*lines, example.remark):
        console.print(escape(Template(line).substitute(name=name)))
