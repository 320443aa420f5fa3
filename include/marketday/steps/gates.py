"""Steps `gate_clean`, `gate_forecast` and `gate_orders`: evidence first, decision then."""

import datetime as dt
from collections.abc import Mapping
from types import ModuleType
from typing import NamedTuple

import polars as pl

from marketday import orders
from marketday.errors import GateFailed, listed
from marketday.steps.contract import Context, Outputs, step
from marketday.tables import (
    CALIBRATION,
    EVENTS,
    FEATURES,
    FORECASTS,
    INGESTED,
    NOTICES,
    OFFERS,
    ORDERS,
    PRICES,
    PUBLICATIONS,
    QUARANTINE,
    RUN_DAY,
    SALES,
    STAGED,
    VERDICTS,
)
from marketday.warehouse import as_known

SERIES = ("location_id", "product_id")


@step(
    "gate_clean",
    reads=(*STAGED.values(), INGESTED, QUARANTINE, NOTICES, SALES, PRICES, EVENTS, PUBLICATIONS),
    latest=(PUBLICATIONS,),
    writes=(VERDICTS, PUBLICATIONS),
    size="M",
)
def gate_clean(context: Context) -> Outputs:
    """Judge the day's delivery: refused rows, cut tables, volumes, missing locations, wrong days, prices."""
    gate = _gates().clean
    delivered = dict(context.today(INGESTED).select("table", "rows").collect().iter_rows())
    accepted = {name: _height(context.today(table)) for name, table in STAGED.items()}
    refused = dict(context.today(QUARANTINE).group_by("table").len().collect().iter_rows())
    last_stock, last_sales = (_last_location(context.today(STAGED[name])) for name in ("stock", "sales"))
    summaries = {
        "tables": gate.refused_rows(accepted, refused),
        "delivery": pl.DataFrame({"table": ["sales"], "rows": [accepted["sales"] + refused.get("sales", 0)]}),
        "stock": gate.stock_ends_early(delivered.get("stock", 0), last_stock, last_sales),
        "prices": gate.price_changes(
            context.today(STAGED["prices"]), as_known(context.scan(PRICES), PRICES, context.call.origin)
        ),
        "notices": gate.noticed(context.today(NOTICES).collect(), context.retailer.checks),
    }
    if accepted["sales"]:
        sales = _sales(context, _gates(), delivered.get("sales", 0))
        summaries |= gate.of_sales(sales, context.retailer.gates)
    suite = gate.suite(context.retailer, summaries)
    return _decide(context, "clean", summaries, suite)


@step(
    "gate_forecast",
    reads=(FEATURES, FORECASTS, CALIBRATION, SALES, PUBLICATIONS),
    latest=(PUBLICATIONS,),
    writes=(VERDICTS, PUBLICATIONS),
)
def gate_forecast(context: Context) -> Outputs:
    """Judge the day's forecast: complete, sound, plausible against recent sales, not mostly a fallback."""
    gate, horizon = _gates().forecast, context.retailer.horizon
    forecasts = context.today(FORECASTS).select(*SERIES, "horizon", "mode", *gate.SOUND).collect()
    features = context.today(FEATURES).select(*SERIES, "horizon").collect()
    summaries = {
        "forecasts": gate.totals(forecasts, _recently_sold(context, gate.RECENT_DAYS), horizon),
        "locations": gate.by_location(features, forecasts),
        "segments": context.today(CALIBRATION).select("segment", "factor").collect(),
    }
    return _decide(context, "forecast", summaries, gate.suite(context.retailer))


@step(
    "gate_orders",
    reads=(ORDERS, OFFERS, FORECASTS, PUBLICATIONS),
    latest=(PUBLICATIONS,),
    writes=(VERDICTS, PUBLICATIONS),
)
def gate_orders(context: Context) -> Outputs:
    """Judge the day's order proposals: whole packs, none missing, none too large, stock of the last known day."""
    gate, limits = _gates().orders, context.retailer.gates
    forecasts = context.today(FORECASTS).select(*SERIES, "day", "horizon", "mean").collect()
    in_force = orders.offers_in_force(context.known(OFFERS).collect(), context.call.day)
    offers = in_force.select("supplier_id", "product_id", "pack_size", "minimum_packs")
    due = forecasts.select(SERIES).unique().join(offers, on="product_id", how="semi")
    lines = gate.lines(context.today(ORDERS).collect(), offers, forecasts)
    summaries = {"orders": gate.totals(lines, limits), "locations": gate.by_location(lines, due, limits)}
    return _decide(context, "orders", summaries, gate.suite(limits))


def _gates() -> ModuleType:
    from marketday import gates  # noqa: PLC0415  loads Great Expectations, seconds that the other steps need not pay

    return gates


