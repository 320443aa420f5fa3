"""Assemble the rows: the daily `features` table and the training matrix, block by block on Dask.

Two passes over the blocks of locations, in one graph: the first reduces each block to totals per product and day, which
are added up; the second makes the block's rows. The scheduler is "threads", "synchronous" or a cluster's address.
"""

import datetime as dt
from collections.abc import Sequence
from typing import Any, NamedTuple

import dask
import numpy as np
import polars as pl
from dask.delayed import Delayed
from distributed import Client
from numpy.typing import NDArray

from marketday.features.calendar import day_columns
from marketday.features.history import own_history
from marketday.features.kernels import Array, Index, at, relative, window_mean
from marketday.features.levels import LEVEL_WINDOW, Levels, add_up, block_levels, product_totals
from marketday.features.panel import Facts, Panel, Span, load
from marketday.retailers import Retailer, Training
from marketday.tables import RECENT_DAYS

PRICE_WINDOW = 91


def blocks(location_ids: Sequence[str], size: int) -> dict[str, list[str]]:
    """Cut the locations, in order, into blocks of ``size``, named 000, 001, …."""
    ordered = sorted(location_ids)
    return {f"{i // size:03}": ordered[i : i + size] for i in range(0, len(ordered), size)}


def serving_span(day: dt.date, data_until: dt.date, horizon: int) -> Span:
    """Return the axis that the features of business day ``day`` need."""
    lookback = max(RECENT_DAYS, PRICE_WINDOW, horizon + LEVEL_WINDOW)
    last = day + dt.timedelta(days=horizon - 1)
    return Span(data_until - dt.timedelta(days=lookback), data_until, day - dt.timedelta(days=1), last)


def training_span(data_until: dt.date, history_days: int, horizon: int) -> Span:
    """Return the axis that training on ``history_days`` up to ``data_until`` needs."""
    lookback = history_days + max(RECENT_DAYS, PRICE_WINDOW) + horizon
    return Span(data_until - dt.timedelta(days=lookback), data_until, data_until, data_until)


def known_columns(panel: Panel, levels: Levels, series: Index, day: Index) -> pl.DataFrame:
    """Return what every horizon knows at its origin, for rows given by series and by column of the day."""
    of = panel.series[series]
    place = panel.location[series]
    names = pl.Series(panel.events.names, dtype=pl.String)
    dates = day_columns([panel.span.first + dt.timedelta(days=d) for d in range(panel.span.days)])
    numbers = {
        "price": at(panel.price, series, day),
        "price_relative": at(relative(panel.price, PRICE_WINDOW), series, day),
        "promotion": at(panel.promotion, series, day),
        "temperature": at(panel.temperature, place, day),
        "precipitation": at(panel.precipitation, place, day),
        "payday": panel.events.payday[place, day],
        "age": _age(panel, series, day),
        "location_level": window_mean(levels.location, place, day - levels.horizon, LEVEL_WINDOW),
        "product_level": window_mean(levels.product, series, day - levels.horizon, LEVEL_WINDOW),
    }
    return pl.concat(
        [of.select("location_id", "product_id", "category", "department", "region", "unit"), dates[day]],
        how="horizontal",
    ).with_columns(
        *(pl.Series(name, values, nan_to_null=True) for name, values in numbers.items()),
        event=_named(names, panel.events.main[place, day]),
        event_tomorrow=_named(names, panel.events.main[place, day + 1]),
    )


def future_rows(panel: Panel, levels: Levels, business_day: dt.date) -> pl.DataFrame:
    """Return the rows of the days after the data, in the form of the table `features` but for ``block``."""
    start = panel.span.at(panel.span.data_until) + 1
    series, ahead = np.nonzero(panel.on_sale[:, start:])
    recent = pl.Series(panel.demand[:, start - RECENT_DAYS : start].ravel(), nan_to_null=True)
    first = np.diff(series, prepend=-1) != 0
    of_series = pl.Series(np.where(first, series, -1)).replace(-1, None)
    return known_columns(panel, levels, series, ahead + start).with_columns(
        horizon=((pl.col("day") - business_day).dt.total_days() + 1).cast(pl.Int32),
        recent=recent.reshape((-1, RECENT_DAYS)).gather(of_series),
    )


