"""From long facts to dense arrays, series x days, for one block of locations.

The axis of days runs from ``Span.first`` to ``Span.last``; day ``d`` is column ``(d - first).days``. Sales, stock and
observed weather are read up to the origin only; prices, promotions, events and forecast weather also beyond it.
"""

import datetime as dt
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from marketday.features.calendar import Events, locate_events
from marketday.features.censoring import recover
from marketday.features.grid import Axis, Pairs, Whole, codes, forward_fill, places, scatter
from marketday.features.kernels import Array, Index

UNDISCOUNTED = 0.001
"""Value of `promotion` for a promotion without a discount, so that it can be told from no promotion."""

_PAIR = ["location_id", "product_id"]


class Facts(NamedTuple):
    """The facts and dimensions as known on the morning of the business day."""

    products: pl.LazyFrame
    locations: pl.LazyFrame
    sales: pl.LazyFrame
    stock: pl.LazyFrame
    prices: pl.LazyFrame
    promotions: pl.LazyFrame
    weather: pl.LazyFrame
    events: pl.LazyFrame


class Span(NamedTuple):
    """The axis of days and what is known on it: sales up to ``data_until``, everything observed up to ``origin``."""

    first: dt.date
    data_until: dt.date
    origin: dt.date
    last: dt.date

    @property
    def days(self) -> int:
        """Length of the axis."""
        return (self.last - self.first).days + 1

    def at(self, day: dt.date) -> int:
        """Return the column of ``day``."""
        return (day - self.first).days


@dataclass(frozen=True, kw_only=True)
class Panel:
    """Dense facts of one block. Arrays are series x days (locations x days for weather and events), NaN is unknown."""

    span: Span
    location_ids: list[str]
    products: pl.DataFrame
    """Every product of the retailer by product_id, with category and department."""
    series: pl.DataFrame
    """One row per series: location_id, product_id, region, category, department, unit."""
    location: Index
    """Position of each series' location in ``location_ids``."""
    product: Index
    """Position of each series' product in ``products``."""
    demand: Array
    """Units asked for: what sold and, where stock ran out, what is reckoned to have been missed besides
    (:mod:`marketday.features.censoring`); NaN before the first sale and where no row was delivered."""
    exposure: Array
    """Share of each day on which there was stock, from 0 to 1."""
    price: Array
    promotion: Array
    on_sale: NDArray[np.bool_]
    """Launched and not delisted, and with a price by that day or sold before."""
    first_sale: NDArray[np.float32]
    """Column of the first sale ever, negative if before the axis, NaN if never sold."""
    temperature: Array
    precipitation: Array
    events: Events

    def as_of(self, day: dt.date) -> "Panel":
        """Return the panel with neither demand nor weather after ``day``.

        The forecasts of that weather were superseded by what was observed, which nobody knew on that day.
        """
        later = np.arange(self.span.days) > self.span.at(day)
        observed = (self.demand, self.exposure, self.temperature, self.precipitation)
        demand, exposure, temperature, precipitation = (
            np.where(later, np.float32(np.nan), known) for known in observed
        )
        span = self.span._replace(data_until=day, origin=day)
        return replace(
            self, demand=demand, exposure=exposure, temperature=temperature, precipitation=precipitation, span=span
        )


class _Rows(NamedTuple):
    """Long rows of a table by keys of pairs (see :class:`Pairs`) and columns of the axis."""

    key: Whole
    column: Whole
    value: NDArray[np.float64]


