"""Gate after cleaning: whether a forecast may be built on this delivery.

All days of one delivery are judged as they will stand once it is loaded, so that a correction of a few rows of an
older day is compared with the whole day.
"""

import datetime as dt

import great_expectations.expectations as gxe
import polars as pl

from marketday.gates.validation import Suite, expect
from marketday.retailers import Gates

WEEKS = 8
"""Weeks whose same weekdays say what is usual: two months, short enough to follow the season."""

PRICE_FACTOR = 3.0
"""A median price change beyond this is a wrong currency or decimal point rather than a promotion."""

OUTSIDE_SHARE = 1 / 3
"""Most of the locations that may have unusual volumes before it is the delivery's fault rather than theirs."""

REPORTING_SHARE = 0.5
"""Least of last week's locations that must report."""

_RESEND = "Ask the retailer for a corrected delivery of the day and clear the run from `ingest` on."


def refused_rows(accepted: dict[str, int], refused: dict[str, int]) -> pl.DataFrame:
    """Return per delivered table: ``table``, ``accepted``, ``refused`` and ``refused_share`` (null if nothing came)."""
    rows = [(name, accepted[name], refused.get(name, 0)) for name in accepted]
    counts = pl.DataFrame(rows, schema=["table", "accepted", "refused"], orient="row")
    total = pl.col("accepted") + pl.col("refused")
    return counts.with_columns(refused_share=pl.when(total > 0).then(pl.col("refused") / total))


def volumes(daily: pl.DataFrame, days: pl.Series, closed: pl.DataFrame) -> pl.DataFrame:
    """Return per location and day of ``days`` what was sold against what is usual on that weekday.

    ``daily`` has ``location_id``, ``day`` and ``units``, one row per location and day with sales, from ``WEEKS`` weeks
    before the first of ``days`` on. Rows of ``closed`` (``location_id``, ``day``) are not judged.

    Columns: ``location_id``, ``day``, ``units`` (0 if none reported), ``reports``, ``reported_week_ago``, ``weeks`` (of
    history), ``usual`` and ``against_usual`` (both null without history).
    """
    past = pl.concat(
        daily.with_columns(pl.col("day") + pl.duration(weeks=back), back=pl.lit(back)) for back in range(1, WEEKS + 1)
    ).filter(pl.col("day").is_in(days.implode()))
    usual = past.group_by("location_id", "day").agg(
        pl.col("units").mean().alias("usual"),
        pl.len().alias("weeks"),
        (pl.col("back") == 1).any().alias("reported_week_ago"),
    )
    now = daily.filter(pl.col("day").is_in(days.implode())).with_columns(reports=pl.lit(value=True))
    both = now.join(usual, on=["location_id", "day"], how="full", coalesce=True)
    return (
        both.join(closed, on=["location_id", "day"], how="anti")
        .with_columns(
            pl.col("units", "weeks").fill_null(0), pl.col("reports", "reported_week_ago").fill_null(value=False)
        )
        .with_columns(against_usual=pl.when(pl.col("usual") > 0).then(pl.col("units") / pl.col("usual")))
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
    """Return the last day's volumes, one row per location."""
    return volumes.filter(pl.col("day") == pl.col("day").max()).select("location_id", "units", "usual", "against_usual")


def price_changes(delivered: pl.LazyFrame, before: pl.LazyFrame) -> pl.DataFrame:
    """Return per location the median of delivered prices over the last ones before them: ``median_price_change``.

    Both have ``location_id``, ``product_id``, ``day`` and ``price``.
    """
    series = ["location_id", "product_id"]
    last = before.group_by(series).agg(pl.col("price").sort_by("day").last().alias("previous"))
    change = (pl.col("price") / pl.col("previous")).median().alias("median_price_change")
    return delivered.join(last, on=series).group_by("location_id").agg(change).sort("location_id").collect()


def window(last: dt.date, late_days: int) -> tuple[dt.date, dt.date]:
    """Return the first judged day and the first day of its history; ``last`` is the last delivered day."""
    first = last - dt.timedelta(days=late_days)
    return first, first - dt.timedelta(weeks=WEEKS)


def suite(gates: Gates) -> Suite:
    """Return what is expected of the summaries ``tables``, ``delivery``, ``days``, ``locations`` and ``prices``."""
    between = gxe.ExpectColumnValuesToBeBetween
    volume = f"between {gates.volume_low:g} and {gates.volume_high:g} times the mean of the last {WEEKS} same weekdays"
    return {
        "tables": [
            expect(
                between,
                "delivered rows",
                column="refused_share",
                max_value=gates.refused_share,
                severity="fail",
                expected=f"At most {gates.refused_share:.0%} of a table's rows are refused by the checks.",
                advice=f"Read the reasons in the table `quarantine`. {_RESEND}",
            )
        ],
        "delivery": [
            expect(
                between,
                "sales",
                column="rows",
                min_value=1,
                severity="warn",
                expected="The delivery brings sales.",
                advice="The run goes on in degraded mode. Clear it from `ingest` on once the sales are delivered.",
            )
        ],
        "days": [
            expect(
                between,
                "sales.units in total",
                column="total_against_usual",
                min_value=gates.volume_low,
                max_value=gates.volume_high,
                severity="fail",
                expected=f"The units sold in all locations are {volume}.",
                advice=f"Look for a wrong unit, doubled or missing rows, an unannounced closing day. {_RESEND}",
            ),
            expect(
                between,
                "sales.units, locations outside",
                column="locations_outside",
                max_value=OUTSIDE_SHARE,
                severity="fail",
                expected=f"In at most a third of the locations the units sold are not {volume}.",
                advice=f"See which locations the page lists and what they have in common. {_RESEND}",
            ),
            expect(
                between,
                "sales.location_id reporting",
                column="locations_reporting",
                min_value=REPORTING_SHARE,
                severity="fail",
                expected=f"At least {REPORTING_SHARE:.0%} of the locations that reported a week before report sales.",
                advice=f"Find out what did not arrive. If they were closed, deliver an event `closed`. {_RESEND}",
            ),
            expect(
                between,
                "sales.units history",
                column="weeks",
                min_value=1,
                severity="warn",
                expected="There are earlier same weekdays to compare the volumes with.",
                advice="Look at the volumes yourself: they could not be judged. A new retailer has no history yet.",
            ),
        ],
        "locations": [
            expect(
                between,
                "sales.units per location",
                column="against_usual",
                min_value=gates.volume_low,
                max_value=gates.volume_high,
                severity="warn",
                expected=f"The units sold in each location are {volume}.",
                advice="Ask these locations what happened: deliver an event if it was real, corrected sales if not.",
            )
        ],
        "prices": [
            expect(
                between,
                "prices.price median change",
                column="median_price_change",
                min_value=1 / PRICE_FACTOR,
                max_value=PRICE_FACTOR,
                severity="warn",
                expected=f"The median price change of each location is within a factor of {PRICE_FACTOR:g}.",
                advice="Look for a changed currency or decimal point in the prices of these locations.",
            )
        ],
    }
