"""Assemble the rows: the daily `features` table and the training matrix, block by block on Dask.

Two passes over the blocks of locations, in one graph: the first reads each block's demand and reduces it to totals per
product and day, which are added up; the second reads the block again and makes its rows. Nothing of a block is kept
between the passes, so that memory depends on the block and not on the retailer. The scheduler is "threads",
"synchronous", "workers" (processes of this one) or a cluster's address; a block that a lost worker had is done again by
another.
"""

import datetime as dt
import os
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import dask
import numpy as np
import polars as pl
from dask.delayed import Delayed
from distributed import Client, LocalCluster

from marketday.features import matrix
from marketday.features.declare import Feature, get
from marketday.features.inputs import Vocabulary, panel_inputs, vocabulary
from marketday.features.matrix import Matrix, TrainingMatrices, frame, future_rows
from marketday.features.panel import Facts, Panel, Span, load
from marketday.features.totals import Totals, add, by_product
from marketday.retailers import Retailer
from marketday.tables import RECENT_DAYS

TABLE_FEATURES = {
    **{
        name: name
        for name in (
            *("category", "department", "region", "unit", "weekday", "day_of_month", "week", "month"),
            *(
                "price",
                "price_relative",
                "price_change",
                "promotion",
                "promotion_change",
                "temperature",
                "precipitation",
                "payday",
                "age",
            ),
            *("event", "event_tomorrow"),
        )
    },
    "location_level": "location_level_28",
    "product_level": "product_level_28",
}
"""Columns of the table `features` and the features that they hold: what a forecast needs besides recent demand."""
_ACROSS_BLOCKS = {"product", "category", "department"}
_ADDED_AT_ONCE = 16
"""Blocks' totals held at once; each is at most as large as a panel of one location."""


def blocks(location_ids: Sequence[str], size: int) -> dict[str, list[str]]:
    """Cut the locations, in order, into blocks of ``size``, named 000, 001, …."""
    ordered = sorted(location_ids)
    return {f"{i // size:03}": ordered[i : i + size] for i in range(0, len(ordered), size)}


def serving_span(day: dt.date, data_until: dt.date, horizon: int, features: Sequence[Feature]) -> Span:
    """Return the axis that the features of business day ``day`` need, and the demand that models carry on from."""
    last = day + dt.timedelta(days=horizon - 1)
    before = matrix.history_days(features, (last - data_until).days, horizon)
    lookback = max(RECENT_DAYS, before)
    return Span(data_until - dt.timedelta(days=lookback), data_until, day - dt.timedelta(days=1), last)


def training_span(data_until: dt.date, history_days: int, horizon: int, features: Sequence[Feature]) -> Span:
    """Return the axis that training on ``history_days`` up to ``data_until`` needs."""
    before = matrix.history_days(features, horizon, horizon)
    lookback = max(history_days, horizon) + max(RECENT_DAYS, before)
    return Span(data_until - dt.timedelta(days=lookback), data_until, data_until, data_until)


def features_table(facts: Facts, retailer: Retailer, day: dt.date, data_until: dt.date, scheduler: str) -> pl.DataFrame:
    """Return the table `features` of business day ``day``: rows for ``data_until`` + 1 … ``day`` + H - 1."""
    features = [get(name) for name in TABLE_FEATURES.values()]
    names = vocabulary(facts)

    def make(panel: Panel, products: Totals | None) -> pl.DataFrame:
        inputs = panel_inputs(panel, products, names, matrix.groups(features))
        return _table(future_rows(panel, inputs, features, retailer.horizon), features, names, day)

    span = serving_span(day, data_until, retailer.horizon, features)
    made = per_block(facts, retailer, span, features, make)
    frames: list[pl.DataFrame] = compute(list(made.values()), scheduler)
    return pl.concat(rows.with_columns(block=pl.lit(name)) for name, rows in zip(made, frames, strict=True))


def training_matrices(
    facts: Facts, retailer: Retailer, data_until: dt.date, scheduler: str, features: Sequence[Feature]
) -> TrainingMatrices:
    """Return the training rows up to a horizon before ``data_until``, and the last horizon held out."""
    training, horizon = retailer.training, retailer.horizon
    origin = data_until - dt.timedelta(days=horizon)
    names = vocabulary(facts)
    told = [get(name) for name in TABLE_FEATURES.values()]
    locations = facts.locations.select(pl.len()).collect().item()

    def make(panel: Panel, products: Totals | None) -> tuple[Matrix, Matrix, pl.DataFrame, pl.DataFrame]:
        past = panel.as_of(origin)
        inputs = panel_inputs(past, products, names, matrix.groups([*features, *told]))
        most = training.rows * len(panel.location_ids) // locations
        near, far = matrix.training_rows(past, inputs, features, training, horizon, most=most)
        held_out = future_rows(past, inputs, told, horizon)
        return near, far, _table(held_out, told, names, origin + dt.timedelta(days=1)), _truth(panel, held_out)

    span = training_span(data_until, training.history_days, horizon, [*features, *told])
    made = compute(list(per_block(facts, retailer, span, [*features, *told], make).values()), scheduler)
    near, far, held_out, truth = ([each[i] for each in made] for i in range(4))
    return TrainingMatrices(near, far, pl.concat(held_out), pl.concat(truth), origin, names)


