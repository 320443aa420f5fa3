"""Where a past morning comes from: the retailer's own warehouse if it knew that morning, else its customer.

A retailer with a customer of its own may be replayed on days before its first delivery: that delivery's history is
then cut at the origin. Late corrections are in it, so that the morning looks somewhat better than it was.
"""

import datetime as dt
import hashlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import polars as pl

from marketday.adapters import customer
from marketday.backtest.plan import Plan
from marketday.errors import RetailerError, listed
from marketday.settings import Settings
from marketday.tables import DELIVERED, RUN_DAY, SALES, STOCK
from marketday.warehouse import NOTHING_YET, Warehouse, as_known, empty

PAIR = ["location_id", "product_id"]
_DAY_AFTER = dt.timedelta(days=1)


class Source(NamedTuple):
    """Where one origin's history and what followed it are taken from."""

    history: str
    """`warehouse` (as known then), `first delivery` (its history, cut), or `customer`."""
    outcome: str
    """`warehouse` or `customer`."""
    data: Mapping[str, Any]
    """What tells one state of the data from another: table versions, or files and their sizes."""


def find(plan: Plan, settings: Settings, origin: dt.date) -> Source:
    """Say where the morning after ``origin`` and the days of its horizon come from.

    Raises:
        RetailerError: the history does not reach the origin, or the days after it are not all known yet.

    """
    name, day, last = plan.retailer.name, origin + _DAY_AFTER, origin + dt.timedelta(days=plan.retailer.horizon)
    warehouse = Warehouse.from_settings(settings)
    sales = warehouse.scan(name, SALES)
    then = sales.filter(pl.col(RUN_DAY) <= day, pl.col("day") <= origin)
    spans = sales.select(
        pl.col("day").min().alias("first"), pl.col("day").max().alias("last"), pl.col(RUN_DAY).min().alias("told")
    )
    known_to, (first, known_last, told) = then.select(pl.col("day").max()).collect().item(), spans.collect().row(0)
    versions = {table.name: warehouse.version(name, table) for table in DELIVERED}
    data: dict[str, Any] = {t: v for t, v in versions.items() if v != NOTHING_YET}
    follows = known_last is not None and known_last >= last
    if plan.retailer.source == "none":
        if known_last is None:
            raise RetailerError(
                f"{name} has delivered nothing yet: there is no past to replay",
                hint=f"Deliver its history first: marketday deliver {name} --from FOLDER, then marketday run {name}.",
            )
        cut = known_to is None and first < origin
        if (known_to != origin and not cut) or not follows:
            raise _outside(plan, origin, first, known_last)
        return Source("first delivery" if cut and told > day else "warehouse", "warehouse", data)
    if known_to == origin and follows:
        return Source("warehouse", "warehouse", data)
    acts = customer(plan.retailer, settings.data)
    if origin <= acts.first_day or (acts.last_day is not None and last > acts.last_day):
        raise _outside(plan, origin, acts.first_day, acts.last_day)
    files = sorted((settings.data / plan.retailer.source).glob("*"))
    data |= {file.name: file.stat().st_size for file in files}
    return Source("warehouse" if known_to == origin else "customer", "customer", data)


def _outside(plan: Plan, origin: dt.date, first: dt.date, last: dt.date | None) -> RetailerError:
    horizon = plan.retailer.horizon
    if last is None:
        allowed = f"from {first + _DAY_AFTER} on"
    else:
        allowed = f"between {first + _DAY_AFTER} and {last - dt.timedelta(days=horizon)}"
    return RetailerError(
        f"{plan.retailer.name}: the origin {origin} with a horizon of {horizon} days is not inside the known sales",
        hint=f"Sales are known from {first}{f' to {last}' if last else ''}. Choose origins {allowed} that have a "
        "delivery for the morning after, or a shorter --horizon.",
    )


