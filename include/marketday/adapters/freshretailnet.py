"""Fresh food as in FreshRetailNet-50K: sales by weight, hours without stock, discounts, promotions, weather.

The data set has no currency and no stock levels: a price is relative to the regular one, and of stock only the share of
the opening hours without it is known. It has no weather forecasts either; the weather that came stands in for them, so
that results are somewhat better than they could have been on the morning itself.
"""

import datetime as dt
from pathlib import Path

import polars as pl

from marketday import tables
from marketday.adapters.contract import check_day, check_files, check_no_faults

_OPENING_HOURS = 16  # 6 to 22 h
_DIGITS = 4  # the data are 32-bit floats of fewer decimals
_LEAST_PRICE = tables.PRICES.column("price").minimum  # for what was given away, 0.4 % of the rows
_PAIR = ["location_id", "product_id"]


class FreshRetailNet:
    """Replays ``daily.parquet`` of ``folder``."""

    first_day = dt.date(2024, 3, 28)
    last_day = dt.date(2024, 6, 18)
    default_day = dt.date(2024, 6, 12)  # the last one whose seven days can be compared with what was sold

    def __init__(self, folder: Path, horizon: int) -> None:
        check_files("FreshRetailNet-50K", folder, ("daily.parquet",))
        self.folder = folder
        self.horizon = horizon

    def deliver(self, day: dt.date, *, since: dt.date | None, faults: tuple[str, ...] = ()) -> dict[str, pl.DataFrame]:
        """Return the tables of the morning of ``day``; see :class:`marketday.adapters.Customer`."""
        check_no_faults("FreshRetailNet-50K", faults)
        check_day("FreshRetailNet-50K", day, self.first_day, self.last_day)
        first, last = since or self.first_day, day + dt.timedelta(self.horizon)
        daily = pl.scan_parquet(self.folder / "daily.parquet").rename({"date": "day"})
        planned = _named(daily.filter(pl.col("day").is_between(first, last)))
        past = _named(daily.filter(pl.col("day").is_between(first, day, closed="left")))
        queries = {
            "products": _products(daily),
            "locations": _locations(daily),
            "sales": past.select(*_PAIR, "day", units=_real("sale_amount")),
            "stock": past.select(*_PAIR, "day", stockout_share=pl.col("stockout_hours_6_22") / _OPENING_HOURS),
            "prices": _price_changes(daily, first, last),
            "promotions": planned.filter(pl.col("activity_flag") == 1).select(
                *_PAIR, "day", kind=pl.lit("other"), discount=(1 - _real("discount")).clip(0, 1).round(_DIGITS)
            ),
            "weather": _weather(planned, day),
            "events": planned.filter(pl.col("holiday_flag") == 1)
            .select(location_id=pl.lit("*"), day="day", name=pl.lit("holiday"), kind=pl.lit("national"))
            .unique()
            .sort("day"),
        }
        return dict(zip(queries, pl.collect_all(list(queries.values())), strict=True))


def _identity(letter: str, column: str, digits: int) -> pl.Expr:
    return pl.lit(letter) + pl.col(column).cast(pl.String).str.zfill(digits)


def _real(column: str) -> pl.Expr:
    return pl.col(column).cast(pl.Float64).round(_DIGITS)


def _named(daily: pl.LazyFrame) -> pl.LazyFrame:
    return daily.with_columns(location_id=_identity("S", "store_id", 4), product_id=_identity("P", "product_id", 4))


def _products(daily: pl.LazyFrame) -> pl.LazyFrame:
    codes = daily.select("product_id", "first_category_id", "second_category_id").unique().sort("product_id")
    return codes.select(
        product_id=_identity("P", "product_id", 4),
        category=_identity("C", "first_category_id", 2),
        department=_identity("D", "second_category_id", 2),
        unit=pl.lit("weight"),
    )


def _locations(daily: pl.LazyFrame) -> pl.LazyFrame:
    codes = daily.select("store_id", "city_id").unique().sort("store_id")
    return codes.select(location_id=_identity("S", "store_id", 4), region=_identity("R", "city_id", 2))


def _price_changes(daily: pl.LazyFrame, first: dt.date, last: dt.date) -> pl.LazyFrame:
    """Return the days of the span on which the relative price differs from the day before, or begins."""
    price = pl.col("price")
    return (
        _named(daily.filter(pl.col("day").is_between(first - dt.timedelta(1), last)))
        .select(*_PAIR, "day", price=_real("discount").clip(lower_bound=_LEAST_PRICE))
        .sort(*_PAIR, "day")
        .filter(price.ne_missing(price.shift().over(_PAIR)), pl.col("day") >= first)
    )


def _weather(daily: pl.LazyFrame, issued: dt.date) -> pl.LazyFrame:
    source = pl.when(pl.col("day") < issued).then(pl.lit("observed")).otherwise(pl.lit("forecast"))
    return (
        daily.group_by("location_id", "day")
        .agg(temperature=_real("avg_temperature").first(), precipitation=_real("precpt").first())
        .with_columns(source=source)
        .sort("location_id", "day")
    )
