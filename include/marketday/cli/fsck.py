"""`marketday fsck`: whether every stored file is there, and as it was written."""

import datetime as dt
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from marketday.cli.console import console, errors

if TYPE_CHECKING:
    from marketday.settings import Settings
    from marketday.warehouse.integrity import Checked, Finding

_COLOURS = {"missing": "red", "altered": "red", "surplus": "yellow", "leftover": "dim"}


def fsck(
    retailer: Annotated[
        str | None, typer.Argument(metavar="[RETAILER]", help="Name of the retailer. Default: all that have files.")
    ] = None,
    *,
    deep: Annotated[bool, typer.Option("--deep", help="Also read all rows and files, and hash them again.")] = False,
    repair: Annotated[
        bool, typer.Option("--repair", help="Delete leftovers of killed writers older than a day, and nothing else.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Look for files of the warehouse and of the deliveries that are missing, altered or surplus.

    Looked at are the latest version of every table, every version that a published run refers to, and every accepted
    delivery. What a killed writer left behind is told as a leftover, and harmless. The exit code is 0 if there is
    nothing else, 1 if there is.

    Example: marketday fsck simulated --deep
    """
    from marketday import settings
    from marketday.warehouse.integrity import harmful

    environment = settings.load()
    names = _names(environment, retailer)
    checked = {name: _checked(environment, name, deep=deep) for name in names}
    removed = sum(_repaired(environment, name) for name in names) if repair else 0
    findings = {name: [finding for place in places for finding in place.findings] for name, places in checked.items()}
    wrong = sum(len(harmful(found)) for found in findings.values())
    if as_json:
        print(json.dumps(_document(checked, wrong, removed=removed if repair else None), indent=2))  # noqa: T201
    else:
        for name, places in checked.items():
            _show(name, places, findings[name])
        if repair:
            console.print(f"{removed:,} leftovers deleted")
    raise typer.Exit(1 if wrong else 0)


def _names(environment: "Settings", retailer: str | None) -> list[str]:
    """Return the retailers to look at: the one that is asked for, or all that anything is stored of."""
    from marketday import retailers
    from marketday.warehouse.objects import objects

    stored = {
        name for url in (environment.warehouse_url, environment.deliveries_url) for name in objects(url).folders()
    }
    if retailer is None:
        return sorted(stored)
    if retailer not in stored:
        retailers.load(retailer, environment.retailers)  # There is nothing stored of it yet, or no such retailer.
    return [retailer]


def _checked(environment: "Settings", name: str, *, deep: bool) -> "list[Checked]":
    """Check a retailer's tables and deliveries, and show on a terminal how far it is."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from marketday.deliveries import integrity as delivered
    from marketday.warehouse import Warehouse, integrity

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    # On standard error, so that JSON stays alone.
    with Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal) as progress:
        task = progress.add_task(f"{name}: logs", total=None)
        tables, checks = integrity.check(Warehouse.from_settings(environment), name, deep=deep)
        progress.update(task, total=tables + 1)

        def places() -> "Iterator[Checked]":
            yield from checks
            yield delivered.check(environment.deliveries_url, name, deep=deep)

        done = []
        for place in places():
            progress.update(task, advance=1, description=f"{name}: {place.place}")
            done.append(place)
    return done


def _repaired(environment: "Settings", name: str) -> int:
    from marketday.deliveries import integrity as delivered
    from marketday.warehouse import Warehouse, integrity

    now = dt.datetime.now(dt.UTC)
    return integrity.remove_leftovers(Warehouse.from_settings(environment), name, now=now) + delivered.remove_leftovers(
        environment.deliveries_url, name, now=now
    )


def _show(name: str, places: "list[Checked]", findings: "list[Finding]") -> None:
    from rich.table import Table

    files = sum(place.files for place in places)
    summary = ", ".join(f"{_count(findings, kind)} {kind}" for kind in _COLOURS if _count(findings, kind)) or "all well"
    console.print(
        f"[bold]{escape(name)}[/bold]: {len(places) - 1} tables and the deliveries, {files:,} files: {summary}"
    )
    if findings:
        table = Table("", "where", box=None, pad_edge=False)
        table.add_column("file", overflow="fold")
        table.add_column("why")
        for finding in sorted(findings, key=lambda finding: list(_COLOURS).index(finding.kind)):
            kind = f"[{_COLOURS[finding.kind]}]{finding.kind}[/]"
            table.add_row(kind, finding.place, escape(finding.path), escape(finding.message))
        console.print(table)


def _count(findings: "list[Finding]", kind: str) -> int:
    return sum(finding.kind == kind for finding in findings)


def _document(checked: "dict[str, list[Checked]]", wrong: int, *, removed: int | None) -> dict[str, Any]:
    return {
        "clean": wrong == 0,
        **({} if removed is None else {"leftovers_deleted": removed}),
        "retailers": {
            name: {
                "places": {place.place: place.files for place in places},
                "findings": [finding._asdict() for place in places for finding in place.findings],
            }
            for name, places in checked.items()
        },
    }
