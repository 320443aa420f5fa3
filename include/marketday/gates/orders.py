"""Gate after the order proposals: whether they may be sent to suppliers."""

import great_expectations.expectations as gxe
import polars as pl

from marketday.gates.validation import Suite, expect
from marketday.retailers import Gates

LARGE_SHARE = 0.05
"""Most of the lines that may be larger than they should be before none of them is sent."""

STALE_SHARE = 0.1
"""Most of the lines that may rest on stock of an older day, or on none, before somebody should know."""

_PACK_TOLERANCE = 1e-6
"""Packs: what rounding of packs x pack size may leave."""

_ORDERS = "Correct the delivered stock or offers of these products and clear the run from `ingest` on."


def lines(orders: pl.DataFrame, offers: pl.DataFrame, forecasts: pl.DataFrame) -> pl.DataFrame:
    """Return the order lines with what is wrong with each: ``negative``, ``broken_pack``, ``large_days``, ``stale``.

    ``offers`` are those in force: ``supplier_id``, ``product_id``, ``pack_size``, ``minimum_packs``. ``forecasts`` has
    ``location_id``, ``product_id``, ``day``, ``horizon`` and ``mean``. ``large_days`` is the days of expected demand
    that the line covers; null where it is a single pack or the supplier's minimum, which cannot be smaller. A line is
    stale if its stock is older than the day before the first forecast, or there is none.
    """
    series = ["location_id", "product_id"]
    daily = forecasts.filter(pl.col("horizon") >= 1).group_by(series).agg(pl.col("mean").mean().alias("daily"))
    packs = pl.col("quantity") / pl.col("pack_size")
    first = pl.lit(forecasts["day"].min(), pl.Date)
    least = pl.max_horizontal(pl.lit(1), pl.col("minimum_packs").fill_null(1))
    return (
        orders.join(offers, on=["supplier_id", "product_id"], how="left")
        .join(daily, on=series, how="left")
        .with_columns(
            negative=pl.col("quantity") < 0,
            broken_pack=((packs - packs.round()).abs() > _PACK_TOLERANCE).fill_null(value=True),
            large_days=pl.when(pl.col("packs") > least).then(pl.col("quantity") / pl.col("daily").fill_null(0)),
            stale=(pl.col("stock_day") < first.dt.offset_by("-1d")).fill_null(value=True),
        )
    )


def by_location(lines: pl.DataFrame, due: pl.DataFrame, gates: Gates) -> pl.DataFrame:
    """Return per location counts: ``negative_lines``, ``broken_packs``, ``large_lines`` and ``missing_lines``.

    ``due`` are the series (``location_id``, ``product_id``) that have an offer and a forecast.
    """
    missing = due.join(lines, on=["location_id", "product_id"], how="anti")
    counts = lines.group_by("location_id").agg(
        pl.col("negative").sum().alias("negative_lines"),
        pl.col("broken_pack").sum().alias("broken_packs"),
        (pl.col("large_days") > gates.order_cover_days).sum().alias("large_lines"),
    )
    absent = missing.group_by("location_id").agg(pl.len().alias("missing_lines"))
    return counts.join(absent, on="location_id", how="full", coalesce=True).fill_null(0).sort("location_id")


def totals(lines: pl.DataFrame, gates: Gates) -> pl.DataFrame:
    """Return one row about all lines: ``large_share`` and ``stale_share``, null if there are none."""
    large = (pl.col("large_days") > gates.order_cover_days).fill_null(value=False)
    return lines.select(
        pl.lit("orders").alias("table"), large.mean().alias("large_share"), pl.col("stale").mean().alias("stale_share")
    )


def suite(gates: Gates) -> Suite:
    """Return what is expected of the summaries ``orders`` and ``locations``."""
    between = gxe.ExpectColumnValuesToBeBetween
    days = f"{gates.order_cover_days:g} days of expected demand"
    large = f"covers more than {days}, unless it is a single pack or the supplier's minimum"
    return {
        "orders": [
            expect(
                between,
                "orders.quantity, share of large lines",
                column="large_share",
                max_value=LARGE_SHARE,
                severity="fail",
                expected=f"At most {LARGE_SHARE:.0%} of the lines are large: a large line {large}.",
                advice=f"Look for a wrong pack size, lead time or stock, or a forecast that is too high. {_ORDERS}",
            ),
            expect(
                between,
                "orders.stock_day, share of stale or missing stock",
                column="stale_share",
                max_value=STALE_SHARE,
                severity="warn",
                expected=f"At most {STALE_SHARE:.0%} of the lines rest on stock of an older day than the sales, or on "
                "none.",
                advice="Look whether the delivery lacks stock; have it delivered and clear the run from `ingest` on.",
            ),
        ],
        "locations": [
            expect(
                between,
                "orders.quantity, negative",
                column="negative_lines",
                max_value=0,
                severity="fail",
                expected="No quantity is negative.",
                advice="Clear `orders`; if it comes again, the step is at fault.",
            ),
            expect(
                between,
                "orders.quantity, whole packs",
                column="broken_packs",
                max_value=0,
                severity="fail",
                expected="Every quantity is a whole number of packs of the offer in force.",
                advice=f"See whether the offer's pack size changed since. {_ORDERS}",
            ),
            expect(
                between,
                "orders.quantity, large lines",
                column="large_lines",
                max_value=0,
                severity="warn",
                expected=f"No line {large}.",
                advice="Look at the largest lines of these locations before they are sent.",
            ),
            expect(
                between,
                "orders, missing lines",
                column="missing_lines",
                max_value=0,
                severity="fail",
                expected="Every product with an offer and a forecast has a line.",
                advice=f"Look at the log of `orders` for what it left out. {_ORDERS}",
            ),
        ],
    }
