"""Step `clean`: delivered rows → staged rows and quarantine."""

import datetime as dt
from collections import Counter

import polars as pl

from marketday import tables
from marketday.cleaning import Known, check
from marketday.steps.contract import Context, Outputs, step
from marketday.tables import LOCATIONS, PRODUCTS, QUARANTINE, RAW, SALES, STAGED, SUPPLIERS, Table
from marketday.warehouse import as_known


@step(
    "clean",
    reads=(*RAW.values(), PRODUCTS, LOCATIONS, SUPPLIERS, SALES),
    writes=(*STAGED.values(), QUARANTINE),
    size="M",
)
def clean(context: Context) -> Outputs:
    """Split the day's delivered rows into staged ones and refused ones, each refused row with its reason."""
    first_day = _first_day(context)
    dimensions = {table.name: _known_before(context, table) for table in (SUPPLIERS, PRODUCTS, LOCATIONS)}
    staged, refused = {}, []
    accepted_rows, refused_rows, collapsed = {}, {}, 0
    for table in tables.DELIVERED:
        products = dimensions[PRODUCTS.name]
        known = Known(
            last_day=context.call.origin,
            first_day=first_day,
            keys={name: rows[tables.get(name).key[0]] for name, rows in dimensions.items()},
            pieces=products.filter(pl.col("unit") == "pieces")["product_id"],
        )
        delivered = context.today(RAW[table.name]).drop(tables.RUN_DAY).collect()
        checked = check(delivered, table, known)
        if table.name in dimensions:
            newest_last = pl.concat([dimensions[table.name], checked.accepted])
            dimensions[table.name] = newest_last.unique(table.key, keep="last", maintain_order=True)
        staged[STAGED[table.name].name] = checked.accepted
        refused.append(checked.refused)
        accepted_rows[table.name], refused_rows[table.name] = checked.accepted.height, checked.refused.height
        collapsed += checked.collapsed
    quarantine = pl.concat(refused)
    return Outputs(
        tables={**staged, QUARANTINE.name: quarantine},
        facts={
            "accepted": accepted_rows,
            "refused": refused_rows,
            "reasons": dict(sorted(Counter(quarantine["reason"]).items())),
            "collapsed": collapsed,
        },
    )


def _known_before(context: Context, table: Table) -> pl.DataFrame:
    # Not what this day's run loaded: a second run after a corrected delivery must not refer to the first one's rows.
    known = as_known(context.scan(table), table, context.call.origin)
    return known.select(table.delivered_schema.names).collect()


def _first_day(context: Context) -> dt.date | None:
    """First day that observed facts may be of; None in a retailer's first delivery, which brings the whole history.

    Days after the last known sales are never too late: however long an outage was, it can be made up.
    """
    earlier = context.scan(SALES).filter(pl.col(tables.RUN_DAY) < context.call.day)
    last_known: dt.date | None = earlier.select(pl.col("day").max()).collect().item()
    if last_known is None:
        return None
    late = dt.timedelta(days=context.retailer.late_days)
    return min(context.call.origin - late, last_known + dt.timedelta(days=1))
