"""Step `features`: from the facts as known this morning to one row per series and day of the horizon."""

import datetime as dt

import polars as pl

from marketday import tables
from marketday.errors import StepError
from marketday.features.build import features_table
from marketday.features.panel import Facts
from marketday.steps.contract import Context, Outputs, step

READS = (
    tables.PRODUCTS,
    tables.LOCATIONS,
    tables.SALES,
    tables.STOCK,
    tables.PRICES,
    tables.PROMOTIONS,
    tables.WEATHER,
    tables.EVENTS,
)
"""The tables of :class:`Facts`, in its order."""


@step("features", reads=READS, writes=(tables.FEATURES,), size="M")
def features(context: Context) -> Outputs:
    """Build the inputs of the forecast from all that is known on the morning of the day."""
    facts = known_facts(context)
    until = data_until(context, facts)
    rows = features_table(facts, context.retailer, context.call.day, until, context.dask_scheduler)
    series = rows.select(pl.struct("location_id", "product_id").n_unique()).item()
    return Outputs(
        tables={tables.FEATURES.name: rows},
        facts={
            "blocks": rows["block"].unique().sort().to_list(),
            "data_until": until.isoformat(),
            "mode": "fresh" if until == context.call.origin else "degraded",
            "series": series,
        },
    )


def known_facts(context: Context) -> Facts:
    """Return the facts as known on the morning of the day."""
    return Facts(*(context.known(table) for table in READS))


def data_until(context: Context, facts: Facts) -> dt.date:
    """Return the last day with known sales, at most the origin.

    Raises:
        StepError: no sales are known at all.

    """
    sales = facts.sales.filter(pl.col("day") <= context.call.origin)
    last: dt.date | None = sales.select(pl.col("day").max()).collect().item()
    if last is None:
        raise StepError(
            f"No sales up to {context.call.origin} are known on the morning of {context.call.day}",
            hint="Deliver the history first, then clear ingest and what follows.",
        )
    return last
