"""Step `orders`: forecasts, stock and supplier offers → order proposals."""

import datetime as dt

import polars as pl

from marketday import orders
from marketday.errors import StepError
from marketday.steps.contract import Context, Outputs, step
from marketday.tables import FORECASTS, OFFERS, ORDERS, PRODUCTS, PUBLICATIONS, RUN_DAY, SALES, STOCK


@step(
    "orders",
    reads=(FORECASTS, OFFERS, PRODUCTS, STOCK, SALES, ORDERS, PUBLICATIONS),
    latest=(ORDERS, PUBLICATIONS),
    writes=(ORDERS,),
)
def propose(context: Context) -> Outputs:
    """Propose an order for every product and location that has a forecast and a supplier's offer."""
    retailer, day = context.retailer, context.call.day
    if retailer.orders is None:
        raise StepError(
            f"{retailer.name} has no section `orders` in its definition", hint="Add it, or leave the step orders out."
        )
    forecasts = context.today(FORECASTS).collect()
    if forecasts.is_empty():
        raise StepError(f"There are no forecasts of {day} for {retailer.name}", hint="Run the step calibrate first.")
    offers = orders.choose_offers(context.known(OFFERS).collect(), context.known(PRODUCTS).collect(), day)
    rows, facts = orders.propose(
        forecasts,
        orders.schedule(offers, day),
        _position(context, forecasts),
        service_level=retailer.orders.service_level,
    )
    return Outputs(tables={ORDERS.name: rows}, facts=facts)


def _position(context: Context, forecasts: pl.DataFrame) -> pl.DataFrame:
    """Return the stock position at the close of the last day whose sales are known."""
    # The forecast begins on the day after it.
    first: dt.date = forecasts["day"].min()  # type: ignore[assignment]
    last = first - dt.timedelta(days=1)
    stock = (
        context.known(STOCK)
        .filter(pl.col("day") <= last, pl.col("on_hand").is_not_null())
        .join(forecasts.lazy().select(orders.PAIR).unique(), on=orders.PAIR, how="semi")
        .sort("day")
        .unique(orders.PAIR, keep="last", maintain_order=True)
        .collect()
    )
    oldest = stock.select(pl.col("day").min().fill_null(last)).item()
    sales = context.known(SALES).filter(pl.col("day") > oldest, pl.col("day") <= last).collect()
    published = context.scan(PUBLICATIONS).filter(pl.col("table") == ORDERS.name, pl.col("reason") == "")
    placed = (
        context.scan(ORDERS)
        .filter(pl.col(RUN_DAY) > oldest, pl.col(RUN_DAY) < context.call.day)
        .join(published, on=RUN_DAY, how="semi")
        .collect()
    )
    return orders.position(stock, sales, placed, last)
