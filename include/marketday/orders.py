"""Order proposals: how many packs to order today, so that stock lasts until the next arrival.

A periodic-review order-up-to policy (Silver, Pyke and Thomas, 2017, ch. 6.9: R, S) with a review period of one day, or
longer where the supplier's delivery weekdays force it. What is ordered on business day D arrives on the first allowed
weekday from D + lead time on, and must last until the day before the next possible arrival.
"""

import datetime as dt
from typing import Any

import numpy as np
import polars as pl

from marketday import distributions, sums
from marketday.distributions import Array
from marketday.errors import StepError
from marketday.tables import FORECASTS, ORDERS, RUN_DAY

PAIR = ("location_id", "product_id")
MODES = FORECASTS.column("mode").allowed
"""From the best to the worst."""

_ONE_DAY = dt.timedelta(days=1)
_ANY_DAY = "1234567"
_ROUNDING = 1e-9
# A need of 2.0000000001 packs is two packs: what is above comes from adding up real numbers.


def worst(mode: pl.Expr) -> pl.Expr:
    """Aggregate modes to the worst of them."""
    return mode.cast(pl.Enum(MODES)).max().cast(pl.String)


def arrival(earliest: dt.date, weekdays: str) -> dt.date:
    """Return the first day from ``earliest`` on with an ISO weekday in ``weekdays``, such as ``135``; empty allows any.

    Raises:
        StepError: ``weekdays`` names no weekday.

    """
    for days in range(7):
        day = earliest + days * _ONE_DAY
        if str(day.isoweekday()) in (weekdays or _ANY_DAY):
            return day
    raise StepError(
        f"An offer's delivery_weekdays is {weekdays!r}",
        hint="Deliver ISO weekdays such as `135`, or empty text for any day.",
    )


def offers_in_force(offers: pl.DataFrame, day: dt.date) -> pl.DataFrame:
    """Return the terms in force on ``day``: per supplier and product, those that began last."""
    begun = offers.filter(pl.col("day") <= day).sort("day", "supplier_id", "product_id")
    return begun.unique(["supplier_id", "product_id"], keep="last", maintain_order=True)


def choose_offers(offers: pl.DataFrame, products: pl.DataFrame, day: dt.date) -> pl.DataFrame:
    """Return one offer per product: of those in force on ``day`` the main supplier's, else the cheapest.

    Equal costs go to the supplier whose id comes first.
    """
    main = products.select("product_id", pl.col("supplier_id").alias("main_supplier"), "shelf_life")
    return (
        offers_in_force(offers, day)
        .join(main, on="product_id", how="left")
        .with_columns((pl.col("supplier_id") == pl.col("main_supplier")).fill_null(value=False).alias("is_main"))
        .sort("product_id", "is_main", "cost", "supplier_id", descending=[False, True, False, False])
        .unique("product_id", keep="first", maintain_order=True)
        .drop("main_supplier", "is_main", "day")
    )


def schedule(offers: pl.DataFrame, day: dt.date) -> pl.DataFrame:
    """Add the days ``arrives``, ``covers_until`` and ``sellable_until`` of an order that is placed on ``day``.

    The next order is placed on ``day`` + 1 at the earliest, so it arrives on the first allowed day after ``arrives``.
    A product that arrives with a shelf life of n days can be sold on the day of arrival and n - 1 days more;
    without a shelf life ``sellable_until`` is null.
    """
    terms = offers.select("lead_time", "delivery_weekdays").unique(maintain_order=True)
    arrives = [arrival(day + lead * _ONE_DAY, weekdays) for lead, weekdays in terms.iter_rows()]
    covers = [arrival(a + _ONE_DAY, terms["delivery_weekdays"][i]) - _ONE_DAY for i, a in enumerate(arrives)]
    dated = terms.with_columns(
        pl.Series("arrives", arrives, dtype=pl.Date), pl.Series("covers_until", covers, dtype=pl.Date)
    )
    return offers.join(dated, on=["lead_time", "delivery_weekdays"], maintain_order="left").with_columns(
        (pl.col("arrives") + pl.duration(days=pl.col("shelf_life") - 1)).alias("sellable_until")
    )


def position(stock: pl.DataFrame, sales: pl.DataFrame, placed: pl.DataFrame, last: dt.date) -> pl.DataFrame:
    """Return per pair what stands against demand from the day after ``last`` on: ``on_hand`` and ``on_order``.

    ``stock``: per pair one closing up to ``last``; its day is returned as ``stock_day``. ``sales``: units per day.
    ``placed``: published orders, ``quantity`` by the morning ``run_day``.

    A closing of ``last`` counts as it stands. An older one is rolled forward to ``last``: what was ordered since is
    added to ``on_order``; what was sold since is taken from ``on_hand``, and what is sold beyond it must have arrived
    and is taken from ``on_order``; neither goes below 0. Orders of later mornings than ``last`` are added to
    ``on_order``, as no closing can know them; a pair that has nothing else gets null as ``stock_day`` and ``on_hand``.
    """
    closing = stock.select(*PAIR, "on_hand", pl.col("on_order").fill_null(0.0), pl.col("day").alias("stock_day"))

    def since(facts: pl.DataFrame, day: str, value: str) -> pl.DataFrame:
        dated = facts.join(closing, on=PAIR).filter(pl.col(day) > pl.col("stock_day"), pl.col(day) <= last)
        return _sum(dated.sort(*PAIR, day), value)

    lacking = (pl.col("units") - pl.col("on_hand")).clip(0)
    rolled = (
        closing.join(since(placed, RUN_DAY, "quantity"), on=PAIR, how="left", maintain_order="left")
        .join(since(sales, "day", "units"), on=PAIR, how="left", maintain_order="left")
        .with_columns(pl.col("quantity", "units").fill_null(0.0))
        .with_columns(
            (pl.col("on_hand") - pl.col("units")).clip(0),
            (pl.col("on_order") + pl.col("quantity") - lacking).clip(0),
        )
        .drop("quantity", "units")
    )
    later = _sum(placed.filter(pl.col(RUN_DAY) > last).sort(*PAIR, RUN_DAY), "quantity")
    return (
        rolled.join(later, on=PAIR, how="full", coalesce=True)
        .with_columns(pl.col("on_order").fill_null(0.0) + pl.col("quantity").fill_null(0.0))
        .drop("quantity")
    )


