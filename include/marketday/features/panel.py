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
from marketday.features.kernels import Array, forward_fill

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
    series: pl.DataFrame
    """One row per series: location_id, product_id, region, category, department, unit."""
    location: NDArray[np.intp]
    """Position of each series' location in ``location_ids``."""
    demand: Array
    """Units sold; NaN before the first sale, where no row was delivered, and where stock ran out (censored)."""
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
        demand, temperature, precipitation = (
            np.where(later, np.float32(np.nan), known) for known in (self.demand, self.temperature, self.precipitation)
        )
        span = self.span._replace(data_until=day, origin=day)
        return replace(self, demand=demand, temperature=temperature, precipitation=precipitation, span=span)


def load(facts: Facts, location_ids: list[str], span: Span, absent_sales: Literal["missing", "zero"]) -> Panel:
    """Read one block's facts into arrays.

    A series is every pair with a price row up to the last day, or a sale on the axis. ``absent_sales`` "zero" reads a
    missing sales row as 0 where the location reports any sale that day and the product is listed.
    """
    here = pl.col("location_id").is_in(location_ids)
    until = pl.col("day") <= span.data_until
    sales = facts.sales.filter(here & until).select(*_PAIR, "day", "units")
    recent = sales.filter(pl.col("day") >= span.first).collect()
    first_sales = sales.filter(pl.col("units") > 0).group_by(_PAIR).agg(pl.col("day").min()).collect()
    prices = (
        facts.prices.filter(here & (pl.col("day") <= span.last)).select(*_PAIR, "day", "price").sort("day").collect()
    )
    series = _series(facts, pl.concat([prices.select(_PAIR), recent.select(_PAIR)]).unique())
    location = np.searchsorted(np.array(location_ids), series["location_id"].to_numpy().astype(str))

    price = forward_fill(_scatter(prices.with_columns(pl.col("day").clip(span.first)), series, span, "price"))
    launched, delisted = (
        (series[name].fill_null(default) - span.first).dt.total_days().to_numpy()[:, None]
        for name, default in (("launched", span.first), ("delisted", span.last + dt.timedelta(days=1)))
    )
    day = np.arange(span.days)
    first_sale = _first_sale(first_sales, series, span)
    sold_before = day >= first_sale[:, None]
    on_sale = (day >= launched) & (day < delisted) & (np.isfinite(price) | sold_before)
    demand = _scatter(recent, series, span, "units")
    if absent_sales == "zero":
        reports = np.zeros((len(location_ids), span.days), dtype=bool)
        np.logical_or.at(reports, location, np.isfinite(demand))
        demand[np.isnan(demand) & reports[location] & on_sale & np.isfinite(price)] = 0.0
    demand[~sold_before] = np.nan
    between = here & pl.col("day").is_between(span.first, span.last)
    out = facts.stock.filter(between & until & (pl.col("stockout_share") > 0)).select(*_PAIR, "day", "stockout_share")
    demand[_scatter(out.collect(), series, span, "stockout_share") > 0] = np.nan

    promoted = facts.promotions.filter(between).group_by(*_PAIR, "day").agg(pl.col("discount").max().clip(UNDISCOUNTED))
    promotion = np.nan_to_num(_scatter(promoted.collect(), series, span, "discount"))
    known = (pl.col("day") <= span.origin) | (pl.col("source") == "forecast")
    weather = facts.weather.filter(between & known).collect()
    places = pl.DataFrame({"location_id": location_ids})
    events = facts.events.filter(here | (pl.col("location_id") == "*")).collect()
    return Panel(
        span=span,
        location_ids=location_ids,
        series=series,
        location=location,
        demand=demand,
        price=price,
        promotion=promotion,
        on_sale=on_sale,
        first_sale=first_sale,
        temperature=_scatter(weather, places, span, "temperature"),
        precipitation=_scatter(weather, places, span, "precipitation"),
        # One day more than the axis, for the day after the last.
        events=locate_events(
            events.select("location_id", "day", "name", "kind"), location_ids, span.first, span.days + 1
        ),
    )


def _series(facts: Facts, pairs: pl.DataFrame) -> pl.DataFrame:
    products = facts.products.select("product_id", "category", "department", "unit", "launched", "delisted")
    return (
        pairs.lazy()
        .join(products, on="product_id")
        .join(facts.locations.select("location_id", "region"), on="location_id")
        .sort(_PAIR)
        .collect()
    )


def _scatter(rows: pl.DataFrame, series: pl.DataFrame, span: Span, value: str) -> Array:
    """Place ``value`` at (series, day); the last row wins."""
    dense = np.full((series.height, span.days), np.nan, dtype=np.float32)
    keys = [name for name in _PAIR if name in series.columns]
    placed = rows.join(series.select(keys).with_row_index("at"), on=keys, maintain_order="left")
    column = (placed["day"] - span.first).dt.total_days().to_numpy()
    dense[placed["at"].to_numpy(), column] = placed[value].to_numpy()
    return dense


def _first_sale(first_sales: pl.DataFrame, series: pl.DataFrame, span: Span) -> NDArray[np.float32]:
    day = series.join(first_sales, on=_PAIR, how="left", maintain_order="left")["day"]
    return (day - span.first).dt.total_days().cast(pl.Float32).to_numpy()
