"""Step `publish`: today's forecasts and orders come into force."""

import polars as pl

from marketday import publishing
from marketday.steps.contract import Context, Outputs, step
from marketday.tables import FORECASTS, ORDERS, PUBLICATIONS


@step("publish", reads=(FORECASTS, ORDERS, PUBLICATIONS), latest=(PUBLICATIONS,), writes=(PUBLICATIONS,))
def publish(context: Context) -> Outputs:
    """Move the day's pointer to today's forecasts, and to its orders if there are any, in one commit."""
    published = context.today(PUBLICATIONS).collect()
    orders = context.today(ORDERS).collect()
    entries = pl.concat(
        publishing.entry(table, rows, day=context.call.day, version=context.versions[table.name], published=published)
        for table, rows in ((FORECASTS, context.today(FORECASTS).collect()), (ORDERS, orders))
        # Without an offer there is nothing to order; that is no reason to hold the forecasts back.
        if table is FORECASTS or (context.retailer.orders and rows.height)
    )
    facts = {
        "published": dict(entries.select("table", "content_hash").iter_rows()),
        "rows": dict(entries.select("table", "rows").iter_rows()),
        "mode": dict(entries.select("table", "mode").iter_rows()),
    }
    return Outputs(tables={PUBLICATIONS.name: entries}, facts=facts)
