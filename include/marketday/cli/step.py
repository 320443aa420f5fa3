"""`marketday step`: the steps that there are, and one of them carried out, by hand or inside a pod."""

import datetime as dt
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from marketday import settings as configuration
from marketday.cli.console import Day, console
from marketday.errors import MarketdayError, StepError
from marketday.settings import Settings, Size

if TYPE_CHECKING:
    from marketday.calls import Call, Result

Runner = Literal["local", "service"]

CALL_VARIABLE = "MARKETDAY_CALL"

CONTEXT_VARIABLES = {"run_id": "MARKETDAY_RUN_ID", "job_id": "MARKETDAY_JOB_ID"}
"""What lines of the log say of the run and of the pod."""

step = typer.Typer(name="step", no_args_is_help=True, rich_markup_mode="markdown", help="List steps, or run one.")


@step.command("list")
def list_steps() -> None:
    """List the steps in the order of the morning: version, resource class, what they read and write.

    Example: marketday step list
    """
    from rich.markup import escape
    from rich.table import Table

    from marketday.steps import contract

    settings = configuration.load()
    contract.load_all(settings.step_modules.split())
    table = Table("step", "version", "size", "reads", "writes", "what it does")
    for name in contract.names():
        found = contract.get(name)
        reads, writes = (", ".join(each.name for each in tables) for tables in (found.reads, found.writes))
        table.add_row(f"[bold]{name}[/]", str(found.version), found.size, reads, writes, escape(found.description))
    console.print(table)
    classes = settings.resource_classes.items()
    sizes = (f"{name}: {of.cores} cores, {of.memory_gib:g} GiB, {of.seconds} s" for name, of in classes)
    console.print("size: " + "; ".join(sizes))


@step.command("run")
def run_step(
    what: Annotated[
        str,
        typer.Argument(
            metavar="[CALL|STEP]",
            help="A call as JSON, a file with one, or - for standard input; or a step, such as clean or clean@1, and a "
            f"retailer. "
            f"Default: the call in {CALL_VARIABLE}.",
        ),
    ] = "",
    retailer: Annotated[str, typer.Argument(metavar="[RETAILER]", help="Name of a retailer.")] = "",
    *,
    day: Day = None,
    block: Annotated[str, typer.Option(help="Block of locations, for a step that is mapped over them.")] = "",
    param: Annotated[
        list[str] | None, typer.Option("--param", metavar="KEY=VALUE", help="Parameter of the step, as YAML.")
    ] = None,
    runner: Annotated[
        Runner, typer.Option(help="local: in this process. service: as a job of the step service.")
    ] = "local",
    size: Annotated[
        Size | None,
        typer.Option(help="Resource class whose threads it may use here. Default: as many as there are cores."),
    ] = None,
    result: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH", help="Write result or error there, as JSON of at most 4096 bytes: what a pod does."
        ),
    ] = None,
) -> None:
    """Carry out one step in the environment that the settings describe, and say what it left behind.

    A step is safe to run again at any time. It reads the latest tables, unless its call names versions. The exit code
    is 0, or 1 if the step failed, or 143 if it was ended by SIGTERM: it has then left nothing half-written.

    Example: marketday step run clean simulated --day 2025-03-03

    Example: marketday step run train simulated --day 2025-03-03 --param only_if_missing=true --runner service
    """
    from marketday.runners import pod

    if runner == "service":
        _refuse("they are for a step that runs here", size=size, result=result)
    if not retailer:
        _refuse("a call has them in it", day=day, block=block, param=param)
    try:
        settings = configuration.load()
        if size is not None:  # read by the libraries that are imported below
            os.environ.update(pod.threads(settings.resource_classes[size].cores))
        call = (
            _call_of_words(what, retailer, day=day, block=block, param=param or [], settings=settings)
            if retailer
            else _call_of_text(what)
        )
    except MarketdayError as error:
        if result is not None:
            pod.refused(error, result)
        raise
    if runner == "service":
        from marketday.runners import service

        _show(service.run(call, settings))
        return
    given = {name: os.environ[variable] for name, variable in CONTEXT_VARIABLES.items() if variable in os.environ}
    trace = os.environ.get("TRACEPARENT", "")
    try:
        left = pod.run(call, settings, context=given, traceparent=trace, report=result)
    except MarketdayError as error:
        if result is None:
            raise
        raise typer.Exit(1) from error  # log and report have it
    if result is None:
        _show(left)


def _refuse(why: str, **options: object) -> None:
    if any(options.values()):
        raise typer.BadParameter(why, param_hint=" and ".join(f"--{name}" for name in options))


def _call_of_words(
    words: str, retailer: str, *, day: dt.date | None, block: str, param: list[str], settings: Settings
) -> "Call":
    from marketday import retailers
    from marketday.cli.console import day_of

    name, _, version = words.partition("@")
    data = {
        "step": name,
        "version": int(version) if version.isdecimal() else version or 1,
        "retailer": retailer,
        "day": day_of(day, retailers.load(retailer, settings.retailers), settings).isoformat(),
        "block": block or None,
        "params": dict(map(_parameter, param)),
    }
    return _call("the command line", json.dumps(data))


def _call_of_text(what: str) -> "Call":
    if what == "-":
        return _call("standard input", sys.stdin.read())
    if what.lstrip().startswith("{"):
        return _call("the argument", what)
    if what:
        path = Path(what)
        if not path.is_file():
            raise StepError(
                f"There is no file {what}",
                hint=f"For a step of that name, give a retailer too: marketday step run {what} RETAILER",
            )
        return _call(what, path.read_text(encoding="utf-8"))
    if CALL_VARIABLE not in os.environ:
        raise StepError(
            f"There is no call: no argument is given, and {CALL_VARIABLE} is not set",
            hint="For example: marketday step run clean simulated --day 2025-03-03",
        )
    return _call(CALL_VARIABLE, os.environ[CALL_VARIABLE])


def _call(where: str, text: str) -> "Call":
    """Read a call from JSON.

    Raises:
        StepError: it is none; says where it came from and what is wrong.

    """
    from pydantic import ValidationError

    from marketday.calls import Call

    try:
        return Call.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise StepError(
            f"Not a call, in {where}: {f'{field}: ' if field else ''}{first['msg']}",
            hint='A call is, for example, {"step": "clean", "retailer": "simulated", "day": "2025-03-03"}; '
            "`marketday step list` shows the steps.",
        ) from error


def _parameter(text: str) -> tuple[str, Any]:
    import yaml

    key, equals, value = text.partition("=")
    if not equals or not key:
        raise typer.BadParameter(f"{text!r} is not KEY=VALUE, for example rounds=50", param_hint="--param")
    return key, yaml.safe_load(value)


def _show(left: "Result") -> None:
    """Print what the step has left behind."""
    for table, count in left.rows.items():
        console.print(f"{table} @ version {left.snapshots[table]}: {count:,} rows", markup=False)
    for name, value in left.facts.items():
        console.print(f"{name}: {value}", markup=False)
    for title, address in left.links.items():
        console.print(f"{title}: {address}", markup=False)