def load(facts: Facts, location_ids: list[str], span: Span, absent_sales: Literal["missing", "zero"]) -> Panel:
    """Read one block's facts into arrays.

    A series is every pair with a price row up to the last day, or a sale on the axis. ``absent_sales`` "zero" reads a
    missing sales row as 0 where the location reports any sale that day and the product is listed.
    """
    products = facts.products.select("product_id", "category", "department", "unit", "launched", "delisted")
    listed = products.sort("product_id").collect()
    product_ids = listed["product_id"].to_list()
    axis = Axis(span.first, span.days)
    here, day = pl.col("location_id").is_in(location_ids), pl.col("day")

    def read(table: pl.LazyFrame, value: str, where: pl.Expr) -> _Rows:
        rows = table.filter(here & where).select(*_PAIR, "day", value).collect()
        location, product = codes(rows["location_id"], location_ids), codes(rows["product_id"], product_ids)
        key = np.where(product < 0, -1, location * len(product_ids) + product)
        return _Rows(key, axis.columns(rows["day"]), rows[value].to_numpy())

    sold = read(facts.sales, "units", day.is_between(span.first, span.data_until))
    # Rows of before the axis in the order of days, so that the last of them is what holds when it begins.
    listed_before = read(facts.prices.sort("day"), "price", day <= span.first)
    listed_after = read(facts.prices, "price", (day > span.first) & (day <= span.last))
    present = np.concatenate([sold.key, listed_before.key, listed_after.key])
    pairs = Pairs(present[present >= 0], len(product_ids))
    shape = (len(pairs), span.days)

    def dense(rows: _Rows) -> Array:
        return scatter(pairs.rows(rows.key), np.maximum(rows.column, 0), rows.value, shape)

    price = dense(_Rows(*(np.concatenate(both) for both in zip(listed_before, listed_after, strict=True))))
    price = forward_fill(price)
    demand = dense(sold)
    # Sold before the axis: only the first day counts, and one row per series is read of it.
    earlier = facts.sales.filter(here & (day < span.first) & (pl.col("units") > 0))
    first_day = earlier.group_by(_PAIR).agg(day.min(), units=pl.lit(1.0))
    first_sale = _first_sale(demand, read(first_day, "units", pl.lit(True)), pairs)
    own = listed[pairs.product]
    launched, delisted = (
        (own[name].fill_null(default) - span.first).dt.total_days().to_numpy()[:, None]
        for name, default in (("launched", span.first), ("delisted", span.last + dt.timedelta(days=1)))
    )
    column = np.arange(span.days)
    sold_before = column >= first_sale[:, None]
    on_sale = (column >= launched) & (column < delisted) & (np.isfinite(price) | sold_before)
    if absent_sales == "zero":
        reports = np.zeros((len(location_ids), span.days), dtype=bool)
        np.logical_or.at(reports, pairs.location, np.isfinite(demand))
        demand[np.isnan(demand) & reports[pairs.location] & on_sale & np.isfinite(price)] = 0.0
    demand[~sold_before] = np.nan
    out = read(
        facts.stock,
        "stockout_share",
        day.is_between(span.first, span.data_until) & (pl.col("stockout_share") > 0),
    )
    promotion = _promotion(read(facts.promotions, "discount", day.is_between(span.first, span.last)), pairs, shape)
    recovered = recover(
        demand,
        np.nan_to_num(dense(out)),
        group=np.unique(own["department"], return_inverse=True)[1],
        promoted=promotion > 0,
        by_weight=(own["unit"] == "weight").to_numpy(),
    )
    return Panel(
        span=span,
        location_ids=location_ids,
        products=listed.select("product_id", "category", "department"),
        series=_described(pairs, location_ids, own, facts),
        location=pairs.location,
        product=pairs.product,
        demand=recovered.demand,
        exposure=recovered.exposure,
        price=price,
        promotion=promotion,
        on_sale=on_sale,
        first_sale=first_sale,
        **_weather(facts, here, location_ids, span),
        # One day more than the axis, for the day after the last.
        events=locate_events(
            facts.events.filter(here | (pl.col("location_id") == "*"))
            .select("location_id", "day", "name", "kind")
            .collect(),
            location_ids,
            span.first,
            span.days + 1,
        ),
    )


def _first_sale(demand: Array, before: _Rows, pairs: Pairs) -> Array:
    """Return the column of each series' first sale: that of before the axis, else the first on it."""
    sold = demand > 0
    first = np.where(sold.any(axis=1), sold.argmax(axis=1), np.nan).astype(np.float32)
    row = pairs.rows(before.key)
    first[row[row >= 0]] = before.column[row >= 0]
    return first


def _promotion(rows: _Rows, pairs: Pairs, shape: tuple[int, int]) -> Array:
    """Return the largest discount of each day's promotions, at least UNDISCOUNTED; 0 without any."""
    promotion = np.zeros(shape, dtype=np.float32)
    at, discount = places(pairs.rows(rows.key), rows.column, rows.value, shape)
    np.maximum.at(promotion.reshape(-1), at, np.maximum(discount, UNDISCOUNTED).astype(np.float32))
    return promotion


def _described(pairs: Pairs, location_ids: list[str], own: pl.DataFrame, facts: Facts) -> pl.DataFrame:
    """Return one row per series: location_id, product_id, region, category, department, unit."""
    places = pl.DataFrame({"location_id": location_ids}, schema={"location_id": pl.String})
    regions = facts.locations.select("location_id", "region").collect()
    region = places.join(regions, on="location_id", how="left", maintain_order="left")
    return pl.concat(
        [region[pairs.location], own.select("product_id", "category", "department", "unit")], how="horizontal"
    ).select(*_PAIR, "region", "category", "department", "unit")


def _weather(facts: Facts, here: pl.Expr, location_ids: list[str], span: Span) -> dict[str, Array]:
    """Return temperature and precipitation: as observed up to the origin, as forecast after it."""
    day = pl.col("day")
    known = (day <= span.origin) | (pl.col("source") == "forecast")
    rows = facts.weather.filter(here & day.is_between(span.first, span.last) & known).collect()
    place, column = codes(rows["location_id"], location_ids), Axis(span.first, span.days).columns(rows["day"])
    shape = (len(location_ids), span.days)
    return {name: scatter(place, column, rows[name].to_numpy(), shape) for name in ("temperature", "precipitation")}