def _decide(
    context: Context, gate: str, summaries: Mapping[str, pl.DataFrame], suite: Mapping[str, list[object]]
) -> Outputs:
    """Run the gate, write its page, and return its verdicts with the error that they ask for, if any."""
    call = context.call
    verdict = _gates().run_gate(gate, summaries, suite, retailer=call.retailer, day=call.day)
    page = context.report(verdict.page)
    unmet = verdict.rows.filter(~pl.col("passed"))
    written = {VERDICTS.name: verdict.rows}
    error = None
    if verdict.failed.height:
        error = _error(call.step, verdict.failed, page)
        held = _hold_over(context, error.message.splitlines()[0])
        written |= {PUBLICATIONS.name: held} if held.height else {}
    return Outputs(
        tables=written,
        facts={
            "expectations": verdict.rows.height,
            "warnings": unmet.filter(severity="warn")["subject"].to_list(),
            "failures": unmet.filter(severity="fail")["subject"].to_list(),
        },
        links={"Data Docs": page},
        error=error,
    )


def _error(step_name: str, failed: pl.DataFrame, page: str) -> GateFailed:
    seen = listed(f"{row['subject']} ({row['observed']})" for row in failed.iter_rows(named=True))
    details = [f"- expected: {row['expected']} Seen: {row['observed']}." for row in failed.iter_rows(named=True)]
    return GateFailed(
        "\n".join([f"{step_name} failed: {seen}", *details]),
        hint=failed["advice"][0],
        evidence=page,
    )


def _hold_over(context: Context, reason: str) -> pl.DataFrame:
    """Return today's publication of what an earlier day published: the last forecasts stay in force, without orders.

    No rows if no earlier day is published, or if today's own rows are already: what was published stays in force.
    """
    day, publications = context.call.day, context.scan(PUBLICATIONS).collect()
    if publications.filter(pl.col(RUN_DAY) == day, pl.col("of_day") == day, pl.col("reason") == "").height:
        return publications.clear()
    earlier = publications.filter(pl.col(RUN_DAY) < day, pl.col("table") == FORECASTS.name)
    return earlier.sort(RUN_DAY).tail(1).with_columns(reason=pl.lit(reason)).drop(RUN_DAY)


def _sales(context: Context, gates: ModuleType, rows: int) -> NamedTuple:
    """Return the delivered sales, what was known of their days, and both as they will stand once loaded."""
    staged, day = context.today(STAGED["sales"]), context.call.day
    last: dt.date = staged.select(pl.col("day").max()).collect().item()
    first, history = gates.sales.window(last, context.retailer.late_days)
    before = context.scan(SALES).filter(pl.col("day").is_between(history, last), pl.col(RUN_DAY) < day)
    delivered = staged.filter(pl.col("day").is_between(history, last))
    known = as_known(before.filter(pl.col("day") >= first), SALES, day)
    both = as_known(pl.concat([before, delivered]), SALES, day)
    delivered_daily, known_daily, both_daily = (
        gates.sales.daily(rows_of).collect(engine="streaming")
        for rows_of in (delivered.filter(pl.col("day") >= first), known, both)
    )
    days = delivered_daily["day"].unique()
    sales: NamedTuple = gates.clean.Sales(
        rows, delivered_daily, known_daily, both_daily, _closed(context, days, both_daily["location_id"].unique())
    )
    return sales


def _last_location(rows: pl.LazyFrame) -> str | None:
    last: str | None = rows.select(pl.col("location_id").max()).collect().item()
    return last


def _closed(context: Context, days: pl.Series, locations: pl.Series) -> pl.DataFrame:
    planned = pl.concat(
        [context.scan(EVENTS).filter(pl.col(RUN_DAY) < context.call.day), context.today(STAGED["events"])]
    )
    closed = as_known(planned, EVENTS, context.call.day).filter(
        pl.col("kind") == "closed", pl.col("day").is_in(days.implode())
    )
    rows = closed.select("location_id", "day").collect()
    everywhere = rows.filter(pl.col("location_id") == EVENTS.column("location_id").wildcard).select("day")
    return pl.concat([rows, locations.to_frame().join(everywhere, how="cross")]).unique()


def _recently_sold(context: Context, days: int) -> pl.DataFrame:
    """Units sold per day on the last known days with sales."""
    sales = context.scan(SALES).filter(pl.col(RUN_DAY) <= context.call.day, pl.col("day") <= context.call.origin)
    last = sales.select(pl.col("day").unique()).sort("day").tail(days).collect()["day"]
    recent = as_known(sales.filter(pl.col("day").is_in(last.implode())), SALES, context.call.day)
    return recent.group_by("day").agg(pl.col("units").sum()).sort("day").collect()


def _height(rows: pl.LazyFrame) -> int:
    return int(rows.select(pl.len()).collect().item())
