"""Charts of what corrections would have changed, as SVG: published grey, corrected blue."""

from typing import Any

import altair as alt
import polars as pl

from marketday.plots import BLUE, GREY, drawn

_NAMES = {"published": GREY, "corrected": BLUE}
_WIDTH, _ROW = 620, 22
_MOST_SERIES = 15
"""Rows of a chart that a reader still takes in."""


def by_day(forecasts: pl.DataFrame) -> bytes:
    """Draw the expected demand of all series per day. ``forecasts``: day, published, corrected."""
    days = forecasts.group_by("day").agg(pl.col(*_NAMES).sum()).sort("day")
    data = _long(days.with_columns(pl.col("day").dt.strftime("%Y-%m-%dT00:00:00")), "day")
    ticks = alt.TimeIntervalStep("day", max(1, days.height // 10))
    x = alt.X("day:T", title=None, axis=alt.Axis(format="%-d %b", tickCount=ticks, grid=False))
    y = alt.Y("value:Q", title="expected demand, all series", scale=alt.Scale(zero=False))
    line = alt.Chart(data).mark_line(strokeWidth=2, strokeJoin="round", point=alt.OverlayMarkDef(size=24))
    return drawn(line.encode(x=x, y=y, color=_colour()).properties(width=_WIDTH, height=220, padding=10))


def by_series(series: pl.DataFrame) -> bytes:
    """Draw the largest changes, both forecasts on one row. ``series``: location_id, product_id, published, corrected.

    Of the first rows only, in their order.
    """
    shown = series.head(_MOST_SERIES).select(
        pl.concat_str("product_id", pl.lit(" in "), "location_id").alias("series"), *_NAMES
    )
    order = shown["series"].to_list()
    y = alt.Y("series:N", sort=order, title=None, axis=alt.Axis(ticks=False, domain=False, labelLimit=220))
    x = alt.X("value:Q", title="expected demand over the horizon", scale=alt.Scale(zero=False))
    rows = alt.Chart(_long(shown, "series")).encode(x=x, y=y)
    between = rows.mark_line(color="#D5D5D5", strokeWidth=3).encode(detail="series:N")
    dots = rows.mark_point(filled=True, size=75, opacity=1).encode(color=_colour())
    return drawn((between + dots).properties(width=_WIDTH, height=max(60, _ROW * len(order)), padding=10))


def _long(rows: pl.DataFrame, index: str) -> Any:
    return alt.Data(values=rows.unpivot(list(_NAMES), index=index, variable_name="line").to_dicts())


def _colour() -> Any:
    scale = alt.Scale(domain=list(_NAMES), range=list(_NAMES.values()))
    return alt.Color("line:N", title=None, scale=scale)
