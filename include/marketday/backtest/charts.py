"""Charts of a backtest's scores, as SVG. Every system has its colour: the model blue, the baseline grey."""

from typing import Any

import altair as alt
import polars as pl

from marketday.backtest.scores import PIT_BINS, SYSTEMS
from marketday.plots import BLUE, GREY, drawn

_NAMES = list(SYSTEMS.values())
_COLOURS = [BLUE, GREY]
_RULE = "#444444"
_PANEL, _ROW = 330, 22
_MOST_SEGMENTS = 14
"""Rows of a chart of segments that a reader still takes in; of more, those with the most units are shown."""


def by_horizon(scores: pl.DataFrame) -> bytes:
    """Draw WAPE and bias against the days ahead. ``scores``: system, segment (the horizon), wape, bias."""
    data = scores.with_columns(pl.col("segment").cast(pl.Int32))
    days = alt.X("segment:Q", title="days ahead", axis=alt.Axis(grid=False, tickMinStep=1), scale=alt.Scale(zero=False))

    def panel(measure: str, title: str, zero: bool) -> Any:
        line = alt.Chart(_rows(data)).mark_line(strokeWidth=2, strokeJoin="round", point=alt.OverlayMarkDef(size=22))
        y = alt.Y(f"{measure}:Q", title=title, axis=alt.Axis(format=".0%"), scale=alt.Scale(zero=zero))
        return line.encode(x=days, y=y, color=_system()).properties(width=_PANEL, height=190)

    zero = alt.Chart(alt.Data(values=[{"y": 0}])).mark_rule(color=_RULE).encode(y="y:Q")
    error = panel("wape", "WAPE", zero=False)
    return drawn(
        alt.hconcat(error, zero + panel("bias", "bias: forecast over sales", zero=True), spacing=36, padding=10)
    )


def by_segment(scores: pl.DataFrame, order: list[str] | None = None) -> bytes:
    """Draw WAPE and bias per segment, both systems on one row. ``scores``: system, segment, units, wape, bias.

    The order is that of ``order``, else most units first.
    """
    model = scores.filter(pl.col("system") == _NAMES[0])
    largest = model.sort("units", "segment", descending=[True, False])["segment"].to_list()
    shown = [name for name in order or largest if name in set(largest)][:_MOST_SEGMENTS]
    data = scores.filter(pl.col("segment").is_in(shown), pl.col("wape").is_not_null())
    y = alt.Y("segment:N", title=None, sort=shown, axis=alt.Axis(labelLimit=170, ticks=False, domain=False))

    def panel(measure: str, title: str, *, named: bool) -> Any:
        # Room beside the outermost dots, which would lie on the labels otherwise.
        scale = alt.Scale(zero=measure == "bias", padding=12, nice=False)
        x = alt.X(f"{measure}:Q", title=title, axis=alt.Axis(format=".0%", tickCount=4), scale=scale)
        base = alt.Chart(_rows(data)).encode(y=y if named else alt.Y("segment:N", sort=shown, axis=None))
        between = base.mark_line(color="#D5D5D5", strokeWidth=3).encode(x=x, detail="segment:N")
        dots = base.mark_point(filled=True, size=75, opacity=1).encode(x=x, color=_system())
        return (between + dots).properties(width=_PANEL - 110, height=max(60, _ROW * len(shown)))

    zero = alt.Chart(alt.Data(values=[{"x": 0}])).mark_rule(color=_RULE).encode(x="x:Q")
    bias = zero + panel("bias", "bias", named=False)
    return drawn(alt.hconcat(panel("wape", "WAPE", named=True), bias, spacing=24, padding=10))


def pit_histogram(scores: pl.DataFrame) -> bytes:
    """Draw the randomised PIT, each bin over what it would hold if all were right. ``scores``: system, pit."""
    found = _systems(scores)
    top = max((PIT_BINS * max(row["pit"]) / max(sum(row["pit"]), 1) for row, _ in found), default=1.0)
    panels = [_pit_panel(row["system"], row["pit"], colour, top) for row, colour in found]
    return drawn(alt.hconcat(*panels, spacing=36, padding=10))


def _pit_panel(system: str, pit: list[float], colour: str, top: float) -> Any:
    expected = max(sum(pit), 1) / PIT_BINS
    bins = [
        {"low": i / PIT_BINS, "high": (i + 1) / PIT_BINS, "share": count / expected, "floor": 0.0}
        for i, count in enumerate(pit)
    ]
    x = alt.X("low:Q", title="where in its distribution the sale fell", axis=alt.Axis(format=".0%", grid=False))
    y = alt.Y("share:Q", title="observed over expected", scale=alt.Scale(domain=[0, max(top, 1.0)]))
    bars = alt.Chart(alt.Data(values=bins)).mark_bar(color=colour, binSpacing=1)
    even = alt.Chart(alt.Data(values=[{"y": 1}])).mark_rule(color=_RULE, strokeDash=[4, 3]).encode(y="y:Q")
    title = alt.TitleParams(system, anchor="start", fontSize=12, fontWeight="normal", color="#555555")
    layered = bars.encode(x=x, x2="high:Q", y=y, y2="floor:Q") + even
    return layered.properties(width=_PANEL - 20, height=190, title=title)


def reliability(scores: pl.DataFrame) -> bytes:
    """Draw how often sales lay at or below each quantile against how often they should. ``scores``: system, pit."""
    points = []
    for row, _ in _systems(scores):
        total, below = max(sum(row["pit"]), 1), 0
        points.append({"system": row["system"], "nominal": 0.0, "observed": 0.0})
        for i, count in enumerate(row["pit"]):
            below += count
            points.append({"system": row["system"], "nominal": (i + 1) / PIT_BINS, "observed": below / total})
    axis = alt.Axis(format=".0%", tickCount=5)
    x = alt.X("nominal:Q", title="forecast quantile", axis=axis)
    y = alt.Y("observed:Q", title="share of sales at or below it", axis=axis)
    curve = alt.Chart(alt.Data(values=points)).mark_line(strokeWidth=2, point=alt.OverlayMarkDef(size=20))
    corner = [{"nominal": 0, "observed": 0}, {"nominal": 1, "observed": 1}]
    right = alt.Chart(alt.Data(values=corner)).mark_line(color=_RULE, strokeWidth=1, strokeDash=[4, 3])
    layered = right.encode(x="nominal:Q", y="observed:Q") + curve.encode(x=x, y=y, color=_system())
    return drawn(layered.properties(width=_PANEL - 40, height=_PANEL - 40))


def _systems(scores: pl.DataFrame) -> list[tuple[dict[str, Any], str]]:
    by_name = {row["system"]: row for row in scores.iter_rows(named=True)}
    return [(by_name[name], colour) for name, colour in zip(_NAMES, _COLOURS, strict=True) if name in by_name]


def _system() -> Any:
    return alt.Color("system:N", title=None, scale=alt.Scale(domain=_NAMES, range=_COLOURS))


def _rows(data: pl.DataFrame) -> Any:
    return alt.Data(values=data.select("system", "segment", "wape", "bias").to_dicts())
