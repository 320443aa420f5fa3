"""The report of a backtest: one HTML page that needs nothing else, for a statistician and a store manager."""

import base64
import datetime as dt
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
from markupsafe import Markup

from marketday import pages, plots
from marketday.backtest import charts
from marketday.backtest.plan import Plan
from marketday.backtest.replay import RESULT, STAGES
from marketday.backtest.rows import PAIR, UNLISTED
from marketday.backtest.scores import ALL_ROWS, SYSTEMS, UNCENSORED
from marketday.distributions import QUANTILE_LEVELS, pinball
from marketday.errors import MarketdayError
from marketday.scoring import INTERVALS

_TEMPLATE = Path(__file__).with_name("report.html")
MODEL, BASELINE = SYSTEMS.values()
_TOLERANCE = 0.02
"""Coverage that is further from nominal is marked: beyond, an interval is not what it says."""
_BIAS_TOLERANCE = 0.02
_ORDERS: dict[str, list[str] | None] = {
    "velocity": ["fast", "medium", "slow", "new"],
    "weekday": ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"],
    "promotion": ["promotion", "no promotion"],
    "category": None,
    "location_id": None,
}
_TITLES = {
    "velocity": "Velocity: how fast a product sells in a store",
    "weekday": "Weekday",
    "promotion": "Promotion",
    "category": "Category",
    "location_id": "Location",
}
_UNDEFINED = "\N{EN DASH}"
_LEAST_DAILY_UNITS = 0.5
"""Best, median and worst are chosen among series that sell at least so much, if there are any: of a product that
sells twice a year every picture looks alike."""


def page(
    plan: Plan,
    done: list[Path],
    scores: pl.DataFrame,
    costs: pl.DataFrame,
    *,
    failed: Mapping[dt.date, MarketdayError],
    command: str,
) -> str:
    """Return the page. ``done`` are the folders of the origins that have a result."""
    mean = scores.filter(pl.col("origin").is_null())
    overall = {
        rows: {row["system"]: row for row in mean.filter(by="all", rows=rows).iter_rows(named=True)}
        for rows in (UNCENSORED, ALL_ROWS)
    }
    result = json.loads((done[-1] / RESULT).read_text(encoding="utf-8"))
    uncensored = mean.filter(rows=UNCENSORED)
    return pages.template(_TEMPLATE, percent=_percent, signed=_signed, number=_number).render(
        plan=plan,
        model=overall[UNCENSORED][MODEL],
        baseline=overall[UNCENSORED][BASELINE],
        model_all=overall[ALL_ROWS][MODEL],
        baseline_all=overall[ALL_ROWS][BASELINE],
        censored_share=1
        - overall[UNCENSORED][MODEL]["observations"] / max(overall[ALL_ROWS][MODEL]["observations"], 1),
        origins=_by_origin(scores),
        modes=_modes(done),
        total=_total(plan, done[-1]),
        fans=_fans(done[-1]),
        last_origin=done[-1].name,
        horizon=_image(charts.by_horizon(uncensored.filter(by="horizon")), "WAPE and bias by days ahead"),
        segments=_segments(uncensored),
        pit=_image(charts.pit_histogram(uncensored.filter(by="all")), "Histogram of the randomised PIT"),
        reliability=_image(charts.reliability(uncensored.filter(by="all")), "Reliability of the quantiles"),
        coverage=_coverage(uncensored),
        intervals=INTERVALS,
        tolerance=_TOLERANCE,
        bias_tolerance=_BIAS_TOLERANCE,
        costs=_costs(costs),
        failed=failed,
        source=result["source"],
        model_facts=_trained(done),
        command=command,
    )


def _by_origin(scores: pl.DataFrame) -> list[dict[str, Any]]:
    rows = scores.filter(pl.col("origin").is_not_null(), by="all", rows=UNCENSORED).sort("origin")
    by_system = {name: rows.filter(system=name).to_dicts() for name in (MODEL, BASELINE)}
    pairs = zip(by_system[MODEL], by_system[BASELINE], strict=True)
    return [{"origin": model["origin"], "model": model, "baseline": baseline} for model, baseline in pairs]


def _modes(done: list[Path]) -> list[dict[str, Any]]:
    """Return how many rows each model forecast, by mode; nobody's rows are left out."""
    rows = pl.concat(pl.scan_parquet(folder / "forecasts.parquet").select("mode", "model") for folder in done)
    kind = pl.col("model").str.split("@").list.first()
    counted = rows.filter(pl.col("mode") != UNLISTED).group_by("mode", kind).len().sort("len", descending=True)
    return counted.collect().to_dicts()


