"""Step `replay`: refused rows of earlier deliveries that this morning's checks are to judge again."""

import datetime as dt

import polars as pl

from marketday.cleaning.delivery import Delivered, delivered_in
from marketday.quarantine.retrying import as_delivered, due, named, superseded
from marketday.quarantine.states import REFUSED_ROW, as_of, states
from marketday.steps.contract import Context, Outputs, step
from marketday.steps.ingest import chosen
from marketday.tables import (
    DECISIONS,
    DELIVERED,
    INGESTED,
    LOCATIONS,
    OUTCOMES,
    PRODUCTS,
    QUARANTINE,
    REPLAYS,
    RUN_DAY,
    SUPPLIERS,
)
from marketday.warehouse import empty

MOST = 500_000
"""Open rows that one morning looks at, those that were asked for and the newest first."""

_DIMENSIONS = (SUPPLIERS, PRODUCTS, LOCATIONS)


@step(
    "replay",
    reads=(INGESTED, QUARANTINE, DECISIONS, OUTCOMES, *DELIVERED),
    writes=(REPLAYS, OUTCOMES),
    size="M",
)
def replay(context: Context) -> Outputs:
    """Collect refused rows whose references are there by now, or that people ask for, and note what is superseded.

    Without a delivery none is collected: the gate would take them for one.
    """
    rows, left_over = _open_rows(context)
    receipt = chosen(context)
    keys = _keys(context, delivered_in(context.deliveries, receipt))
    wanted, replaced = [empty(REPLAYS).drop(RUN_DAY)], [empty(OUTCOMES).drop(RUN_DAY)]
    for table in DELIVERED:
        refused = as_delivered(rows.filter(pl.col("table") == table.name), table)
        if refused.is_empty():
            continue
        gone = superseded(refused, table, as_of(context.call.day, context.scan(table)))
        still = refused.join(gone, on=REFUSED_ROW, how="anti", maintain_order="left")
        again = due(still, table, keys, context.call.day) if receipt else still.clear()
        if table in _DIMENSIONS:
            # If it passes, the rows that wait for it pass on the same morning.
            keys[table.name] = pl.concat([keys[table.name], again[table.key[0]].drop_nulls()])
        wanted.append(named(again))
        replaced.append(
            gone.select(
                *REFUSED_ROW,
                outcome=pl.lit("superseded"),
                reason=pl.lit(""),
                message=pl.lit(""),
                block=pl.lit(context.call.step),
            )
        )
    return Outputs(
        tables={REPLAYS.name: pl.concat(wanted), OUTCOMES.name: pl.concat(replaced)},
        facts={"due": _counts(wanted), "superseded": _counts(replaced), "left_over": left_over},
    )


def _open_rows(context: Context) -> tuple[pl.DataFrame, int]:
    """Return the open rows of earlier deliveries within the look-back, or asked for, and how many were left over."""
    day = context.call.day
    first = day - dt.timedelta(days=context.retailer.replay_days)
    decisions = as_of(day, context.scan(DECISIONS), decided=True)
    asked_for = decisions.filter(decision="replay").filter(pl.col(RUN_DAY) >= first)
    days = asked_for.select(pl.col("delivery_day").unique()).collect().to_series()
    recent = (pl.col(RUN_DAY) >= first) | pl.col(RUN_DAY).is_in(days.implode())
    refused = as_of(day, context.scan(QUARANTINE)).filter(recent)
    outcomes = as_of(day, context.scan(OUTCOMES))

    def open_ones(refused: pl.LazyFrame) -> pl.LazyFrame:
        found = states(refused, decisions, outcomes).filter(state="open")
        # Of a day beyond the look-back, only what was asked for.
        found = found.filter((pl.col("delivery_day") >= first) | pl.col("asked"))
        return found.sort("asked", "delivery_day", "table", "row", descending=[True, True, False, False])

    # Of a history that was refused as a whole there are as many as it had rows: chosen by name, and then read.
    names = open_ones(refused).select(pl.col("delivery_day").alias(RUN_DAY), "table", "row")
    chosen_ones = names.head(MOST).collect(engine="streaming")
    rows = open_ones(refused.join(chosen_ones.lazy(), on=chosen_ones.columns, how="semi")).collect()
    left_over = 0 if rows.height < MOST else names.select(pl.len()).collect(engine="streaming").item() - MOST
    return rows, left_over


def _keys(context: Context, delivered: Delivered) -> dict[str, pl.Series]:
    """Return by dimension what may be referred to: known before this morning, or brought by its delivery."""
    keys = {}
    for table in _DIMENSIONS:
        key = pl.col(table.key[0]).cast(pl.String)
        known, brought = (
            rows.select(key).unique() for rows in (as_of(context.call.day, context.scan(table)), delivered(table))
        )
        keys[table.name] = pl.concat([known, brought]).drop_nulls().collect().to_series()
    return keys


def _counts(parts: list[pl.DataFrame]) -> dict[str, int]:
    counted = pl.concat(parts).group_by("table").len().sort("table")
    return dict(counted.iter_rows())