def _sum(facts: pl.DataFrame, value: str) -> pl.DataFrame:
    return facts.group_by(PAIR, maintain_order=True).agg(pl.col(value).sum())


def propose(
    forecasts: pl.DataFrame, offers: pl.DataFrame, stock: pl.DataFrame, *, service_level: float
) -> tuple[pl.DataFrame, dict[str, Any]]:
    """Return the rows of the table `orders` and facts about them.

    ``forecasts``: the day's rows; their first day is the day after the last known closing. ``offers``: one per product,
    with its :func:`schedule`. ``stock``: the :func:`position` at the last known closing.

    The target is the ``service_level`` quantile of the demand from the last closing to ``covers_until``, summed over
    days that go up and down together (:func:`marketday.sums.total`). Where all of ``sellable_until`` is forecast, the
    target is at most the mean demand until then: what is likely to spoil is not ordered for safety. What the target
    needs beyond the stock on hand and on order is rounded up to whole packs, and to the supplier's minimum if anything
    is ordered at all. Forecasts that end before ``covers_until`` count as far as they go; such lines are counted in the
    facts.
    """
    demand = forecasts.sort(*PAIR, "day")
    lines = _lines(demand, offers, stock)
    days = demand.select(pl.date_range(pl.col("day").min(), pl.col("day").max())).to_series()
    expected, target = _targets(lines, demand, days, service_level)
    orders = (
        lines.with_columns(pl.Series("expected_demand", expected), pl.Series("target", target))
        .with_columns(_packs())
        .with_columns((pl.col("packs") * pl.col("pack_size")).alias("quantity"))
        .with_columns((pl.col("quantity") * pl.col("cost")).alias("value"))
    )
    facts = {
        "lines": orders.height,
        "packs": int(orders["packs"].sum()),
        "value": round(float(orders["value"].sum()), 2),
        "without_stock": int(orders["stock_day"].is_null().sum()),
        "stale_stock": int((orders["stock_day"] < days[0] - _ONE_DAY).sum()),
        "without_offer": demand.select(PAIR).unique().height - orders.height,
        "beyond_horizon": int((orders["covers_until"] > days[-1]).sum()),
    }
    return orders.select(ORDERS.delivered_schema.names), facts


def _lines(demand: pl.DataFrame, offers: pl.DataFrame, stock: pl.DataFrame) -> pl.DataFrame:
    pairs = demand.group_by(PAIR, maintain_order=True).agg(worst(pl.col("mode")), pl.col("family").first())
    return (
        pairs.join(offers, on="product_id", maintain_order="left")
        .join(stock, on=PAIR, how="left", maintain_order="left")
        .with_columns(pl.col("on_hand", "on_order").fill_null(0.0))
    )


def _targets(lines: pl.DataFrame, demand: pl.DataFrame, days: pl.Series, service_level: float) -> tuple[Array, Array]:
    """Return mean demand and order-up-to level per line."""
    mean, *spread = _matrices(lines, demand, days)
    covered = days.to_numpy() <= lines["covers_until"].to_numpy()[:, None]
    expected, target = np.zeros(lines.height), np.zeros(lines.height)
    for family in lines["family"].unique().sort():
        of = lines["family"].to_numpy() == family
        whole = sums.total(np.where(covered[of], mean[of], 0.0), *(values[of] for values in spread))
        expected[of] = whole.mean
        target[of] = distributions.quantile(whole.mean, whole.dispersion, family, [service_level])[:, 0]
    until = lines["sellable_until"].fill_null(dt.date.max).to_numpy()
    sellable = np.where(days.to_numpy() <= until[:, None], mean, 0.0).sum(axis=1)
    return expected, np.where(until <= days.to_numpy()[-1], np.minimum(target, sellable), target)


def _matrices(lines: pl.DataFrame, demand: pl.DataFrame, days: pl.Series) -> list[Array]:
    """Return mean, dispersion, zero share and common dispersion as lines x days; 0 where there is no forecast."""
    at = demand.join(lines.select(PAIR).with_row_index("line"), on=PAIR)
    cells = at["line"].to_numpy(), (at["day"] - days[0]).dt.total_days().to_numpy()
    found = []
    for name in ("mean", "dispersion", "zero_share", "common_dispersion"):
        matrix = np.zeros((lines.height, len(days)))
        matrix[cells] = at[name].to_numpy()
        found.append(matrix)
    return found


def _packs() -> pl.Expr:
    need = pl.col("target") - pl.col("on_hand") - pl.col("on_order")
    packs = (need / pl.col("pack_size") - _ROUNDING).ceil().clip(0).cast(pl.Int32)
    return pl.when(packs > 0).then(pl.max_horizontal(packs, "minimum_packs")).otherwise(0).cast(pl.Int32).alias("packs")