def _truth(panel: Panel, rows: Matrix) -> pl.DataFrame:
    """Return the demand of the rows on whose day stock lasted; ``rows`` know none of it themselves."""
    column = rows.day - pl.Series([panel.span.first]).to_physical().item()
    demand, exposure = (values[rows.series, column] for values in (panel.demand, panel.exposure))
    keys = rows.pairs.select("location_id", "product_id")[rows.series]
    return keys.with_columns(rows.dates(), demand=pl.Series(demand)).filter(pl.Series(exposure >= 1.0))


def per_block(
    facts: Facts,
    retailer: Retailer,
    span: Span,
    features: Sequence[Feature],
    make: Callable[[Panel, Totals | None], Any],
) -> dict[str, Delayed]:
    """Return what ``make`` makes of each block's panel and the totals of all products, delayed, by block."""
    location_ids = facts.locations.select("location_id").collect()["location_id"].to_list()
    cut = blocks(location_ids, retailer.block_size)
    whole = dask.delayed(facts, traverse=False)
    totals: Delayed | None = None
    if _ACROSS_BLOCKS & matrix.groups(features):
        parts = [dask.delayed(_product_totals)(whole, ids, span, retailer.absent_sales) for ids in cut.values()]
        totals = added(parts)

    def second_pass(facts: Facts, ids: list[str], products: Totals | None) -> Any:
        return make(load(facts, ids, span, retailer.absent_sales), products)

    return {name: dask.delayed(second_pass)(whole, ids, totals) for name, ids in cut.items()}


def added(parts: Sequence[Delayed]) -> Delayed:
    """Return the sum of the blocks' totals, delayed; few are held at a time, and the order is the blocks'."""
    while len(parts) > 1:
        parts = [dask.delayed(add)(parts[i : i + _ADDED_AT_ONCE]) for i in range(0, len(parts), _ADDED_AT_ONCE)]
    return parts[0]


def compute(tasks: Sequence[Delayed], scheduler: str) -> list[Any]:
    """Compute the tasks on "threads", "synchronous", "workers" or the cluster at ``tcp://…``."""
    if scheduler in ("threads", "synchronous"):
        return list(dask.compute(*tasks, scheduler=scheduler))
    with _own_workers() if scheduler == "workers" else nullcontext(scheduler) as cluster, Client(cluster) as client:
        return list(client.gather(client.compute(list(tasks))))


def _own_workers() -> LocalCluster:
    """Return a cluster of processes that this one starts: as many as it may use threads, each with one."""
    one_thread = dict.fromkeys(("POLARS_MAX_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    return LocalCluster(
        n_workers=dask.config.get("num_workers", os.cpu_count()),
        threads_per_worker=1,
        processes=True,
        # Whoever limits this process counts what its workers use; Dask's own limit would be each worker's share.
        memory_limit=None,
        dashboard_address=None,
        env=one_thread,
    )


def _product_totals(facts: Facts, ids: list[str], span: Span, absent_sales: Any) -> Totals:
    panel = load(facts, ids, span, absent_sales)
    return by_product(panel.demand, panel.location, panel.product)


def _table(rows: Matrix, features: Sequence[Feature], names: Vocabulary, business_day: dt.date) -> pl.DataFrame:
    """Return rows after the data in the form of the table `features` but for ``block``."""
    first = np.diff(rows.series, prepend=-1) != 0
    carrier = pl.Series(np.where(first, rows.series, -1)).replace(-1, None)
    recent = pl.Series(rows.recent.ravel(), nan_to_null=True).reshape((-1, RECENT_DAYS)).arr.to_list()
    return (
        frame(rows, features, names)
        .rename(_renamed())
        .with_columns(
            horizon=((pl.col("day") - business_day).dt.total_days() + 1).cast(pl.Int32),
            recent=recent.gather(carrier),
        )
    )


def _renamed() -> dict[str, str]:
    return {feature: column for column, feature in TABLE_FEATURES.items()}
