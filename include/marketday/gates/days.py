"""Whether delivered days are what their dates say: an old day sent again, or days moved by one.

Daily figures show that much and no more. The hour that a day of 23 or 25 hours lacks or has twice, at night, sells
nothing; an evening that was booked on the next day is a few per cent of it, less than one Tuesday differs from another.
What does show is a date ahead of the business day, sales on a day on which a location was closed (rules about rows),
locations that have no sales on the last day (:mod:`marketday.gates.sales`), and whole days under a wrong date, which
are looked for here.
"""

import datetime as dt

import polars as pl

REPEATED_DAYS = 28
"""Days before a delivered one that it is compared with."""

LEAST_SOLD = 10
"""Products that a location must have sold for its day to be told from others; a few may well sell the same twice."""

PROFILE_WEEKS = 8
"""Weeks whose weekdays make the usual profile …"""
LEAST_WEEKS = 4
"""… of which so many must be there for every weekday."""

MOVED_FACTOR = 2.25
"""Least factor by which a week fits better when it is moved by a day before that is told. Real weeks stay below, also
those with a public holiday: the largest in 1,433 days of three retailers is 2.16."""

REPEATED_SHARE = 0.5
"""Least share of the locations that sold exactly the same on an earlier day before a day counts as sent again."""


def repeated(daily: pl.DataFrame, days: pl.Series) -> pl.DataFrame:
    """Return per day of ``days`` the share of locations that sold exactly the same on an earlier one.

    ``daily`` is as :func:`marketday.gates.sales.daily` makes it. Columns: ``day`` and ``locations_repeated``, null
    where no location sold enough products to tell.
    """
    told = daily.filter(pl.col("sold") >= LEAST_SOLD).select("location_id", "day", "digest", "sold")
    now = told.filter(pl.col("day").is_in(days.implode()))
    earlier = told.rename({"day": "earlier"})
    gap = pl.col("day") - pl.col("earlier")
    same = now.join(earlier, on=["location_id", "digest", "sold"]).filter(
        gap.is_between(pl.duration(days=1), pl.duration(days=REPEATED_DAYS))
    )
    marked = now.join(
        same.select("location_id", "day").unique().with_columns(same=1), on=["location_id", "day"], how="left"
    )
    return (
        days.alias("day")
        .to_frame()
        .join(marked.group_by("day").agg(locations_repeated=pl.col("same").fill_null(0).mean()), on="day", how="left")
        .sort("day")
        .with_columns(pl.col("day").cast(pl.String))
    )


def new_location_days(delivered: pl.DataFrame, known: pl.DataFrame) -> int:
    """Return how many days of locations say something that was not known; both as ``daily`` makes them."""
    same = ["location_id", "day", "products", "sold", "digest"]
    return delivered.join(known, on=same, how="anti").height


def better_moved(daily: pl.DataFrame, last: dt.date) -> float | None:
    """Return how many times better the week up to ``last`` fits the usual weekdays when it is moved by a day.

    The profile of a location is the mean of log(1 + units) by weekday over the weeks before. The misfit of a week is
    the sum, over locations and days, of the squared difference from it, each location's mean difference taken out, so
    that a good or a bad week does not matter. The factor is the misfit as it is over that of the better of a day
    earlier and a day later; None if no location has a whole profile, or nothing differs from it.
    """
    first, day = last - dt.timedelta(days=6), dt.timedelta(days=1)
    levels = _levels(daily, first - dt.timedelta(weeks=PROFILE_WEEKS), last)
    profile = (
        levels.filter(pl.col("day") < first)
        .group_by("location_id", "weekday")
        .agg(usual=pl.col("level").mean(), weeks=pl.len())
        .filter(pl.col("weeks") >= LEAST_WEEKS)
        .filter(pl.len().over("location_id") == 7)
    )
    around = pl.date_range(first - day, last + day, eager=True).alias("day").to_frame()
    usual = around.with_columns(weekday=pl.col("day").dt.weekday()).join(profile, on="weekday")
    week = levels.filter(pl.col("day") >= first).select("location_id", "day", "level")
    as_is, earlier, later = (_misfit(week, usual.with_columns(pl.col("day") + day * n)) for n in (0, -1, 1))
    better = min(earlier, later)
    return as_is / better if better > 0 else None


def _levels(daily: pl.DataFrame, first: dt.date, last: dt.date) -> pl.DataFrame:
    """Return the log of (1 + units) of every location on every day since it began; without sales, that is 0."""
    recent = daily.filter(pl.col("day").is_between(first, last))
    span = pl.date_range(first, last, eager=True).alias("day").to_frame()
    return (
        recent.group_by("location_id")
        .agg(began=pl.col("day").min())
        .join(span, how="cross")
        .filter(pl.col("day") >= pl.col("began"))
        .join(recent, on=["location_id", "day"], how="left")
        .select("location_id", "day", weekday=pl.col("day").dt.weekday(), level=pl.col("units").fill_null(0).log1p())
    )


def _misfit(week: pl.DataFrame, usual: pl.DataFrame) -> float:
    gap = pl.col("level") - pl.col("usual")
    around_mean = gap - gap.mean().over("location_id")
    return float(week.join(usual, on=["location_id", "day"]).select((around_mean**2).sum()).item())
