"""`marketday quarantine`: which rows were refused and why, one of them explained, and what to do with them."""

import datetime as dt
from typing import TYPE_CHECKING, Annotated, Any

import typer

from marketday.cli.console import RetailerName, console, parse_day

if TYPE_CHECKING:
    import polars as pl

    from marketday.quarantine.decisions import Decision
    from marketday.retailers import Retailer
    from marketday.warehouse import Warehouse

CONFIRM_ABOVE = 100
"""Rows that one decision may be about without being asked for confirmation."""
_LIMIT = 100

quarantine = typer.Typer(
    name="quarantine", no_args_is_help=True, rich_markup_mode="markdown", help="Refused rows: list, explain, decide."
)

Ids = Annotated[
    list[str] | None, typer.Argument(metavar="[ID]...", help="Single rows, as `list --rows` shows them. Default: all.")
]
DeliveryDay = Annotated[
    dt.date | None,
    typer.Option("--day", metavar="YYYY-MM-DD", parser=parse_day, help="Business day whose delivery brought the rows."),
]
TableName = Annotated[str, typer.Option("--table", metavar="TABLE", help="Delivered table, such as sales.")]
Rule = Annotated[
    str, typer.Option("--rule", "--reason", metavar="CODE", help="Rule that the rows broke, such as unknown_product.")
]
RuleOnly = Annotated[
    str, typer.Option("--rule", metavar="CODE", help="Rule that the rows broke, such as unknown_product.")
]
By = Annotated[str, typer.Option("--by", metavar="NAME", help="Who decides. Default: the user of this process.")]
From = Annotated[
    dt.date | None,
    typer.Option(
        "--from",
        metavar="YYYY-MM-DD",
        parser=parse_day,
        help="First business day whose morning heeds the decision. Default: the retailer's today; of a simulator or "
        "data set, the last day that was run.",
    ),
]
Yes = Annotated[bool, typer.Option("--yes", help=f"Do not ask, also for more than {CONFIRM_ABOVE} rows.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead.")]


@quarantine.command("list")
def list_rows(
    retailer: RetailerName,
    day: DeliveryDay = None,
    table: TableName = "",
    rule: Rule = "",
    *,
    only_open: Annotated[bool, typer.Option("--open/--all", help="Only open rows, or those of every state.")] = True,
    rows: Annotated[bool, typer.Option("--rows", help="Single rows with their ids, the newest first.")] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Most single rows to show.")] = _LIMIT,
    as_json: AsJson = False,
) -> None:
    """Count refused rows by table, rule and delivery, or list single ones.

    Example: marketday quarantine list simulated --table sales --rule unknown_product --rows
    """
    import polars as pl

    from marketday.cli.quarantine_lists import show_groups, show_rows

    _, _, states = _opened(retailer)
    found = _filtered(states, day=day, table=table, rule=rule)
    if only_open:
        found = found.filter(pl.col("state") == "open")
    if rows:
        show_rows(retailer, found, limit, as_json=as_json)
    else:
        show_groups(retailer, found, as_json=as_json)


@quarantine.command()
def explain(
    retailer: RetailerName,
    row: Annotated[str, typer.Argument(metavar="ID", help="Row, as `list --rows` shows it: day/table/row.")],
) -> None:
    """Explain one refused row: its rule, its content, what it refers to, its key in other deliveries, what to do.

    Example: marketday quarantine explain simulated 2025-03-04/sales/17
    """
    from marketday.cli.quarantine_page import page

    warehouse, tenant, states = _opened(retailer)
    [found] = _matching(_filtered(states, ids=[row]), retailer).iter_rows(named=True)
    for line in page(found, tenant, warehouse, today=_today(tenant, warehouse)):
        console.print(line)


@quarantine.command()
def replay(
    retailer: RetailerName,
    ids: Ids = None,
    day: DeliveryDay = None,
    table: TableName = "",
    rule: Rule = "",
    *,
    why: Annotated[str, typer.Option("--because", metavar="TEXT", help="Why they may pass now.")] = "",
    by: By = "",
    since: From = None,
    yes: Yes = False,
) -> None:
    """Ask that refused rows be tried again by the next morning: open ones, and discarded ones that are taken back.

    Rows that wait for master data need no asking: they are tried every morning, until it is there.

    Example: marketday quarantine replay simulated --day 2025-03-04 --rule units_scale --because "a wholesale order"
    """
    filters = {"ids": ids, "day": day, "table": table, "rule": rule}
    _decide(retailer, "replay", filters, why=why, by=by, since=since, yes=yes)
    console.print(f"The next morning tries them again; today's does if `replay` is cleared in daily__{retailer}.")


@quarantine.command()
def discard(
    retailer: RetailerName,
    ids: Ids = None,
    day: DeliveryDay = None,
    table: TableName = "",
    rule: RuleOnly = "",
    *,
    why: Annotated[str, typer.Option("--reason", "--because", metavar="TEXT", help="Why they are left out for good.")],
    by: By = "",
    since: From = None,
    yes: Yes = False,
) -> None:
    """Leave refused rows out for good, with a reason. They stay where they are, marked; `replay` takes it back.

    Example: marketday quarantine discard simulated 2025-03-04/sales/17 --reason "test till, never sold"
    """
    if not why.strip():
        raise typer.BadParameter("say why, for who reads this in a year", param_hint="--reason")
    filters = {"ids": ids, "day": day, "table": table, "rule": rule}
    _decide(retailer, "discard", filters, why=why, by=by, since=since, yes=yes)