def training_rows(panel: Panel, levels: Levels, training: Training) -> pl.DataFrame:
    """Return the rows of the known days that are learnt from: known columns, own history, ``horizon``, ``demand``.

    Rows whose demand is unknown or censored are left out, and the day of the first sale too: that it sold is why the
    row would be there. Scheme "recursive": every origin is the day before. "direct": horizons 1 … H alternate.
    """
    stop = panel.span.at(panel.span.data_until) + 1
    day = np.arange(panel.span.days)
    usable = np.isfinite(panel.demand) & panel.on_sale & (day > panel.first_sale[:, None])
    usable[:, : stop - training.history_days] = False
    series, target = np.nonzero(usable)
    ahead = 1 + (series + target) % levels.horizon if training.scheme == "direct" else np.ones_like(target)
    own = own_history(panel.demand, series, target - ahead, target)
    return known_columns(panel, levels, series, target).with_columns(
        *(pl.Series(name, values) for name, values in own.items()),
        horizon=pl.Series(ahead, dtype=pl.Int32),
        demand=pl.Series(panel.demand[series, target]),
    )


def features_table(facts: Facts, retailer: Retailer, day: dt.date, data_until: dt.date, scheduler: str) -> pl.DataFrame:
    """Return the table `features` of business day ``day``: rows for ``data_until`` + 1 … ``day`` + H - 1."""
    made = _prepare(facts, retailer, serving_span(day, data_until, retailer.horizon))
    tasks = [dask.delayed(future_rows)(panel, levels, day) for panel, levels in made.values()]
    frames: list[pl.DataFrame] = compute(tasks, scheduler)
    return pl.concat(frame.with_columns(block=pl.lit(name)) for name, frame in zip(made, frames, strict=True))


class TrainingData(NamedTuple):
    """Rows to learn from, and the features of the last horizon to be judged by.

    These have no demand and no weather after their origin; prices, promotions and events are as known now.
    """

    rows: pl.DataFrame
    held_out: pl.DataFrame
    held_out_origin: dt.date


def training_data(facts: Facts, retailer: Retailer, data_until: dt.date, scheduler: str) -> TrainingData:
    """Return the training matrix up to ``data_until``; its last H days are also held out."""
    training, horizon = retailer.training, retailer.horizon
    origin = data_until - dt.timedelta(days=horizon)
    made = _prepare(facts, retailer, training_span(data_until, training.history_days, horizon))
    rows = [dask.delayed(training_rows)(panel, levels, training) for panel, levels in made.values()]
    held = [
        dask.delayed(future_rows)(dask.delayed(Panel.as_of)(panel, origin), levels, origin + dt.timedelta(days=1))
        for panel, levels in made.values()
    ]
    frames = compute([*rows, *held], scheduler)
    return TrainingData(pl.concat(frames[: len(rows)]), pl.concat(frames[len(rows) :]), origin)


def _prepare(facts: Facts, retailer: Retailer, span: Span) -> dict[str, tuple[Delayed, Delayed]]:
    """Return each block's panel and levels, delayed; a panel is read once and serves both passes."""
    location_ids = facts.locations.select("location_id").collect()["location_id"].to_list()
    product_ids = facts.products.select("product_id").collect()["product_id"].sort().to_list()
    cut = blocks(location_ids, retailer.block_size)
    panels = {name: dask.delayed(load)(facts, ids, span, retailer.absent_sales) for name, ids in cut.items()}
    totals = dask.delayed(add_up)([dask.delayed(product_totals)(panel, product_ids) for panel in panels.values()])
    return {
        name: (panel, dask.delayed(block_levels)(panel, totals, product_ids, retailer.horizon))
        for name, panel in panels.items()
    }


def compute(tasks: Sequence[Delayed], scheduler: str) -> list[Any]:
    """Compute the tasks on "threads", "synchronous" or the cluster at ``tcp://…``."""
    if scheduler in ("threads", "synchronous"):
        return list(dask.compute(*tasks, scheduler=scheduler))
    with Client(scheduler) as client:
        return list(client.gather(client.compute(list(tasks))))


def _age(panel: Panel, series: Index, day: Index) -> Array:
    return np.where(day > panel.first_sale[series], day - panel.first_sale[series], np.nan).astype(np.float32)


def _named(names: pl.Series, code: NDArray[np.int32]) -> pl.Series:
    return names.gather(pl.Series(code).replace(-1, None))
