"""`marketday deliver`: act as the customer and send a day's delivery to the step service."""

import datetime as dt
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn, TransferSpeedColumn

from marketday import retailers
from marketday import settings as configuration
from marketday.cli.console import Day, RetailerName, console, day_of
from marketday.errors import DeliveryError, listed
from marketday.retailers import Retailer
from marketday.settings import Settings

if TYPE_CHECKING:
    from rich.table import Table as RichTable

    from marketday.cli.sources import File

Faults = Annotated[
    list[str] | None,
    typer.Option(
        "--fault", metavar="NAME", help="Put a fault into it; may be repeated. A wrong name lists the right ones."
    ),
]


def deliver(
    retailer: RetailerName,
    day: Day = None,
    fault: Faults = None,
    source: Annotated[
        list[str] | None,
        typer.Option(
            "--from",
            metavar="SOURCE",
            help="Send the files of this folder instead, <table>.parquet, .arrows, .csv or .ndjson, also with .gz or "
            ".zst behind it. May be a file, the web address of one, or a folder such as s3://bucket/drop/2025-03-04; "
            "may be repeated.",
        ),
    ] = None,
) -> None:
    """Send a day's delivery to the step service: from the simulator, a data set, files, or an object store.

    The first delivery is the whole history, also when its day is delivered again; later ones bring what happened since
    the last. The receipt says what became of every row.

    Example: marketday deliver simulated --day 2025-03-04 --from s3://bucket/drop/2025-03-04
    """
    from marketday import embedded

    given = configuration.load()
    tenant = retailers.load(retailer, given.retailers)
    settings = embedded.addresses(given)
    receipt = send(
        tenant, day_of(day, tenant, settings), settings, faults=tuple(fault or ()), sources=tuple(source or ())
    )
    console.print(_table(receipt))
    if receipt.get("note"):
        console.print(f"[yellow]Not checked yet:[/] {escape(receipt['note'])}")


def send(
    retailer: Retailer,
    day: dt.date,
    settings: Settings,
    *,
    faults: tuple[str, ...] = (),
    sources: tuple[str, ...] = (),
) -> dict[str, Any]:
    """Deliver ``day`` and return the receipt."""
    from marketday.adapters import customer
    from marketday.cli.sources import gathered
    from marketday.runners import service

    with service.client(settings) as client:
        known = client.delivery(retailer.name, day)
        again = known is not None and known["kind"] == "history"
        since = None if again else client.last_delivered(retailer.name, before=day)
    with tempfile.TemporaryDirectory() as made:
        with console.status(f"the customer prepares the delivery of {day} …"):
            if not sources:
                tables = customer(retailer, settings.data).deliver(day, since=since, faults=faults)
                for name, rows in tables.items():
                    rows.write_parquet(Path(made) / f"{name}.parquet")
            files = gathered(sources or (made,), Path(made))
        receipt = _upload(retailer, day, "history" if since is None else "daily", settings, files)
    rows = sum(table["rows"] for table in receipt["tables"].values())
    console.print(
        f"Delivered {retailer.name} {day}: {rows:,} rows in {len(receipt['tables'])} tables, {receipt['kind']}, "
        f"receipt {receipt['id']}"
    )
    return receipt


def _upload(
    retailer: Retailer, day: dt.date, kind: Literal["history", "daily"], settings: Settings, files: "list[File]"
) -> dict[str, Any]:
    """Send the files and complete the delivery.

    Raises:
        DeliveryError: the service refuses a file or the delivery; or the receipt is of another delivery of the day,
            that somebody else has completed in between.

    """
    from marketday.runners import service

    columns = (
        TextColumn("delivering {task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeElapsedColumn(),
    )
    with (
        Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress,
        service.client(settings) as client,
    ):
        bar = progress.add_task("", total=sum(file.path.stat().st_size for file in files))
        sent = {}
        for file in files:
            progress.update(bar, description=file.table)
            sent[file.table] = client.deliver_table(
                retailer.name,
                day,
                file.table,
                file.path,
                headers=file.headers,
                tell=lambda size: progress.advance(bar, size),
            )
        progress.update(bar, description="checks")
        receipt = client.complete_delivery(retailer.name, day, kind)
    # Not the hash of what is kept: another release may store the same rows as other bytes.
    others = [
        table
        for table, put in sent.items()
        if any(receipt["tables"].get(table, {}).get(name) != put.get(name) for name in ("sent_sha256", "sent_as"))
    ]
    if others:
        raise DeliveryError(
            f"{retailer.name} {day}: delivery {receipt['id']} has other rows of {listed(others)} than were sent",
            hint="Somebody else delivers for the same day. Agree on one of you, then deliver again.",
        )
    return receipt


def _table(receipt: dict[str, Any]) -> "RichTable":
    """Return the receipt as a table for people: where the rows of each table went, and what a correction changes."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    changes = receipt.get("changes")
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for column in ("table", "received", "accepted", "repeated", "quarantined"):
        table.add_column(column, justify="left" if column == "table" else "right")
    table.add_column("because")
    if changes:
        table.add_column("changes")
    for name, measured in receipt["tables"].items():
        checks = (receipt.get("checks") or {}).get(name)
        cells = [name, f"{measured['rows']:,}", "?", "?", "?", ""]
        if checks:
            reasons = checks["quarantined"]
            cells[2:5] = [f"{n:,}" for n in (checks["accepted"], checks["collapsed"], sum(reasons.values()))]
            cells[5] = ", ".join(f"{reason} {rows:,}" for reason, rows in reasons.items())
        if changes:
            cells.append("{added:,} added, {removed:,} removed, {changed:,} changed".format(**changes[name]))
        table.add_row(*cells)
    return table
