"""`marketday run` and `marketday simulate`: mornings through the real DAG."""

import datetime as dt
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from marketday import retailers
from marketday import settings as configuration
from marketday.cli.console import Day, RetailerName, console, day_of
from marketday.errors import ServiceError, listed
from marketday.retailers import Retailer
from marketday.settings import Settings

if TYPE_CHECKING:
    from marketday.cli.airflow_api import Airflow, Run

Embedded = Annotated[
    bool,
    typer.Option("--embedded", help="Start the step service and Airflow first unless they run; stop them at the end."),
]


def run(
    retailer: RetailerName,
    day: Day = None,
    embedded: Embedded = False,
    no_delivery: Annotated[bool, typer.Option("--no-delivery", help="Go on with what was delivered before.")] = False,
) -> None:
    """Carry out one morning, from the delivery to the published forecasts and orders, through Airflow's own scheduler.

    Example: marketday run simulated --day 2025-03-04 --embedded
    """
    settings = configuration.load()
    tenant = retailers.load(retailer, settings.retailers)
    morning = day_of(day, tenant, settings)
    began = time.monotonic()
    with _station(settings, embedded=embedded) as station:
        _morning(tenant, morning, station, deliver=not no_delivery)
        _report(tenant, morning, station.settings)
        console.print(f"Done in {time.monotonic() - began:.0f} s{station.memory()}.")


def simulate(
    retailer: RetailerName,
    days: Annotated[int, typer.Option(min=1, help="How many mornings.")] = 7,
    day: Day = None,
    embedded: Embedded = False,
) -> None:
    """Carry out mornings in a row, each delivered and run; stops at the first that fails.

    Example: marketday simulate simulated --day 2025-03-04 --days 7 --embedded
    """
    settings = configuration.load()
    tenant = retailers.load(retailer, settings.retailers)
    first = day_of(day, tenant, settings)
    with _station(settings, embedded=embedded) as station:
        for morning in (first + dt.timedelta(n) for n in range(days)):
            began = time.monotonic()
            console.rule(f"{morning:%A} {morning}")
            _morning(tenant, morning, station, deliver=True)
            console.print(f"{morning} done in {time.monotonic() - began:.0f} s.")
        _report(tenant, first + dt.timedelta(days - 1), station.settings)


class Station(NamedTuple):
    """Where runs are carried out."""

    settings: Settings
    airflow: "Airflow"
    check: Callable[[], None]
    """Raises if what carries the runs out has died."""
    memory: Callable[[], str]
    """Says how much memory it has held."""


@contextmanager
def _station(settings: Settings, *, embedded: bool) -> Iterator[Station]:
    from marketday import embedded as platforms
    from marketday.cli.airflow_api import Airflow
    from marketday.cli.platform import platform

    with ExitStack() as stack:
        there = stack.enter_context(platform(settings)) if embedded else platforms.running(settings)
        if there is None:
            platforms.require(settings, "service_url", "airflow_url")
            check: Callable[[], None] = _nothing
            memory: Callable[[], str] = _unknown
        else:
            settings = there.settings(settings)
            peak = stack.enter_context(platforms.Peak(there))
            check, memory = there.check, lambda: f", with at most {peak.bytes / 2**30:.1f} GiB of memory"
        user, password = platforms.credentials(settings)
        airflow = stack.enter_context(Airflow(settings.airflow_url, user, password))
        yield Station(settings, airflow, check, memory)


def _nothing() -> None:
    """Check nothing: somebody else's platform is somebody else's to watch."""


def _unknown() -> str:
    """Say nothing about memory that is not ours to see."""
    return ""


def _morning(retailer: Retailer, day: dt.date, station: Station, *, deliver: bool) -> None:
    """Deliver if there is something to deliver, then run the DAG to its end.

    Raises:
        ServiceError: the run failed; says which task, why and where to look.

    """
    from marketday.cli.deliver import send
    from marketday.cli.follow import follow
    from marketday.runners import service

    with service.client(station.settings) as client:
        delivered = client.delivery(retailer.name, day) is not None
    if delivered:
        console.print(f"The delivery of {day} is there already.")
    elif deliver and retailer.source != "none":
        send(retailer, day, station.settings)
    else:
        console.print(f"There is no delivery of {day}: the run goes on without, in degraded mode, after the cut-off.")
    run = _start(retailer, day, station.airflow)
    console.print(f"Run {run.dag_run_id}: {station.airflow.page(run)}")
    run = follow(station.airflow, run, station.check)
    if run.state == "failed":
        raise _failure(station.airflow, run)


def _start(retailer: Retailer, day: dt.date, airflow: "Airflow") -> "Run":
    """Start the day's run, or join the one that is under way; one that has ended is followed by another."""
    from marketday.cli.airflow_api import ENDED

    dag_id, key = f"daily__{retailer.name}", retailer.partition_key(day)
    with console.status("waiting until Airflow has read the DAGs …"):
        airflow.wait_for_dag(dag_id)
    airflow.unpause(dag_id)
    under_way = [run for run in airflow.runs(dag_id, key) if run.state not in ENDED]
    if under_way:
        console.print("A run for this day is under way already; following it.")
        return under_way[0]
    return airflow.trigger(dag_id, key)


def _failure(airflow: "Airflow", run: "Run") -> ServiceError:
    failed = [task for task in airflow.tasks(run) if task.state == "failed"]
    if not failed:
        return ServiceError("The run failed, but none of its tasks did", evidence=airflow.page(run))
    message, _, cure = airflow.error(run, failed[0]).partition("\nWhat to do: ")
    return ServiceError(
        f"{listed(task.name for task in failed)} failed: {message}",
        hint=f"{cure or 'Remove the cause.'}\n"
        "Then run this command again, or clear the task in Airflow (`marketday up`): both are always safe.",
        evidence=airflow.page(run, failed[0]),
    )


def _report(retailer: Retailer, day: dt.date, settings: Settings) -> None:
    """Print what was published, and its largest series with a chart."""
    import polars as pl

    from marketday import publishing
    from marketday.cli.show import chart_name, draw, show
    from marketday.tables import ORDERS
    from marketday.warehouse import Warehouse

    warehouse = Warehouse.from_settings(settings)
    show(retailer.name, day=day)
    tables = publishing.tables_in_force(warehouse, retailer.name, day)
    published = [publishing.read(warehouse, retailer.name, table, day) for table in tables]
    if retailer.orders and ORDERS not in tables:
        console.print("[yellow]No orders are proposed:[/] no offer of a supplier is in force. Deliver `offers`.")
    size = "value" if ORDERS in tables else "mean"
    first = published[-1][1].sort(size, "location_id", "product_id", descending=[True, False, False])
    location, product = first["location_id"][0], first["product_id"][0]
    one = (pl.col("location_id") == location) & (pl.col("product_id") == product)
    target = settings.reports_path / chart_name(retailer, day, location, product)
    draw(warehouse, retailer, published[0][1].filter(one), (location, product), target)
    console.print(f"Fan chart of {product} in {location}: {target}", markup=False)
    console.print("Published:")
    for publication, _ in published:
        place = f"{settings.warehouse_url}/{retailer.name}/{publication['table']}"
        console.print(f"  {place} @ version {publication['version']}, {publication['rows']:,} rows")
        console.print(f"    sha256 {publication['content_hash']}")
