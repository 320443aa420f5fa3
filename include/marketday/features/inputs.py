"""From a block's panel and the totals of all blocks to the arrays that features read."""

import datetime as dt
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from marketday.features.calendar import PAYDAY, day_columns
from marketday.features.declare import Per
from marketday.features.evaluate import Inputs
from marketday.features.grid import Whole, codes
from marketday.features.panel import Facts, Panel
from marketday.features.totals import Totals, by_group, by_location

CODED = {
    "category": "category",
    "department": "department",
    "unit": "unit",
    "region": "region",
    "location": "location_id",
    "product": "product_id",
}
"""Names of a series that features read as codes, and where `Panel.series` has them."""
Vocabulary = Mapping[str, list[str]]
"""Names by what they name; a name's position is its code, the same in all blocks."""


def vocabulary(facts: Facts) -> dict[str, list[str]]:
    """Return the sorted names of categories, departments, units, products, regions, locations and events."""
    queries = {
        "category": facts.products.select("category"),
        "department": facts.products.select("department"),
        "unit": facts.products.select("unit"),
        "product": facts.products.select("product_id"),
        "region": facts.locations.select("region"),
        "location": facts.locations.select("location_id"),
        "event": facts.events.filter(pl.col("kind") != PAYDAY).select("name"),
    }
    found = pl.collect_all([query.unique() for query in queries.values()])
    return {name: frame.to_series().sort().to_list() for name, frame in zip(queries, found, strict=True)}


def panel_inputs(panel: Panel, products: Totals | None, names: Vocabulary, groups: Collection[Per]) -> Inputs:
    """Return what features may read of a block, with the totals of the ``groups`` that are asked for.

    ``products`` are the totals of all blocks' products; only groups that reach over blocks need them.
    """
    own = {name: codes(panel.series[column], names[name])[:, None] for name, column in CODED.items()}
    place = np.array([names["event"].index(name) for name in panel.events.names] + [-1], dtype=np.int32)
    event = place[panel.events.main]
    product, row = np.unique(panel.product, return_inverse=True)
    arrays: dict[tuple[Per, str], NDArray[Any]] = {
        ("series", "demand"): panel.demand,
        ("series", "price"): panel.price,
        ("series", "promotion"): panel.promotion,
        ("series", "first_sale"): panel.first_sale[:, None],
        ("series", "category"): own["category"],
        ("series", "department"): own["department"],
        ("series", "unit"): own["unit"],
        ("series", "location"): own["location"],
        ("series", "product"): own["product"],
        ("location", "region"): _regions(panel, own["region"]),
        ("location", "temperature"): panel.temperature,
        ("location", "precipitation"): panel.precipitation,
        ("location", "payday"): panel.events.payday[:, :-1],
        ("location", "event"): event[:, :-1],
        ("location", "event_tomorrow"): event[:, 1:],
        **calendar_arrays(panel.span.first, panel.span.days),
    }
    totals: dict[Per, Totals] = {}
    if "location" in groups:
        totals["location"] = by_location(panel.demand, panel.location, len(panel.location_ids))
    if products and "product" in groups:
        totals["product"] = products.of(product)
    for kind in ("category", "department"):
        if products and kind in groups:
            code = codes(panel.products[kind], names[kind])[products.row]
            totals[kind] = by_group(products, code, len(names[kind]))
    return Inputs(
        arrays=arrays | total_arrays(totals),
        row={
            "location": panel.location,
            "product": row,
            "category": own["category"][:, 0],
            "department": own["department"][:, 0],
        },
        series=len(panel.demand),
        days=panel.span.days,
    )


def calendar_arrays(first: dt.date, days: int) -> dict[tuple[Per, str], NDArray[Any]]:
    """Return the calendar of ``days`` days from ``first`` on, each as 1 x days."""
    dates = day_columns([first + dt.timedelta(days=d) for d in range(days)]).drop("day")
    arrays: dict[tuple[Per, str], NDArray[Any]] = {
        ("day", name): dates[name].to_numpy()[None, :] for name in dates.columns
    }
    return arrays | {("day", "column"): np.arange(days, dtype=np.float32)[None, :]}


def total_arrays(totals: Mapping[Per, Totals]) -> dict[tuple[Per, str], NDArray[Any]]:
    """Return groups' totals as inputs: demand is NaN where nothing is known."""
    arrays: dict[tuple[Per, str], NDArray[Any]] = {}
    for per, of in totals.items():
        demand = of.demand.copy()
        np.copyto(demand, np.nan, where=of.known == 0)
        arrays |= {(per, "demand"): demand, (per, "known"): of.known}
    return arrays


def _regions(panel: Panel, of_series: Whole) -> Whole:
    region = np.full((len(panel.location_ids), 1), -1, dtype=np.intp)
    region[panel.location] = of_series
    return region
