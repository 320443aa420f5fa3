"""Scores of forecasts that were replayed, per origin and over all, overall and by segment.

WRMSSE and WSPL are the M5 competition's at the level of product x location (Makridakis, Spiliotis and Assimakopoulos,
2022): per series the root mean squared error, and the mean pinball loss over the nine quantiles, each over the
series' own day-to-day change before the origin; then the mean over series, weighted by revenue. WAPE and bias are
relative to the units sold. Where stock ran out, sales are a lower bound of demand: the rows `without stock-out` are
what a forecast of demand is judged by, `all` are given beside them.
"""

import json
from pathlib import Path
from typing import Any

import polars as pl

from marketday import scoring
from marketday.backtest.replay import RESULT
from marketday.backtest.rows import KEY, PAIR, UNLISTED
from marketday.distributions import QUANTILE_LEVELS
from marketday.scoring import INTERVALS, calibration_table

SYSTEMS = {"forecasts": "model", "baseline": "seasonal baseline"}
"""Name of each system by its file."""
UNCENSORED, ALL_ROWS = "without stock-out", "all"
SEGMENTS = ("velocity", "horizon", "category", "promotion", "weekday", "location_id")
PIT_BINS = 20
MEASURES = ("wape", "bias", "wrmsse", "wspl", *INTERVALS)
_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_DIGITS = 10
"""Decimals that are kept: sums of floats over many threads differ beyond."""


def read(folder: Path) -> pl.DataFrame:
    """Return one origin's rows with known sales, of every system, with ``pit`` and the columns of ``SEGMENTS``."""
    series = pl.read_parquet(folder / "series.parquet")
    parts = []
    for file, system in SYSTEMS.items():
        rows = pl.read_parquet(folder / f"{file}.parquet").filter(pl.col("units").is_not_null())
        # Days on which the product was not yet on sale and nothing was sold are in the file, but are no forecast.
        parts.append(with_pit(rows).with_columns(system=pl.lit(system)))
    return (
        pl.concat(parts)
        .join(series, on=PAIR, how="left", maintain_order="left")
        .with_columns(
            pl.col("weight").fill_null(0.0),
            pl.col("velocity").fill_null("new"),
            pl.col("category").fill_null("unknown"),
            pl.when("promotion").then(pl.lit("promotion")).otherwise(pl.lit("no promotion")).alias("promotion"),
            pl.col("day").dt.weekday().replace_strict(dict(enumerate(_WEEKDAYS, 1))).alias("weekday"),
        )
    )


def with_pit(rows: pl.DataFrame) -> pl.DataFrame:
    """Add ``pit``, the randomised transform of ``units``; null where nothing was forecast. Rows come in key order."""
    ordered = rows.sort(KEY).with_columns(actual="units")
    forecast = pl.col("family").is_not_null()
    others = ordered.filter(~forecast).with_columns(pit=pl.lit(None, dtype=pl.Float64))
    return pl.concat([scoring.with_pit(ordered.filter(forecast)), others]).drop("actual").sort(KEY)


def tables(folders: list[Path]) -> pl.DataFrame:
    """Score every origin's folder; see :func:`score`. The mean over the origins is in rows whose origin is null."""
    per_origin = pl.concat([score(read(folder)) for folder in folders])
    group = ["rows", "system", "by", "segment"]
    mean = per_origin.group_by(group, maintain_order=True).agg(
        pl.lit(None, dtype=pl.Date).alias("origin"),
        pl.col("observations", "units", "forecast").sum(),
        pl.col(MEASURES).mean(),
        pl.concat_arr([pl.col("pit").arr.get(i).sum() for i in range(PIT_BINS)]).alias("pit"),
    )
    return pl.concat([mean.select(per_origin.columns), per_origin])


