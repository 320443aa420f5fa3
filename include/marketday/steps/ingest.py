"""Step `ingest`: fix which delivery the morning is made from."""

import polars as pl

from marketday import deliveries
from marketday.deliveries import Receipt
from marketday.errors import StepError
from marketday.steps.contract import Context, Outputs, step
from marketday.tables import INGESTED, RUN_DAY, SALES
from marketday.warehouse import empty


@step("ingest", reads=(SALES,), writes=(INGESTED,), repeatable=False)
def ingest(context: Context) -> Outputs:
    """Choose the day's latest delivery; without one, the morning goes on with what is known.

    With the parameter ``delivery``, the delivery of that id, or none: how a past morning chooses again what it chose.

    Raises:
        DeliveryError: a delivered file is gone, or is no longer what was accepted.
        StepError: there is neither a delivery nor any history.

    """
    receipt = _receipt(context)
    if receipt is None:
        return _without_delivery(context)
    for name in receipt.tables:
        deliveries.scan(context.deliveries, receipt, name)  # Compares the file with the receipt.
    rows = [
        {"delivery": receipt.id, "sequence": receipt.sequence, "kind": receipt.kind, "table": name}
        | {"sha256": table.sha256, "rows": table.rows}
        for name, table in receipt.tables.items()
    ]
    return Outputs(
        tables={INGESTED.name: pl.DataFrame(rows)},
        facts={
            "delivery": receipt.id,
            "sequence": receipt.sequence,
            "kind": receipt.kind,
            "rows": {name: table.rows for name, table in receipt.tables.items()},
        },
    )


def chosen(context: Context) -> Receipt | None:
    """Return the receipt of the delivery that the morning is made from, if there is one; for steps after this one."""
    ids = context.today(INGESTED).select("delivery").unique().collect().to_series().to_list()
    return deliveries.find(context.deliveries, context.call.retailer, ids[0], context.call.day) if ids else None


def _receipt(context: Context) -> Receipt | None:
    call = context.call
    if "delivery" not in call.params:
        return deliveries.latest(context.deliveries, call.retailer, call.day)
    identity = call.params["delivery"]
    return deliveries.find(context.deliveries, call.retailer, identity, call.day) if identity else None


def _without_delivery(context: Context) -> Outputs:
    call = context.call
    known = context.scan(SALES).filter(pl.col(RUN_DAY) <= call.day).head(1).collect()
    if known.is_empty():
        raise StepError(
            f"{call.retailer} has delivered nothing by {call.day}, and no sales are known from before",
            hint=f"Deliver a history first: marketday deliver {call.retailer} --day {call.day}.",
            evidence=f"{context.deliveries}/{call.retailer}",
        )
    return Outputs(
        tables={INGESTED.name: empty(INGESTED)},
        facts={
            "delivery": None,
            "note": f"No delivery for {call.day}: the forecast is made from what was known before.",
        },
    )