def morning(plan: Plan, settings: Settings, origin: dt.date, source: Source) -> dict[str, pl.DataFrame]:
    """Return the tables, as one delivery, that were known on the morning after ``origin``.

    Raises:
        RetailerError: a location that was asked for is not among them.

    """
    day = origin + _DAY_AFTER
    name = plan.retailer.name
    warehouse = Warehouse.from_settings(settings)
    if source.history == "customer":
        tables = customer(plan.retailer, settings.data).deliver(day, since=None)
    elif source.history == "first delivery":
        planned = day + dt.timedelta(days=plan.retailer.horizon)
        told = warehouse.scan(name, SALES).select(pl.col(RUN_DAY).min()).collect().item()
        tables = {}
        for table in DELIVERED:
            rows = as_known(warehouse.scan(name, table), table, told)
            if "day" in table.key:
                rows = rows.filter(pl.col("day") <= (origin if table in {SALES, STOCK} else planned))
            tables[table.name] = rows.drop(RUN_DAY).collect()
    else:
        tables = {t.name: as_known(warehouse.scan(name, t), t, day).drop(RUN_DAY).collect() for t in DELIVERED}
    return _part(plan, tables)


def outcome(plan: Plan, settings: Settings, origin: dt.date, source: Source) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return sales and stock of the days of the horizon, as they are known by now."""
    name = plan.retailer.name
    first, last = origin + _DAY_AFTER, origin + dt.timedelta(days=plan.retailer.horizon)
    if source.outcome == "customer":
        after = customer(plan.retailer, settings.data).deliver(last + _DAY_AFTER, since=first)
        found = [
            pl.concat([empty(t).drop(RUN_DAY), after[t.name]], how="diagonal_relaxed")
            if t.name in after
            else empty(t).drop(RUN_DAY)
            for t in (SALES, STOCK)
        ]
    else:
        warehouse = Warehouse.from_settings(settings)
        found = [as_known(warehouse.scan(name, t), t, dt.date.max).drop(RUN_DAY).collect() for t in (SALES, STOCK)]
    inside = pl.col("day").is_between(first, last)
    sales, stock = (rows.filter(inside) for rows in found)
    return sales, stock


def later_pairs(plan: Plan, settings: Settings, source: Source) -> pl.DataFrame:
    """Return every location and product that is sold on the last day that a data set knows, wherever it has one."""
    acts = customer(plan.retailer, settings.data) if source.outcome == "customer" else None
    if acts is None or acts.last_day is None:
        return pl.DataFrame(schema=dict.fromkeys(PAIR, pl.String))
    return acts.deliver(acts.last_day + _DAY_AFTER, since=acts.last_day)["sales"].select(PAIR)


def _part(plan: Plan, tables: dict[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """Keep the locations and the number of series that the plan asks for, in every table."""
    if plan.locations:
        there = tables["locations"]["location_id"].unique().sort()
        strange = sorted(set(plan.locations) - set(there))
        if strange:
            raise RetailerError(
                f"{plan.retailer.name} has no location {listed(strange)}", hint=f"It has {listed(there)}."
            )
    if not plan.locations and plan.series is None:
        return tables
    pairs = tables["sales"].select(PAIR).unique()
    if plan.locations:
        pairs = pairs.filter(pl.col("location_id").is_in(plan.locations))
    if plan.series is not None:
        # By a hash of the name, so that other origins, which have nearly the same series, take nearly the same ones.
        rank = [hashlib.sha256(f"{a}|{b}".encode()).hexdigest() for a, b in pairs.iter_rows()]
        pairs = pairs.with_columns(rank=pl.Series(rank, dtype=pl.String)).sort("rank").head(plan.series).drop("rank")
    kept = {}
    for name, rows in tables.items():
        on = [column for column in PAIR if column in rows.columns]
        if name == "events":
            anywhere = pl.col("location_id") == "*"
            kept[name] = rows.filter(anywhere | pl.col("location_id").is_in(pairs["location_id"].unique().to_list()))
        else:
            kept[name] = rows.join(pairs.select(on).unique(), on=on, how="semi") if on else rows
    return kept
