"""`marketday deliver`: act as the customer and send a day's delivery to the step service."""

import datetime as dt
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from marketday import retailers
from marketday import settings as configuration
from marketday.cli.console import Day, RetailerName, console, day_of
from marketday.errors import DeliveryError
from marketday.retailers import Retailer
from marketday.settings import Settings

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
    folder: Annotated[
        Path | None,
        typer.Option("--from", help="Send this folder's <table>.parquet instead.", exists=True, file_okay=False),
    ] = None,
) -> None:
    """Send a day's delivery to the step service: from the simulator, a data set, or a folder.

    The first delivery is the whole history, also when its day is delivered again; later ones bring what happened since
    the last.

    Example: marketday deliver simulated --day 2025-03-04 --fault units_times_100
    """
    from marketday import embedded

    given = configuration.load()
    tenant = retailers.load(retailer, given.retailers)
    settings = embedded.addresses(given)
    send(tenant, day_of(day, tenant, settings), settings, faults=tuple(fault or ()), folder=folder)


def send(
    retailer: Retailer, day: dt.date, settings: Settings, *, faults: tuple[str, ...] = (), folder: Path | None = None
) -> dict[str, Any]:
    """Deliver ``day`` and return the receipt."""
    from marketday.adapters import customer
    from marketday.runners import service

    with service.client(settings) as client:
        known = client.delivery(retailer.name, day)
        again = known is not None and known["kind"] == "history"
        since = None if again else client.last_delivered(retailer.name, before=day)
    with tempfile.TemporaryDirectory() as made:
        if folder is None:
            folder = Path(made)
            with console.status(f"the customer prepares the delivery of {day} …"):
                tables = customer(retailer, settings.data).deliver(day, since=since, faults=faults)
                for name, rows in tables.items():
                    rows.write_parquet(folder / f"{name}.parquet")
        receipt = _upload(retailer, day, "history" if since is None else "daily", settings, folder)
    rows = sum(table["rows"] for table in receipt["tables"].values())
    console.print(
        f"Delivered {retailer.name} {day}: {rows:,} rows in {len(receipt['tables'])} tables, {receipt['kind']}, "
        f"receipt {receipt['id']}"
    )
    return receipt


def _upload(retailer: Retailer, day: dt.date, kind: Any, settings: Settings, folder: Path) -> dict[str, Any]:
    from marketday.runners import service

    files = sorted(folder.glob("*.parquet"))
    if not files:
        raise DeliveryError(f"There is no Parquet file in {folder}", hint="Put one <table>.parquet per table there.")
    columns = (TextColumn("delivering {task.description}"), BarColumn(), TimeElapsedColumn())
    with (
        Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress,
        service.client(settings) as client,
    ):
        bar = progress.add_task("", total=sum(file.stat().st_size for file in files))
        for file in files:
            progress.update(bar, description=file.stem)
            client.deliver_table(retailer.name, day, file.stem, file)
            progress.advance(bar, file.stat().st_size)
        return client.complete_delivery(retailer.name, day, kind)
