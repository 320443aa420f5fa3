"""The simulated grocer as a customer: the delivery of any morning, as its own systems would send it."""

import datetime as dt
from collections.abc import Sequence

import numpy as np
import polars as pl

from marketday.errors import RetailerError
from marketday.simulator.conditions import PROMOTION_KINDS, event_rows, shelf, weather_rows
from marketday.simulator.demand import listed, simulation
from marketday.simulator.dirt import days_before, spoil
from marketday.simulator.world import FIRST_DAY, SEED, Flags, World, build

_YEARLY_COST_INCREASE = 0.02


class Grocer:
    """Customer of the simulated world; plans are known ``horizon`` days ahead."""

    first_day = FIRST_DAY
    last_day = None
    default_day = dt.date(2025, 3, 3)

    def __init__(self, horizon: int, seed: int = SEED) -> None:
        self.horizon = horizon
        self.world = build(seed)

    def deliver(self, day: dt.date, *, since: dt.date | None, faults: tuple[str, ...] = ()) -> dict[str, pl.DataFrame]:
        """Return the tables of the morning of ``day``: facts of ``since`` … ``day`` - 1 and plans up to the horizon.

        Raises:
            RetailerError: the day is before the world's second day, or there is no such fault.

        """
        if day <= FIRST_DAY:
            raise RetailerError(
                f"The simulated grocer has no delivery for {day}",
                hint=f"Choose a business day from {FIRST_DAY + dt.timedelta(1)}.",
            )
        since = FIRST_DAY if since is None else since - dt.timedelta(days_before(faults))
        world, first, last = self.world, max(since, FIRST_DAY), day + dt.timedelta(self.horizon)
        past, planned = _days(first, day - dt.timedelta(1)), _days(first, last)
        closed = [simulation(world).day(d) for d in past]
        stocked = ("on_hand", "on_order", "stockout_share")
        on_sale = [d.listed for d in closed]
        tables = {
            "suppliers": world.suppliers,
            "products": _products_known(world, last),
            "locations": world.locations,
            "sales": _rows(world, past, on_sale, units=[d.sales for d in closed]),
            "stock": _rows(world, past, on_sale, **{name: [getattr(d, name) for d in closed] for name in stocked}),
            "prices": _price_changes(world, planned),
            "promotions": _promotions(world, planned),
            "offers": _offers(world, first, last),
            "weather": weather_rows(world, first, last, issued=day),
            "events": event_rows(first, last),
        }
        return spoil(tables, faults)


def _days(first: dt.date, last: dt.date) -> list[dt.date]:
    return [first + dt.timedelta(n) for n in range((last - first).days + 1)]


def _rows(world: World, days: Sequence[dt.date], kept: Sequence[Flags], **values: Sequence[np.ndarray]) -> pl.DataFrame:
    """Return a row for every day and kept series, with the values of each."""
    day_of, series_of = np.nonzero(np.array(kept, dtype=bool).reshape(len(days), len(world.product)))
    columns = [pl.Series("day", list(days), dtype=pl.Date)[day_of]]
    for name, arrays in values.items():
        stacked = np.array(arrays, dtype=np.float64).reshape(len(days), len(world.product))
        columns.append(pl.Series(name, stacked[day_of, series_of]))
    return world.series[series_of].with_columns(columns)


def _products_known(world: World, until: dt.date) -> pl.DataFrame:
    """Return the products whose launch is planned by then; later delistings are not known yet."""
    delisted = pl.when(pl.col("delisted") <= until).then("delisted")
    return world.products.filter(pl.col("launched").is_null() | (pl.col("launched") <= until)).with_columns(delisted)


def _price_changes(world: World, days: Sequence[dt.date]) -> pl.DataFrame:
    """Return the prices of the days on which they differ from the day before, or begin."""
    kept = []
    for day in days:
        before = day - dt.timedelta(1)
        unchanged = listed(world, before) & (shelf(world, day).price == shelf(world, before).price)
        kept.append(listed(world, day) & ~unchanged)
    return _rows(world, days, kept, price=[shelf(world, day).price for day in days])


def _promotions(world: World, days: Sequence[dt.date]) -> pl.DataFrame:
    shelves = [shelf(world, day) for day in days]
    kept = [listed(world, day) & (s.promotion > 0) for day, s in zip(days, shelves, strict=True)]
    rows = _rows(world, days, kept, kind=[s.promotion for s in shelves], discount=[s.discount for s in shelves])
    kinds = pl.Series(PROMOTION_KINDS)
    return rows.with_columns(kind=kinds[rows["kind"].cast(pl.Int64)])


def _offers(world: World, first: dt.date, last: dt.date) -> pl.DataFrame:
    """Return the offers that begin in the span: at launch, and dearer on each New Year's Day."""
    launched = world.products.select("product_id", pl.col("launched").fill_null(FIRST_DAY))
    starts = [launched.rename({"launched": "day"})]
    for year in range(FIRST_DAY.year + 1, last.year + 1):
        new_year = dt.date(year, 1, 1)
        starts.append(launched.filter(pl.col("launched") < new_year).select("product_id", day=pl.lit(new_year)))
    rise = (1 + _YEARLY_COST_INCREASE) ** (pl.col("day").dt.year() - FIRST_DAY.year)
    offers = world.offers.join(pl.concat(starts), on="product_id").filter(pl.col("day").is_between(first, last))
    return offers.with_columns(cost=(pl.col("cost") * rise).round(2)).sort("supplier_id", "product_id", "day")
