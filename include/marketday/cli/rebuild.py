"""`marketday rebuild`: any past morning again, compared hash by hash; or on what corrections have told since."""

import datetime as dt
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from marketday.cli.console import RetailerName, console, errors, parse_day
from marketday.errors import listed

if TYPE_CHECKING:
    from rich.table import Table as RichTable

    from marketday.rebuilding.corrected import Corrected
    from marketday.rebuilding.morning import Execution, Morning
    from marketday.rebuilding.rebuild import Link, Rebuilt

_SHOWN_HASH, _SHOWN_VERSIONS, _SHOWN_SERIES = 12, 3, 10


def rebuild(
    retailer: RetailerName,
    *,
    day: Annotated[
        dt.date,
        typer.Option("--day", metavar="YYYY-MM-DD", parser=parse_day, help="Business day of the past morning."),
    ],
    corrected: Annotated[
        bool, typer.Option("--corrected", help="Show what later corrections would have changed instead.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(help="Page of --corrected, .html; default: in the reports folder."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Carry out a past morning again on the versions that it read, and compare every content hash.

    Nothing is written to the warehouse and nothing that is published changes. The exit code is 0 if everything is the
    same, 1 if anything differs: the table says in which step, which rows, and what made them then.

    With --corrected, the morning is made from the facts as they are known today, and compared with what was published.

    Example: marketday rebuild simulated --day 2025-03-03

    Example: marketday rebuild simulated --day 2025-03-03 --corrected --out corrected.html
    """
    from marketday import settings
    from marketday.rebuilding import morning as mornings
    from marketday.warehouse import Warehouse

    if out and not corrected:
        raise typer.BadParameter("only --corrected makes a page", param_hint="--out")
    if out and out.suffix != ".html":
        raise typer.BadParameter(f"{out.name} must end in .html", param_hint="--out")
    environment = settings.load()
    warehouse = Warehouse.from_settings(environment)
    morning = mornings.recorded(warehouse, retailer, day)
    with _progress() as begun:
        if corrected:
            from marketday.rebuilding.corrected import corrected as correct
            from marketday.rebuilding.page import page

            found = correct(morning, warehouse, environment, begun)
            target = out or environment.reports_path / retailer / day.isoformat() / "corrected.html"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(page(found), encoding="utf-8")
        else:
            from marketday.rebuilding.rebuild import publications, rebuilt

            done = list(rebuilt(morning, warehouse, environment, begun))
            held = publications(morning, warehouse)
    if corrected:
        if as_json:
            _print_json({**_corrected_as_data(found), "page": str(target)})
        else:
            _show_corrected(found, target)
        return
    same = all(each.same for each in done) and all(link.same for link in held)
    if as_json:
        _print_json(_rebuilt_as_data(morning, done, held, same=same))
    else:
        _show_rebuilt(morning, done, held, same=same)
    if not same:
        raise typer.Exit(1)


@contextmanager
def _progress() -> "Iterator[Callable[[Execution], None]]":
    """Give a function that shows which step is being carried out; on standard error, so that JSON stays alone."""
    with errors.status("reading what is recorded …") as status:

        def begun(execution: "Execution") -> None:
            status.update(f"{escape(execution.name)} …")

        yield begun


def _show_rebuilt(morning: "Morning", done: "list[Rebuilt]", held: "tuple[Link, ...]", *, same: bool) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    console.print(
        f"[bold]{morning.retailer}[/bold], morning of {morning.day}, as recorded in runs@{morning.runs_version}"
    )
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for heading in ("step", "read", "wrote", "recorded", "rebuilt", "same"):
        table.add_column(heading)
    table.add_column("s", justify="right")
    for each in done:
        _add_rows(table, each)
    console.print(table)
    for each in done:
        for line in _differences(each):
            console.print(f"{each.execution.name}: {line}", markup=False)
    links = [link for each in done for link in each.links]
    intact = sum(link.same for link in links)
    console.print(f"{intact} of {len(links)} parts that steps read are what the steps before them wrote.")
    for link in held:
        verdict = "is what was made" if link.same else "[red]is not what was made[/red]"
        digest = f"sha256 {link.read}" if link.read else "it cannot be read"
        console.print(f"Published: {link.table}@{link.version} {verdict}, {digest}")
    if not morning.published.height:
        console.print("Nothing of this day was published by its own run.")
    console.print("[green]The same.[/green]" if same else "[red]Not the same.[/red]")


def _differences(each: "Rebuilt") -> "Iterator[str]":
    yield from filter(None, (*each.notes, each.error))
    yield from (f"{output.table}: {output.differs}" for output in each.outputs if not output.same)
    for link in each.links:
        if not link.same:
            yield f"{link.table}@{link.version}, which it read, is not what the step before wrote"


def _add_rows(table: "RichTable", each: "Rebuilt") -> None:
    read = listed((f"{name}@{version}" for name, version in each.execution.read.items()), most=_SHOWN_VERSIONS)
    first: tuple[str, str, str] = (escape(each.execution.name), read, f"{each.seconds:.1f}")
    if not each.outputs:
        verdict = "[red]no[/red]" if not each.same else "-"
        table.add_row(first[0], first[1], "-", "", "", verdict, first[2])
    for place, output in enumerate(each.outputs):
        name, versions, seconds = first if place == 0 else ("", "", "")
        verdict = "yes" if output.same else "[red]no[/red]"
        hashes = (output.recorded[:_SHOWN_HASH], output.rebuilt[:_SHOWN_HASH])
        table.add_row(name, versions, output.table, *hashes, verdict, seconds)


def _show_corrected(found: "Corrected", page: Path) -> None:
    morning = found.morning
    console.print(f"[bold]{morning.retailer}[/bold], morning of {morning.day}, on what is known today")
    for row in found.learned.iter_rows(named=True):
        what = f"{row['new']:,} rows new, {row['changed']:,} changed, {row['gone']:,} gone"
        console.print(f"  {row['table']}: {what}, of {row['first']} to {row['last']}")
    if found.learned.is_empty():
        console.print("  nothing was learned since")
    console.print(f"  model: {found.models[0]} published, {found.models[1]} corrected", markup=False)
    for name, (before, after) in found.totals.items():
        console.print(f"  {name}: {before:,.1f} published, {after:,.1f} corrected ({after - before:+,.1f})")
    console.print(f"  {found.series.height:,} series would have another forecast or order")
    for row in found.series.head(_SHOWN_SERIES).iter_rows(named=True):
        packs = f", {row['packs']:,} → {row['packs_corrected']:,} packs" if "packs" in row else ""
        line = f"{row['product_id']} in {row['location_id']}: {row['published']:,.1f} → {row['corrected']:,.1f}{packs}"
        console.print(f"    {line}", markup=False)
    console.print(f"Page: {page}", markup=False)


def _rebuilt_as_data(
    morning: "Morning", done: "list[Rebuilt]", held: "tuple[Link, ...]", *, same: bool
) -> dict[str, Any]:
    from dataclasses import asdict

    def link(each: "Link") -> dict[str, Any]:
        return {**asdict(each), "same": each.same}

    return {
        "retailer": morning.retailer,
        "day": morning.day,
        "runs_version": morning.runs_version,
        "same": same,
        "published": [link(each) for each in held],
        "steps": [
            {
                "step": each.execution.step,
                "version": each.execution.version,
                "block": each.execution.call.block,
                "release": each.execution.release,
                "read": each.execution.read,
                "outputs": [{**asdict(output), "same": output.same} for output in each.outputs],
                "links": [link(given) for given in each.links],
                "notes": each.notes,
                "error": each.error,
                "same": each.same,
                "seconds": round(each.seconds, 3),
            }
            for each in done
        ],
    }


def _corrected_as_data(found: "Corrected") -> dict[str, Any]:
    return {
        "retailer": found.morning.retailer,
        "day": found.morning.day,
        "models": {"published": found.models[0], "corrected": found.models[1]},
        "learned": found.learned.to_dicts(),
        "totals": {name: {"published": a, "corrected": b} for name, (a, b) in found.totals.items()},
        "series": found.series.to_dicts(),
    }


def _print_json(data: dict[str, Any]) -> None:
    console.print_json(json.dumps(data, default=str))
