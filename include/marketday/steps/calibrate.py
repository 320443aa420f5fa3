"""Step `calibrate`: predictions → forecasts, with the recent bias taken out."""

import datetime as dt

import polars as pl

from marketday import calibration
from marketday.errors import StepError
from marketday.steps.contract import Context, Outputs, step
from marketday.tables import CALIBRATION, FEATURES, FORECASTS, PREDICTIONS, RUN_DAY, SALES, STOCK
from marketday.warehouse import as_known


@step("calibrate", reads=(FEATURES, PREDICTIONS, SALES, STOCK), writes=(CALIBRATION, FORECASTS), size="M")
def calibrate(context: Context) -> Outputs:
    """Correct today's predictions by what past mornings' predictions got wrong, per segment."""
    day, rules = context.call.day, context.retailer.calibration
    # Blocks that `features` no longer makes, after a corrected delivery or another block size, keep their predictions.
    current = context.today(PREDICTIONS).join(context.today(FEATURES), on=[*PREDICTIONS.key, "block"], how="semi")
    today = calibration.segments(current).sort(PREDICTIONS.key).collect()  # joins keep no order
    if today.is_empty():
        raise StepError(
            f"There are no predictions of {day} for {context.retailer.name}",
            hint="Run the step predict for every block of today's features.",
        )
    data_until = _data_until(context)
    compared = _compare(context, data_until) if data_until else _NOTHING_COMPARED
    by_segment = calibration.factors(today, compared, rules)
    forecasts = calibration.apply(today, by_segment).drop("block", RUN_DAY)
    facts = {
        "data_until": data_until.isoformat() if data_until else None,
        "segments": by_segment.height,
        "observations": int(by_segment["observations"].sum()),
        "least_factor": by_segment["factor"].min(),
        "largest_factor": by_segment["factor"].max(),
    }
    return Outputs(tables={CALIBRATION.name: by_segment, FORECASTS.name: forecasts}, facts=facts)


_NOTHING_COMPARED = pl.DataFrame(
    schema={"segment": pl.String, "observations": pl.Int32, "actual": pl.Float64, "predicted": pl.Float64}
)


def _data_until(context: Context) -> dt.date | None:
    known = context.scan(SALES).filter(pl.col(RUN_DAY) <= context.call.day, pl.col("day") <= context.call.origin)
    last: dt.date | None = known.select(pl.col("day").max()).collect().item()
    return last


def _compare(context: Context, data_until: dt.date) -> pl.DataFrame:
    first, last = calibration.window(data_until, context.retailer.calibration)
    compared_days = pl.col("day").is_between(first, last)
    # The first morning that looked at the window's first day from the longest horizon compared; bounds the files read.
    first_morning = first - dt.timedelta(days=calibration.COMPARED_HORIZONS - 1)
    mornings = (pl.col(RUN_DAY) >= first_morning) & (pl.col(RUN_DAY) < context.call.day)
    # A location lies in one block of a morning's features; what other blocks hold of it was left over.
    place = [RUN_DAY, "location_id", "block"]
    blocks = context.scan(FEATURES).filter(mornings).select(place).unique()
    predictions = context.scan(PREDICTIONS).filter(mornings).join(blocks, on=place, how="semi")
    past = calibration.segments(predictions).filter(compared_days)
    # Filtered before they are resolved to what was known: a year of history is not needed for four weeks.
    sales = as_known(context.scan(SALES).filter(compared_days), SALES, context.call.day)
    stock = as_known(context.scan(STOCK).filter(compared_days), STOCK, context.call.day)
    sold = calibration.known_demand(sales, stock, past, absent_is_zero=context.retailer.absent_sales == "zero")
    return calibration.compare(past, sold)