def _total(plan: Plan, folder: Path) -> Markup:
    forecasts = pl.read_parquet(folder / "forecasts.parquet").filter(pl.col("units").is_not_null())
    history = pl.read_parquet(folder / "history.parquet").group_by("day").agg(pl.col("units").sum())
    by_day = forecasts.group_by("day").agg(pl.col("mean", "units").sum())
    chart = plots.total_chart(
        history, by_day, then=by_day, title=f"{plan.retailer.title}: all series per day", units="units per day"
    )
    return _image(chart, "Total forecast and sales per day")


def _fans(folder: Path) -> list[dict[str, Any]]:
    """Draw the series with the least, the median and the largest scaled pinball loss."""
    rows = pl.read_parquet(folder / "forecasts.parquet").filter(
        pl.col("units").is_not_null(), pl.col("mode") != UNLISTED
    )
    series = pl.read_parquet(folder / "series.parquet")
    history = pl.read_parquet(folder / "history.parquet")
    losses = [pl.Series(q, pinball(rows["units"], rows[q], u)) for q, u in QUANTILE_LEVELS.items()]
    loss = pl.DataFrame(losses).mean_horizontal()
    ranked = (
        rows.select(PAIR)
        .with_columns(loss=loss, units=rows["units"])
        .group_by(PAIR)
        .agg(pl.col("loss", "units").mean())
        .join(series, on=PAIR)
        .filter(pl.col("absolute") > 0)
        .with_columns(score=pl.col("loss") / pl.col("absolute"))
        .sort("score", *PAIR)
    )
    enough = ranked.filter(pl.col("units") >= _LEAST_DAILY_UNITS)
    ranked = enough if enough.height else ranked
    places = {"Best": 0, "Median": ranked.height // 2, "Worst": ranked.height - 1} if ranked.height else {}
    fans = []
    for label, place in places.items():
        one = ranked.row(place, named=True)
        mine = [pl.col(name) == one[name] for name in PAIR]
        forecast = rows.filter(mine).sort("day")
        chart = plots.fan_chart(
            history.filter(mine),
            forecast,
            then=forecast.select("day", "units", "stockout_share"),
            title=f"{one['name'] or one['product_id']} in {one['location_id']}",
            units=f"{one['unit']} per day",
        )
        image = _image(chart, f"{label} series: {one['product_id']} in {one['location_id']}")
        fans.append({"label": label, "image": image, "score": f"{one['score']:.3f}"})
    return fans


def _segments(scores: pl.DataFrame) -> list[dict[str, Any]]:
    found = []
    for by, order in _ORDERS.items():
        rows = scores.filter(by=by)
        if rows["segment"].n_unique() > 1:
            found.append({"title": _TITLES[by], "image": _image(charts.by_segment(rows, order), _TITLES[by])})
    return found


def _coverage(scores: pl.DataFrame) -> list[dict[str, Any]]:
    """Return the model's coverage, overall and by velocity class."""
    order = ["all", *(_ORDERS["velocity"] or [])]
    mine = scores.filter(pl.col("by").is_in(["all", "velocity"]), system=MODEL)
    return sorted(mine.to_dicts(), key=lambda row: order.index(row["segment"]))


def _costs(costs: pl.DataFrame) -> list[dict[str, Any]]:
    by_step = costs.group_by("step").agg(
        pl.col("seconds").median(), pl.col("cpu_seconds").median(), pl.col("peak_mib").max()
    )
    return sorted(by_step.to_dicts(), key=lambda row: STAGES.index(row["step"]))


def _trained(done: list[Path]) -> list[dict[str, Any]]:
    found = []
    for folder in done:
        facts = json.loads((folder / RESULT).read_text(encoding="utf-8"))["facts"].get("train", {})
        found.append({"origin": folder.name, "model": facts.get("model"), "reason": facts.get("reason", "")})
    return found


def _image(svg: bytes, alt: str) -> Markup:
    # As an image, not as markup: two pictures of one page must not share the names of their clip paths.
    data = base64.b64encode(svg).decode()
    return Markup('<img src="data:image/svg+xml;base64,{}" alt="{}">').format(data, alt)


def _percent(value: float | None, digits: int = 1) -> str:
    return _UNDEFINED if value is None else f"{value:.{digits}%}"


def _signed(value: float | None) -> str:
    return _UNDEFINED if value is None else f"{value:+.1%}".replace("-", "\N{MINUS SIGN}")


def _number(value: float | None, digits: int = 3) -> str:
    return _UNDEFINED if value is None else f"{value:,.{digits}f}"