def score(rows: pl.DataFrame) -> pl.DataFrame:
    """Return one row per origin, rows (`without stock-out`, `all`), system, by and segment.

    ``by`` is `all` or one of ``SEGMENTS``. Columns: observations, units, forecast (units), the ``MEASURES`` (null where
    undefined) and ``pit``: how many observations fell into each of 20 equal bins.
    """
    level = [
        pl.max_horizontal(u * (pl.col("units") - pl.col(q)), (u - 1.0) * (pl.col("units") - pl.col(q)))
        for q, u in QUANTILE_LEVELS.items()
    ]
    error = pl.col("mean") - pl.col("units")
    scored = rows.select(
        "origin", "system", *PAIR, *(name for name in SEGMENTS if name not in PAIR),
        pl.col("units").alias("actual"), "mean", "pit", "weight", "squared", "absolute",
        error=error, loss=pl.mean_horizontal(level), censored=pl.col("stockout_share").fill_null(0.0) > 0.0,
    )  # fmt: skip
    parts = []
    for name, part in ((UNCENSORED, scored.filter(~pl.col("censored"))), (ALL_ROWS, scored)):
        for by in ("all", *SEGMENTS):
            label = pl.lit("all") if by == "all" else pl.col(by).cast(pl.String)
            parts.append(_group(part.with_columns(rows=pl.lit(name), by=pl.lit(by), segment=label)))
    return pl.concat(parts)


def _group(rows: pl.DataFrame) -> pl.DataFrame:
    group = ["origin", "rows", "system", "by", "segment"]
    bin_of = (pl.col("pit") * PIT_BINS).floor().clip(0, PIT_BINS - 1)
    histogram = pl.concat_arr([(bin_of == i).sum() for i in range(PIT_BINS)]).alias("pit")
    plain = (
        calibration_table(rows, by=group)
        .rename({"actual": "units", "predicted": "forecast"})
        .drop("pit")
        .join(rows.group_by(group).agg(histogram), on=group)
    )
    has_scale = (pl.col("squared") > 0) & (pl.col("absolute") > 0)
    per_series = (
        rows.filter(has_scale)
        .group_by(*group, *PAIR)
        .agg(
            ((pl.col("error") ** 2).mean() / pl.col("squared").first()).sqrt().alias("rmsse"),
            (pl.col("loss").mean() / pl.col("absolute").first()).alias("spl"),
            pl.col("weight").first(),
        )
    )
    weight = pl.col("weight").sum()
    scaled = per_series.group_by(group).agg(
        pl.when(weight > 0).then((pl.col("weight") * pl.col(one)).sum() / weight).alias(f"w{one}")
        for one in ("rmsse", "spl")
    )
    measured = plain.join(scaled, on=group, how="left")
    figures = ["units", "forecast", *MEASURES]
    return (
        measured.select(*group, "observations", "units", "forecast", *MEASURES, "pit")
        .with_columns(pl.col(figures).cast(pl.Float64).round(_DIGITS))
        .sort(group)
    )


def headline(scores: pl.DataFrame) -> dict[str, Any]:
    """Return the overall figures as data: rows → system → origin (or `mean`) → measure → value."""
    tree: dict[str, Any] = {}
    for row in scores.filter(by="all").iter_rows(named=True):
        figures = {name: row[name] for name in ("observations", *MEASURES)}
        origin = row["origin"].isoformat() if row["origin"] else "mean"
        tree.setdefault(row["rows"], {}).setdefault(row["system"], {})[origin] = figures
    return tree


def not_forecast(folder: Path) -> float:
    """Return the units that were sold of what nobody had forecast."""
    rows = pl.read_parquet(folder / "forecasts.parquet", columns=["mode", "units"])
    return float(rows.filter(mode=UNLISTED)["units"].sum())


def costs(folders: list[Path]) -> pl.DataFrame:
    """Return origin, step, seconds, cpu_seconds and peak_mib of every step."""
    parts = []
    for folder in folders:
        result = json.loads((folder / RESULT).read_text(encoding="utf-8"))
        parts.append(pl.DataFrame(result["steps"]).select(pl.lit(result["origin"]).alias("origin"), pl.all()))
    return pl.concat(parts)
