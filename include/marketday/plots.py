"""Charts for people: the forecast of one series as a fan, and a retailer's total against its history.

Drawn by Vega inside this process; nothing is fetched. A chart is returned as SVG or PNG bytes.
"""

from typing import Any, Literal

import altair as alt
import polars as pl
import vl_convert

from marketday.orders import MODES

Form = Literal["svg", "png"]

_WIDTH, _HEIGHT, _PNG_SCALE = 760, 300, 2
# Okabe and Ito's palette (2008), which colour-blind readers can tell apart, and two greys.
BLUE = "#0072B2"
GREY = "#9A9A9A"
_COLOURS = {
    "sales": GREY,
    "stock ran out": "#D55E00",
    "sold then": "#009E73",
    "mean": "#222222",
    "median": BLUE,
    "forecast": BLUE,
}
_BANDS = {"central 50 %": 0.38, "central 95 %": 0.16}
_DOTTED = [2, 3]


def fan_chart(
    history: pl.DataFrame,
    forecast: pl.DataFrame,
    *,
    title: str,
    units: str = "units",
    then: pl.DataFrame | None = None,
    form: Form = "svg",
) -> bytes:
    """Draw one series: what was sold, then mean, median and the central 50 % and 95 % of what is expected.

    ``history``: day, units, stockout_share (null: unknown). ``forecast``: day, mean, q025, q250, q500, q750, q975,
    mode. ``then``, in looking back: what was sold on the days of the forecast, as ``history``. Days on which stock ran
    out are marked, because sales are less than demand then. A mode other than fresh is in the title.
    """
    worst = max(forecast["mode"], key=MODES.index)
    median = forecast.select("day", pl.col("q500").alias("value"), pl.lit("median").alias("line"))
    mean = forecast.select("day", pl.col("mean").alias("value"), pl.lit("mean").alias("line"))
    bands = pl.concat(
        forecast.select("day", pl.col(low).alias("low"), pl.col(high).alias("high"), pl.lit(name).alias("band"))
        for name, (low, high) in zip(_BANDS, (("q250", "q750"), ("q025", "q975")), strict=True)
    )
    looking_back = () if then is None else ("sold then",)
    lines = ("sales", "stock ran out", *looking_back, "median", "mean")
    layers = [
        _band(bands),
        *_sold(history, "sales", lines),
        _line(median, lines),
        _points(median, lines),
        _line(mean, lines, dash=_DOTTED),
        *([] if then is None else _sold(then, "sold then", lines)),
    ]
    shown = title if worst == "fresh" else f"{title} ({worst})"
    return _draw(layers, title=shown, subtitle=_span(history, forecast), units=units, form=form)


def total_chart(
    history: pl.DataFrame,
    forecast: pl.DataFrame,
    *,
    title: str,
    units: str = "units",
    then: pl.DataFrame | None = None,
    form: Form = "svg",
) -> bytes:
    """Draw a retailer's total per day. ``history``, ``then`` (sold afterwards): day, units. ``forecast``: day, mean."""
    parts = [("sales", history, "units"), ("forecast", forecast, "mean")]
    if then is not None:
        parts.insert(1, ("sold then", then, "units"))
    lines = tuple(name for name, _, _ in parts)
    data = pl.concat(
        rows.select("day", pl.col(column).alias("value"), pl.lit(name).alias("line")) for name, rows, column in parts
    ).sort("day")
    layers = [_line(data, lines), _points(data, lines)]
    return _draw(layers, title=title, subtitle=_span(history, forecast), units=units, form=form)


def _span(history: pl.DataFrame, forecast: pl.DataFrame) -> str:
    last = "no sales known" if history.is_empty() else f"sales known to {max(history['day'])}"
    return f"{last}; forecast {min(forecast['day'])} to {max(forecast['day'])}"


def _sold(days: pl.DataFrame, line: str, lines: tuple[str, ...]) -> list[Any]:
    """Return a line of what was sold, and its points; those of days on which stock ran out stand out."""
    sold = days.select("day", pl.col("units").alias("value"), pl.lit(line).alias("line"))
    ran_out = pl.when(pl.col("stockout_share") > 0).then(pl.lit("stock ran out")).otherwise(pl.lit(line))
    return [_line(sold, lines), _points(sold.with_columns(days.select(ran_out.alias("line"))), lines)]


def _line(data: pl.DataFrame, lines: tuple[str, ...], *, dash: list[int] | None = None) -> Any:
    mark = {"strokeWidth": 1.5, "strokeJoin": "round", **({"strokeDash": dash} if dash else {})}
    return alt.Chart(_rows(data)).mark_line(**mark).encode(x=_x(), y="value:Q", color=_colour(lines))


def _points(data: pl.DataFrame, lines: tuple[str, ...]) -> Any:
    points = alt.Chart(_rows(data)).mark_point(filled=True, opacity=1, size=24)
    return points.encode(x=_x(), y="value:Q", color=_colour(lines))


def _band(data: pl.DataFrame) -> Any:
    scale = alt.Scale(domain=list(_BANDS), range=list(_BANDS.values()))
    areas = alt.Chart(_rows(data)).mark_area(color=BLUE)
    return areas.encode(x=_x(), y="low:Q", y2="high:Q", opacity=alt.Opacity("band:N", title=None, scale=scale))


def _x() -> Any:
    return alt.X("day:T", title=None, axis=alt.Axis(format="%-d %b", tickCount=10, grid=False))


def _colour(lines: tuple[str, ...]) -> Any:
    scale = alt.Scale(domain=list(lines), range=[_COLOURS[line] for line in lines])
    return alt.Color("line:N", title=None, scale=scale)


def _rows(data: pl.DataFrame) -> Any:
    # Vega reads a bare date as midnight UTC and draws it in local time; with a time of day it is local in both.
    return alt.Data(values=data.with_columns(pl.col("day").dt.strftime("%Y-%m-%dT00:00:00")).to_dicts())


def _draw(layers: list[Any], *, title: str, subtitle: str, units: str, form: Form) -> bytes:
    layers[0].encoding.y.title = units
    heading = alt.TitleParams(title, subtitle=subtitle, anchor="start", fontSize=15, subtitleColor="#666666", offset=12)
    chart = alt.layer(*layers).properties(width=_WIDTH, height=_HEIGHT, title=heading, padding=14)
    return drawn(chart, form)


def drawn(chart: Any, form: Form = "svg") -> bytes:
    """Draw an Altair chart in the style of all charts here."""
    styled = (
        chart.configure_view(strokeWidth=0)
        .configure_axis(
            gridColor="#EEEEEE",
            domainColor="#CCCCCC",
            tickColor="#CCCCCC",
            labelColor="#555555",
            titleColor="#555555",
            titleFontWeight="normal",
        )
        .configure_legend(orient="bottom", direction="horizontal", labelColor="#333333", symbolStrokeWidth=0)
    )
    spec = styled.to_dict()
    if form == "png":
        return bytes(vl_convert.vegalite_to_png(spec, scale=_PNG_SCALE))
    return str(vl_convert.vegalite_to_svg(spec)).encode()
