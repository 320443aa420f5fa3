"""Explanations for people: what made a published mean, step by step, and what moved it since the forecast before.

A published mean is base x the factors of :mod:`marketday.models.explain` x the correction of the bias. What a factor
is worth in units is shared out by logarithmic means (Ang, "The LMDI approach to decomposition analysis", Energy Policy
33, 2005): L(mean, base) x ln(factor). So the units of all factors add up to mean - base, whatever their order, and
those of a change to the change.
"""

import datetime as dt
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from marketday import publishing
from marketday.errors import StepError
from marketday.models.explain import logarithmic_mean
from marketday.retailers import Retailer
from marketday.tables import (
    CALIBRATION,
    EFFECTS,
    EXPLANATIONS,
    FEATURES,
    FORECASTS,
    PUBLICATIONS,
    RECENT_DAYS,
    RUN_DAY,
    SALES,
    STOCK,
)
from marketday.warehouse import Warehouse, as_known

LABELS = {
    "base": "level",
    "recent_demand": "recent sales",
    "weekday": "weekday",
    "season": "season, events",
    "price": "price",
    "promotion": "promotion",
    "weather": "weather",
    "place_product": "product, place",
    "other": "the rest",
    "bias": "correction of bias",
}
FACTORS = (*EFFECTS, "bias")
"""What a base is multiplied by; the last is that of the step `calibrate`."""
NO_MATTER = 0.005
"""Share of the mean, or of the base if that is more, below which a step is not shown by itself."""
_TINY = 1e-10
"""Stands in for a mean or factor of 0, which has no logarithm (Ang, Zhang and Choi, Energy 23, 1998)."""
_TOLERANCE = 1e-4
"""How far a correction of bias may be from the table's: factors are stored as float32."""
_PLANNED = ("price", "promotion", "event", "event_tomorrow", "payday", "temperature", "precipitation")


class Step(NamedTuple):
    """One bar of a waterfall."""

    label: str
    factor: float | None
    """None for the first and last bar, which stand on the ground."""
    start: float
    end: float


class Series(NamedTuple):
    """Which series is explained."""

    location: str
    product: str

    @property
    def rows(self) -> pl.Expr:
        """Filter of its rows."""
        return (pl.col("location_id") == self.location) & (pl.col("product_id") == self.product)


class Since(NamedTuple):
    """What became known between two forecasts of a series."""

    sold: pl.DataFrame
    """day, units, ran_out, expected: days that the earlier one forecast and that have passed since."""
    corrected: pl.DataFrame
    """day, units, ran_out, units_now, ran_out_now: earlier days whose facts are others now."""
    planned: pl.DataFrame
    """day, what, before, after: inputs of the days to come that are others now, as text."""


def explain(warehouse: Warehouse, retailer: str, forecasts: pl.DataFrame, of_day: dt.date) -> pl.DataFrame:
    """Add ``base`` and FACTORS to published ``forecasts`` of ``of_day``, by day.

    Raises:
        StepError: the forecasts were not explained, or by another run than the one that was published.

    """
    key = list(EXPLANATIONS.key)
    today = warehouse.scan(retailer, EXPLANATIONS).filter(pl.col(RUN_DAY) == of_day)
    # Blocks that `features` no longer makes keep their explanations, as they keep their predictions.
    blocks = warehouse.scan(retailer, FEATURES).filter(pl.col(RUN_DAY) == of_day).select(*key, "block")
    made = today.join(blocks, on=[*key, "block"], how="semi")
    factors = made.select(*key, pl.col("base", *EFFECTS).cast(pl.Float64))
    product = pl.reduce(lambda a, b: a * b, [pl.col(name) for name in ("base", *EFFECTS)])
    rows = (
        forecasts.lazy()
        .join(factors, on=key, validate="1:1")
        .with_columns(bias=pl.when(product > 0).then(pl.col("mean") / product).otherwise(1.0))
        .collect()
        .sort(key)
    )
    known = warehouse.scan(retailer, CALIBRATION).filter(pl.col(RUN_DAY) == of_day).collect()["factor"].to_numpy()
    off = np.abs(rows["bias"].to_numpy()[:, None] / known - 1.0).min(axis=1, initial=np.inf)
    if rows.height < forecasts.height or off.max(initial=0.0) > _TOLERANCE:
        raise StepError(
            f"The forecasts of {of_day} that are in force were not made by the run that explained that day last",
            hint=f"Run the day again: marketday run {retailer} --day {of_day}.",
        )
    return rows


