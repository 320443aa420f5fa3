"""Gate after calibration: whether this forecast is complete, sound and plausible."""

import math

import great_expectations.expectations as gxe
import polars as pl

from marketday.gates.validation import Suite, expect
from marketday.retailers import Retailer

FALLBACK_SHARE = 0.5
"""Most of the rows that the baseline may have made before somebody should look at the model."""

RECENT_DAYS = 28
"""Known days whose sales the forecast's level is compared with: four whole weeks."""

_MODEL = (
    "Look at the log of `predict` and `calibrate`, correct what they were given, and clear the run from `features` on."
)


SOUND = {"mean": math.inf, "dispersion": math.inf, "zero_share": 0.999, "common_dispersion": math.inf}
"""What a distribution is made of, and the most that each may be; all are finite and 0 or more."""


def by_location(features: pl.DataFrame, forecasts: pl.DataFrame) -> pl.DataFrame:
    """Return per location: ``missing_rows``, ``surplus_rows``, ``unsound_mean`` and so on for ``SOUND``, counts.

    ``features`` has ``location_id``, ``product_id`` and ``horizon``: one row per day on which the product is on sale,
    so that a launch or a delisting shortens what is due. Its rows of horizon 1 and more must have a forecast; the days
    before, of a degraded morning, may.
    """
    key = ["location_id", "product_id", "horizon"]
    missing = features.filter(pl.col("horizon") >= 1).join(forecasts, on=key, how="anti")
    surplus = forecasts.join(features, on=key, how="anti")
    counts = pl.concat([features.select("location_id"), forecasts.select("location_id")]).unique()
    for found in (
        missing.group_by("location_id").agg(pl.len().alias("missing_rows")),
        surplus.group_by("location_id").agg(pl.len().alias("surplus_rows")),
        forecasts.group_by("location_id").agg(_unsound(column).sum() for column in SOUND),
    ):
        counts = counts.join(found, on="location_id", how="left")
    return counts.fill_null(0).sort("location_id")


def _unsound(column: str) -> pl.Expr:
    value = pl.col(column)
    return (~value.is_finite() | (value < 0) | (value > SOUND[column])).alias(f"unsound_{column}")


def totals(forecasts: pl.DataFrame, sold: pl.DataFrame, horizon: int) -> pl.DataFrame:
    """Return one row about the whole forecast: ``rows``, ``level``, ``fallback_share`` and ``degraded_share``.

    ``level`` is the forecast's mean per day of horizons 1 to ``horizon`` over the mean of ``sold`` (``day``, ``units``
    per day); null if nothing is known to have been sold. Means that are not finite are :func:`by_location`'s to report.
    """
    expected = forecasts.filter(pl.col("horizon") >= 1, pl.col("mean").is_finite())["mean"].sum() / horizon
    usual = sold.select(pl.col("units").mean()).item()
    shares = {mode: (forecasts["mode"] == mode).mean() for mode in ("fallback", "degraded")}
    return pl.DataFrame(
        {
            "table": ["forecasts"],
            "rows": [forecasts.height],
            "level": pl.Series([expected / usual if usual else None], dtype=pl.Float64),
            **{f"{mode}_share": pl.Series([share], dtype=pl.Float64) for mode, share in shares.items()},
        }
    )


def suite(retailer: Retailer) -> Suite:
    """Return what is expected of the summaries ``forecasts``, ``locations`` and ``segments``."""
    between, gates, bounds = gxe.ExpectColumnValuesToBeBetween, retailer.gates, retailer.calibration
    return {
        "forecasts": [
            expect(
                between,
                "forecasts",
                column="rows",
                min_value=1,
                severity="fail",
                expected="There is a forecast.",
                advice=f"See whether `features` found any series to forecast. {_MODEL}",
            ),
            expect(
                between,
                "forecasts.mean level",
                column="level",
                min_value=gates.forecast_low,
                max_value=gates.forecast_high,
                severity="fail",
                expected=f"The forecast's units per day are between {gates.forecast_low:g} and {gates.forecast_high:g} "
                f"times those sold on the last {RECENT_DAYS} known days.",
                advice=f"Compare prices, promotions and events of the coming days with the past. {_MODEL}",
            ),
            expect(
                between,
                "forecasts.mode fallback",
                column="fallback_share",
                max_value=FALLBACK_SHARE,
                severity="warn",
                expected=f"At most {FALLBACK_SHARE:.0%} of the rows come from the seasonal baseline.",
                advice="See in the log of `predict` why the model could not be used.",
            ),
            expect(
                between,
                "forecasts.mode degraded",
                column="degraded_share",
                max_value=0,
                severity="warn",
                expected="The forecast knows the sales of the day before.",
                advice="Clear the run from `ingest` on once the missing sales are delivered.",
            ),
        ],
        "locations": [
            expect(
                between,
                "forecasts, missing rows",
                column="missing_rows",
                max_value=0,
                severity="fail",
                expected="Every location, product and day of `features`, the days on sale, has a forecast.",
                advice="Clear the failed blocks of `predict`, then `calibrate` and what follows.",
            ),
            expect(
                between,
                "forecasts, surplus rows",
                column="surplus_rows",
                max_value=0,
                severity="fail",
                expected="No location, product and day has a forecast that `features` does not ask for.",
                advice="Clear `predict`, `calibrate` and what follows: the forecast is of other features.",
            ),
            *(
                expect(
                    between,
                    f"forecasts.{column}, unsound values",
                    column=f"unsound_{column}",
                    max_value=0,
                    severity="fail",
                    expected=f"Every {column} is a finite number, 0 or more"
                    + (f", {most:g} at most." if math.isfinite(most) else "."),
                    advice=_MODEL,
                )
                for column, most in SOUND.items()
            ),
        ],
        "segments": [
            expect(
                between,
                "calibration.factor",
                column="factor",
                min_value=bounds.lower,
                max_value=bounds.upper,
                severity="fail",
                expected=f"Every bias factor is between {bounds.lower:g} and {bounds.upper:g}.",
                advice="Clear `calibrate` and what follows; if it comes again, the step does not keep its own bounds.",
            )
        ],
    }