def _decide(
    name: str, decision: "Decision", filters: dict[str, Any], *, why: str, by: str, since: dt.date | None, yes: bool
) -> None:
    import getpass

    import polars as pl

    from marketday.quarantine.decisions import DECIDABLE, decide
    from marketday.tables import DECISIONS

    warehouse, tenant, states = _opened(name)
    allowed = DECIDABLE[decision]
    found = _matching(_filtered(states, **filters), name, allowed).filter(pl.col("state").is_in(allowed))
    counted = f"{found.height:,} row{'s' * (found.height != 1)}"
    if found.height > CONFIRM_ABOVE and not yes:
        typer.confirm(f"{decision.capitalize()} {counted} of {name}?", abort=True)
    start = since or _today(tenant, warehouse)
    rows = decide(found, decision, why=why, by=by or getpass.getuser(), at=dt.datetime.now(dt.UTC))
    number = rows["block"][0]
    metadata = {"step": f"quarantine {decision}", "run_day": start.isoformat(), "key": number}
    warehouse.write(name, DECISIONS, rows, run_day=start, block=number, metadata=metadata)
    console.print(f"{decision} {counted}: decision {number} by {rows['by'][0]}, from {start} on", markup=False)


def _opened(name: str) -> "tuple[Warehouse, Retailer, pl.LazyFrame]":
    """Return warehouse, retailer and the states of its refused rows."""
    from marketday import retailers, settings
    from marketday.quarantine.states import states
    from marketday.tables import DECISIONS, OUTCOMES, QUARANTINE
    from marketday.warehouse import Warehouse

    environment = settings.load()
    tenant = retailers.load(name, environment.retailers)
    warehouse = Warehouse.from_settings(environment)
    return warehouse, tenant, states(*(warehouse.scan(name, table) for table in (QUARANTINE, DECISIONS, OUTCOMES)))


def _filtered(
    states: "pl.LazyFrame",
    *,
    ids: list[str] | None = None,
    day: dt.date | None = None,
    table: str = "",
    rule: str = "",
) -> "pl.LazyFrame":
    import polars as pl

    from marketday.checks import ROW_CHECKS
    from marketday.errors import listed
    from marketday.quarantine.decisions import parse_id
    from marketday.tables import DELIVERED

    for option, given, allowed in (
        ("--table", table, [each.name for each in DELIVERED]),
        ("--rule", rule, [check.code for check in ROW_CHECKS]),
    ):
        if given and given not in allowed:
            raise typer.BadParameter(f"{given!r}; use one of: {listed(allowed, most=len(allowed))}", param_hint=option)
    wanted = [pl.col("delivery_day") == day] if day else []
    wanted += [pl.col("table") == table] if table else []
    wanted += [pl.col("reason") == rule] if rule else []
    if ids:
        wanted.append(
            pl.any_horizontal(
                (pl.col("delivery_day") == a) & (pl.col("table") == b) & (pl.col("row") == c)
                for a, b, c in (parse_id(each, DELIVERED) for each in ids)
            )
        )
    return states.filter(wanted) if wanted else states


def _matching(found: "pl.LazyFrame", name: str, allowed: tuple[str, ...] = ()) -> "pl.DataFrame":
    """Return the rows that were found.

    Raises:
        WarehouseError: there are none, or none in an ``allowed`` state.

    """
    import polars as pl

    from marketday.errors import WarehouseError, listed

    rows = found.collect()
    hint = f"`marketday quarantine list {name} --all --rows` shows every refused row."
    if rows.is_empty():
        raise WarehouseError(f"No refused row of {name} is like that", hint=hint)
    if allowed and rows.filter(pl.col("state").is_in(allowed)).is_empty():
        states = listed(f"{count:,} {state}" for state, count in sorted(rows["state"].value_counts().iter_rows()))
        raise WarehouseError(f"None of these rows of {name} is {' or '.join(allowed)}: {states}", hint=hint)
    return rows


def _today(tenant: "Retailer", warehouse: "Warehouse") -> dt.date:
    """Return the retailer's business day; of a simulator or data set, the last one that was run."""
    import polars as pl

    from marketday.steps.contract import MORNING
    from marketday.tables import RUN_DAY, RUNS

    today = dt.datetime.now(tenant.zone).date()
    if tenant.source == "none":
        return today
    # Training and maintenance run on days of the calendar.
    of_mornings = [step for step in MORNING if step != "train"]
    runs = warehouse.scan(tenant.name, RUNS).with_columns(pl.col("step").str.split("@").list.first())
    mornings = runs.filter(pl.col("step").is_in(of_mornings))
    last: dt.date | None = mornings.select(pl.col(RUN_DAY).max()).collect().item()
    return last or today