def waterfall(row: dict[str, Any]) -> list[Step]:
    """Return the steps from the base to the mean of one explained row; what hardly matters goes to the rest."""
    factors = np.array([row[name] for name in FACTORS], dtype=float)
    logs = np.log(np.maximum(factors, _TINY))
    base = max(row["base"], _TINY)
    mean = base * float(np.exp(logs.sum()))
    units = logarithmic_mean(np.array([mean]), np.array([base])) * logs
    least = NO_MATTER * max(mean, base)
    shown = [n for n in range(len(FACTORS)) if FACTORS[n] != "other" and abs(units[n]) >= least]
    rest = [n for n in range(len(FACTORS)) if n not in shown]
    parts = [(LABELS[FACTORS[n]], factors[n], units[n]) for n in shown]
    if abs(units[rest].sum()) >= least:
        parts.append((LABELS["other"], float(np.exp(logs[rest].sum())), units[rest].sum()))
    at = row["base"]
    steps = [Step(LABELS["base"], None, 0.0, at)]
    for label, factor, step in parts:
        steps.append(Step(label, float(factor), at, at + float(step)))
        at += float(step)
    return [*steps, Step("forecast", None, 0.0, row["mean"])]


def changes(now: pl.DataFrame, then: pl.DataFrame) -> pl.DataFrame:
    """Return day, before, after and, in units, what base and each of FACTORS did to it; of the days of both.

    ``now`` and ``then`` are explained rows of one series. The units of a day add up to after - before.
    """
    columns = ("mean", "base", *FACTORS)
    both = now.select("day", *columns).join(then.select("day", *columns), on="day", suffix="_then").sort("day")
    logs = np.stack(
        [
            np.log(np.maximum(both[name].to_numpy(), _TINY))
            - np.log(np.maximum(both[f"{name}_then"].to_numpy(), _TINY))
            for name in columns[1:]
        ],
        axis=1,
    )
    after, before = (np.maximum(both[name].to_numpy(), _TINY) for name in ("mean", "mean_then"))
    units = logarithmic_mean(after, before)[:, None] * logs
    return both.select("day", before="mean_then", after="mean").with_columns(
        pl.Series(name, values) for name, values in zip(columns[1:], units.T, strict=True)
    )


def since(warehouse: Warehouse, tenant: Retailer, series: Series, now: pl.DataFrame, then: pl.DataFrame) -> Since:
    """Return what became known of a series after ``then`` was made and before ``now`` was: published forecasts."""
    run, run_then = (rows[RUN_DAY].max() for rows in (now, then))
    first, start = now["day"].min(), then["day"].min()
    assert isinstance(start, dt.date)  # noqa: S101  polars' min is wider than a date's
    sold = _sold(warehouse, tenant, series, run).filter(pl.col("day") >= start - dt.timedelta(days=RECENT_DAYS))
    fresh = sold.filter(pl.col("day").is_between(start, first, closed="left"))
    past = _sold(warehouse, tenant, series, run_then).join(sold, on="day", suffix="_now")
    other = pl.col("units").ne_missing(pl.col("units_now")) | (pl.col("ran_out") != pl.col("ran_out_now"))
    features = warehouse.scan(tenant.name, FEATURES).filter(series.rows, pl.col(RUN_DAY).is_in([run, run_then]))
    told = features.select(RUN_DAY, "day", *(pl.col(name).cast(pl.String) for name in _PLANNED)).collect()
    plan = told.unpivot(on=_PLANNED, index=[RUN_DAY, "day"], variable_name="what", value_name="after")
    before = plan.filter(pl.col(RUN_DAY) == run_then).select("day", "what", before="after")
    after = plan.filter(pl.col(RUN_DAY) == run).select("day", "what", "after")
    return Since(
        fresh.join(then.select("day", expected="mean"), on="day").sort("day"),
        past.filter(pl.col("day") < start, other).sort("day"),
        before.join(after, on=["day", "what"]).filter(pl.col("before").ne_missing(pl.col("after"))).sort("what", "day"),
    )


def before(
    warehouse: Warehouse, retailer: str, of_day: dt.date, series: Series
) -> tuple[dict[str, Any], pl.DataFrame] | None:
    """Return the publication and forecasts of a series that were in force before those of ``of_day``; None: none."""
    publications = warehouse.scan(retailer, PUBLICATIONS).collect()
    found = publishing.in_force(publications, of_day - dt.timedelta(days=1)).filter(table=FORECASTS.name)
    if found.is_empty():
        return None
    publication = found.row(0, named=True)
    made_on, version = publication["of_day"], publication["version"]
    rows = publishing.rows_of(warehouse, retailer, FORECASTS, of_day=made_on, version=version).filter(series.rows)
    return None if rows.is_empty() else (publication, rows)


def _sold(warehouse: Warehouse, tenant: Retailer, series: Series, day: Any) -> pl.DataFrame:
    """Return day, units and ran_out of a series as known on the morning of ``day``."""
    place = pl.col("location_id") == series.location
    sales = as_known(warehouse.scan(tenant.name, SALES).filter(place), SALES, day)
    stock = as_known(warehouse.scan(tenant.name, STOCK).filter(series.rows), STOCK, day)
    sold = sales.filter(series.rows).select("day", "units")
    if tenant.absent_sales == "zero":
        reporting = sales.select("day").unique()
        sold = reporting.join(sold, on="day", how="left").with_columns(pl.col("units").fill_null(0.0))
    ran_out = stock.select("day", ran_out=pl.col("stockout_share") > 0)
    return sold.join(ran_out, on="day", how="left").with_columns(pl.col("ran_out").fill_null(False)).collect()
