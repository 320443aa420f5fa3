"""Gate after cleaning: whether a forecast may be built on this delivery."""

import datetime as dt
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import great_expectations.expectations as gxe
import polars as pl

from marketday.checks import CHECKS
from marketday.gates import days, sales
from marketday.gates.validation import Severity, Suite, expect
from marketday.retailers import Checks, Gates, Retailer

PRICE_FACTOR = 3.0
"""A median price change beyond this is a wrong currency or decimal point rather than a promotion."""

OUTSIDE_SHARE = 1 / 3
"""Most of the locations that may have unusual volumes before it is the delivery's fault rather than theirs."""

REPORTING_SHARE = 2 / 3
"""Least of last week's locations that must report."""

_RESEND = "Ask the retailer for a corrected delivery of the day and clear the run from `ingest` on."


class Sales(NamedTuple):
    """The sales of a delivery and those known before, per location and day, as :func:`sales.daily` makes them."""

    rows: int
    """Rows that were delivered."""
    delivered: pl.DataFrame
    known: pl.DataFrame
    """Of the delivered days."""
    both: pl.DataFrame
    """As they will stand once the delivery is loaded, with the weeks before."""
    closed: pl.DataFrame
    """``location_id`` and ``day`` of the delivered days on which a location was closed."""


def refused_rows(accepted: dict[str, int], refused: dict[str, int]) -> pl.DataFrame:
    """Return per delivered table: ``table``, ``accepted``, ``refused`` and ``refused_share`` (null if nothing came)."""
    rows = [(name, accepted[name], refused.get(name, 0)) for name in accepted]
    counts = pl.DataFrame(rows, schema=["table", "accepted", "refused"], orient="row")
    total = pl.col("accepted") + pl.col("refused")
    return counts.with_columns(refused_share=pl.when(total > 0).then(pl.col("refused") / total))


def noticed(notices: pl.DataFrame, checks: Checks) -> pl.DataFrame:
    """Return per ``table`` how many accepted rows broke each row check that only warns here, in columns by code."""
    counted = {(row["table"], row["reason"]): row["rows"] for row in notices.to_dicts()}
    warned = [check for check in CHECKS.values() if check.of == "rows" and checks.of(check.code) == "warn"]
    looked_at = list(dict.fromkeys(table for check in warned for table in check.tables))
    columns = {
        check.code: [counted.get((table, check.code), 0) if table in check.tables else None for table in looked_at]
        for check in warned
    }
    return pl.DataFrame({"table": looked_at, **columns})


def price_changes(delivered: pl.LazyFrame, before: pl.LazyFrame) -> pl.DataFrame:
    """Return per location the median of delivered prices over the last ones before them: ``median_price_change``.

    Both have ``location_id``, ``product_id``, ``day`` and ``price``.
    """
    series = ["location_id", "product_id"]
    last = before.group_by(series).agg(pl.col("price").sort_by("day").last().alias("previous"))
    change = (pl.col("price") / pl.col("previous")).median().alias("median_price_change")
    return delivered.join(last, on=series).group_by("location_id").agg(change).sort("location_id").collect()


def stock_ends_early(rows: int, last_stock: str | None, last_sales: str | None) -> pl.DataFrame:
    """Return whether the stock of ``rows`` rows breaks off in key order before the last location with sales."""
    early = rows in sales.LIMITS and last_stock is not None and last_sales is not None and last_stock < last_sales
    return _ends("stock", last_stock if early else None)


def of_sales(given: Sales, gates: Gates) -> dict[str, pl.DataFrame]:
    """Return the summaries of delivered sales: ``days``, ``locations`` and ``sales``, a row about all of them."""
    delivered_days = given.delivered["day"].unique().sort()
    last: dt.date = delivered_days[-1]
    volumes = sales.volumes(given.both, delivered_days, given.closed)
    end = sales.ends_early(given.rows, volumes, given.both)
    if end:
        # What is missing then is said once; whether the rest is plausible is another question.
        volumes = volumes.filter((pl.col("day") < last) | (pl.col("location_id") < end))
    return {
        "days": sales.by_day(volumes, gates).join(days.repeated(given.both, delivered_days), on="day", how="left"),
        "locations": sales.last_day_by_location(volumes),
        "sales": _ends("sales", end).with_columns(
            new=pl.lit(days.new_location_days(given.delivered, given.known)),
            better_moved=pl.lit(days.better_moved(given.both, last), pl.Float64),
        ),
    }


