"""How the sales of a delivery look beside those of the weeks before: volumes, missing locations, a cut table.

All days of one delivery are judged as they will stand once it is loaded, so that a correction of a few rows of an
older day is compared with the whole day.
"""

import datetime as dt

import polars as pl

from marketday.retailers import Gates

WEEKS = 8
"""Weeks whose same weekdays say what is usual: two months, short enough to follow the season."""

LIMITS = (1_000, 5_000, 10_000, 50_000, 65_535, 65_536, 100_000, 500_000, 1_000_000, 1_048_575, 1_048_576)
"""Rows that databases, APIs and spreadsheets (with a line of headings, or without) write at most."""

CUT_SHARE = 0.9
"""Most of last week's products in the last location of a table that ends within it."""


def window(last: dt.date, late_days: int) -> tuple[dt.date, dt.date]:
    """Return the first judged day and the first day of its history; ``last`` is the last delivered day."""
    first = last - dt.timedelta(days=late_days)
    return first, first - dt.timedelta(weeks=WEEKS)


def daily(sales: pl.LazyFrame) -> pl.LazyFrame:
    """Return what each location sold on each day, one row per location and day with rows.

    Columns: ``location_id``, ``day``, ``units``, ``products`` (rows), ``last_product``, ``sold`` (rows with units) and
    ``digest`` (equal, in one process, for days that sold the same).
    """
    sold = pl.col("units") > 0
    return sales.group_by("location_id", "day").agg(
        pl.col("units").sum(),
        pl.len().alias("products"),
        pl.col("product_id").max().alias("last_product"),
        sold.sum().alias("sold"),
        pl.when(sold).then(pl.struct("product_id", "units").hash()).sum().alias("digest"),
    )


def volumes(daily: pl.DataFrame, days: pl.Series, closed: pl.DataFrame) -> pl.DataFrame:
    """Return per location and day of ``days`` what was sold against what is usual on that weekday.

    ``daily`` is as :func:`daily` makes it, from ``WEEKS`` weeks before the first of ``days`` on. Rows of ``closed``
    (``location_id``, ``day``) are not judged.

    Columns: ``location_id``, ``day``, ``units`` (0 if none reported), ``reports``, ``reported_week_ago``, ``weeks`` (of
    history), ``usual`` (null without history) and ``against_usual`` (null without history or report).
    """
    units = daily.select("location_id", "day", "units")
    past = pl.concat(
        units.with_columns(pl.col("day") + pl.duration(weeks=back), back=pl.lit(back)) for back in range(1, WEEKS + 1)
    ).filter(pl.col("day").is_in(days.implode()))
    usual = past.group_by("location_id", "day").agg(
        pl.col("units").mean().alias("usual"),
        pl.len().alias("weeks"),
        (pl.col("back") == 1).any().alias("reported_week_ago"),
    )
    now = units.filter(pl.col("day").is_in(days.implode())).with_columns(reports=pl.lit(value=True))
    both = now.join(usual, on=["location_id", "day"], how="full", coalesce=True)
    judged = pl.col("reports") & (pl.col("usual") > 0)
    return (
        both.join(closed, on=["location_id", "day"], how="anti")
        .with_columns(
            pl.col("units", "weeks").fill_null(0), pl.col("reports", "reported_week_ago").fill_null(value=False)
        )
        .with_columns(against_usual=pl.when(judged).then(pl.col("units") / pl.col("usual")))
        .sort("day", "location_id")
    )


def by_day(volumes: pl.DataFrame, gates: Gates) -> pl.DataFrame:
    """Return per day: ``total_against_usual``, ``locations_outside``, ``locations_reporting`` (shares), ``weeks``."""
    judged = pl.col("against_usual").is_not_null()
    outside = ~pl.col("against_usual").is_between(gates.volume_low, gates.volume_high)
    week_ago = pl.col("reported_week_ago").sum()
    return (
        volumes.group_by("day")
        .agg(
            (pl.col("units").filter(judged).sum() / pl.col("usual").filter(judged).sum()).alias("total_against_usual"),
            outside.filter(judged).mean().alias("locations_outside"),
            pl.when(week_ago > 0).then(pl.col("reports").sum() / week_ago).alias("locations_reporting"),
            pl.col("weeks").max(),
        )
        .with_columns(pl.col("day").cast(pl.String), pl.col("total_against_usual").fill_nan(None))
        .sort("day")
    )


def last_day_by_location(volumes: pl.DataFrame) -> pl.DataFrame:
    """Return the last day's volumes, a row per location; ``missing`` is 1 where it reported a week ago and not now."""
    missing = (pl.col("reported_week_ago") & ~pl.col("reports")).cast(pl.Int64)
    return volumes.filter(pl.col("day") == pl.col("day").max()).select(
        "location_id", "units", "usual", "against_usual", missing.alias("missing")
    )


def ends_early(rows: int, volumes: pl.DataFrame, daily: pl.DataFrame) -> str | None:
    """Return the location with which the sales of the last day break off in key order; None if they do not.

    They do where the locations that are missed are the last ones, and either ``rows``, those that were delivered, are
    as many as some tool writes at most, or the last location that reports has lost its last products.
    """
    last = volumes.filter(pl.col("day") == pl.col("day").max())
    reporting = last.filter("reports")["location_id"].sort()
    missing = last.filter(pl.col("reported_week_ago") & ~pl.col("reports"))["location_id"]
    if last.is_empty() or reporting.is_empty():
        return None
    end: str = reporting[-1]
    if (missing < end).any():
        return None
    cut = _lost_its_last_products(daily.filter(location_id=end), last["day"][0])
    evidence = (rows in LIMITS) + cut + (not missing.is_empty())
    return end if evidence >= 2 else None


def _lost_its_last_products(at_location: pl.DataFrame, day: dt.date) -> bool:
    now = at_location.filter(day=day)
    week_ago = at_location.filter(day=day - dt.timedelta(weeks=1))
    if now.is_empty() or week_ago.is_empty():
        return False
    fewer = now["products"].item() < CUT_SHARE * week_ago["products"].item()
    return bool(fewer and now["last_product"].item() < week_ago["last_product"].item())