def _ends(table: str, end: str | None) -> pl.DataFrame:
    return pl.DataFrame({"table": [f"{table}, up to {end}" if end else table], "ends_early": [1 if end else 0]})


class Stated(NamedTuple):
    """What is expected of one column of a summary: at least ``least`` and at most ``most``, as a check's verdict."""

    summary: str
    code: str
    subject: str
    column: str
    expected: str
    least: float | None = None
    most: float | None = None
    single: bool = False
    """Whether it is about single locations of a day that is judged as a whole too: that only warns."""


def suite(retailer: Retailer, summaries: Mapping[str, pl.DataFrame]) -> Suite:
    """Return what is expected of each of the ``summaries``; checks that the retailer left out are not."""
    made: dict[str, list[Any]] = {}
    for stated in (*stated_of_deliveries(retailer.gates), *_stated_of_notices(summaries["notices"])):
        severity = retailer.checks.of(stated.code)
        if stated.summary in summaries and severity:
            stops = severity == "fail" and not stated.single
            made.setdefault(stated.summary, []).append(_expectation(stated, "fail" if stops else "warn"))
    return made


def _expectation(stated: Stated, severity: Severity) -> Any:
    advice = CHECKS[stated.code].advice
    return expect(
        gxe.ExpectColumnValuesToBeBetween,
        stated.subject,
        column=stated.column,
        min_value=stated.least,
        max_value=stated.most,
        code=stated.code,
        severity=severity,
        expected=stated.expected,
        advice=f"{advice} {_RESEND}" if severity == "fail" else advice,
    )


def _stated_of_notices(notices: pl.DataFrame) -> Iterator[Stated]:
    for code in notices.columns[1:]:
        expected = f"No accepted row breaks this rule: {CHECKS[code].says}"
        yield Stated("notices", code, f"accepted rows, {code}", code, expected, most=0)


def stated_of_deliveries(gates: Gates) -> tuple[Stated, ...]:
    """Return what is expected of every delivery."""
    low, high = gates.volume_low, gates.volume_high
    volume = f"between {low:g} and {high:g} times the mean of the last {sales.WEEKS} same weekdays"
    share, factor = f"{gates.refused_share:.0%}", f"{days.MOVED_FACTOR:g}"
    return (
        Stated("tables", "refused_share", "delivered rows", "refused_share",
               f"At most {share} of a table's rows are refused by the checks.", most=gates.refused_share),
        Stated("delivery", "no_sales", "sales", "rows", "The delivery brings sales.", least=1),
        Stated("sales", "nothing_new", "sales, new", "new",
               "The delivery says something new of the sales of a day.", least=1),
        Stated("sales", "truncated", "sales, end", "ends_early",
               "The sales do not break off before the last location.", most=0),
        Stated("stock", "truncated", "stock, end", "ends_early",
               "The stock does not break off before the last location.", most=0),
        Stated("days", "volume", "sales.units in total", "total_against_usual",
               f"The units sold in all locations are {volume}.", low, high),
        Stated("days", "volume", "sales.units, locations outside", "locations_outside",
               f"In at most a third of the locations the units sold are not {volume}.", most=OUTSIDE_SHARE),
        Stated("locations", "volume", "sales.units per location", "against_usual",
               f"The units sold in each location are {volume}.", low, high, single=True),
        Stated("days", "missing_locations", "sales.location_id reporting", "locations_reporting",
               "At least two thirds of the locations that reported a week before report sales.", least=REPORTING_SHARE),
        Stated("locations", "missing_locations", "sales.location_id missing", "missing",
               "Every location that reported a week before reports sales.", most=0, single=True),
        Stated("days", "day_repeated", "sales, repeated days", "locations_repeated",
               "At most half of the locations sold exactly the same as on an earlier day.", most=days.REPEATED_SHARE),
        Stated("sales", "days_shifted", "sales.day of the week", "better_moved",
               f"The last week fits the usual weekdays at most {factor} times better moved by a day.",
               most=days.MOVED_FACTOR),
        Stated("days", "no_history", "sales.units history", "weeks",
               "There are earlier same weekdays to compare the volumes with.", least=1),
        Stated("prices", "price_level", "prices.price median change", "median_price_change",
               f"The median price change of each location is within a factor of {PRICE_FACTOR:g}.",
               1 / PRICE_FACTOR, PRICE_FACTOR),
    )  # fmt: skip
