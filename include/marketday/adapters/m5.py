"""Walmart as in the M5 competition: sales per item and store, weekly prices, events and benefit days.

A product is on sale from the first week that has a price for it; the zeros before are no sales and are not delivered.
Prices are planned by the week, so those of the coming weeks are known; sales never are.
"""

import datetime as dt
from pathlib import Path

import polars as pl

from marketday.adapters.contract import check_day, check_files, check_no_faults

_NAMES = {"store_id": "location_id", "item_id": "product_id", "date": "day"}
_PAIR = ["location_id", "product_id"]


class M5:
    """Replays the data set in ``folder``: calendar.parquet, sales_*.parquet, sell_prices.parquet."""

    first_day = dt.date(2011, 1, 29)
    last_day = dt.date(2016, 5, 22)
    default_day = dt.date(2016, 4, 25)  # the origin of the competition's validation period

    def __init__(self, folder: Path, horizon: int) -> None:
        check_files("M5", folder, ("calendar.parquet", "sales_*.parquet", "sell_prices.parquet"))
        self.folder = folder
        self.horizon = horizon

    def deliver(self, day: dt.date, *, since: dt.date | None, faults: tuple[str, ...] = ()) -> dict[str, pl.DataFrame]:
        """Return the tables of the morning of ``day``; see :class:`marketday.adapters.Customer`."""
        check_no_faults("M5", faults)
        check_day("M5", day, self.first_day, self.last_day)
        first, last = since or self.first_day, day + dt.timedelta(self.horizon)
        calendar = pl.read_parquet(self.folder / "calendar.parquet")
        sold = pl.scan_parquet(self.folder / "sales_*.parquet").rename(_NAMES)
        series = sold.group_by(_PAIR).agg(pl.col("dept_id", "cat_id", "state_id").first()).collect()
        changes = self._price_changes(calendar, series)
        known = changes.filter(pl.col("day") <= last)
        return {
            "products": _products(series, known),
            "locations": _locations(series),
            "sales": sold.filter(
                pl.col("day").is_between(first, day, closed="left"), pl.col("sell_price").is_not_null()
            )
            .select(*_PAIR, "day", pl.col("units").cast(pl.Float64))
            .collect(),
            "prices": known.filter(pl.col("day") >= first),
            "events": _events(calendar.filter(pl.col("date").is_between(first, last)), _locations(series)),
        }

    def _price_changes(self, calendar: pl.DataFrame, series: pl.DataFrame) -> pl.DataFrame:
        """Return the days from which a new price holds: the first day of the first week that has it."""
        weeks = calendar.group_by("wm_yr_wk").agg(day=pl.col("date").min())
        price = pl.col("price")
        return (
            pl.scan_parquet(self.folder / "sell_prices.parquet")
            .rename({"store_id": "location_id", "item_id": "product_id"})
            .join(series.lazy(), on=_PAIR, how="semi")
            .join(weeks.lazy(), on="wm_yr_wk")
            .select(*_PAIR, "day", price=pl.col("sell_price").cast(pl.Float64).round(2))
            .sort(*_PAIR, "day")
            .filter(price.ne_missing(price.shift().over(_PAIR)))
            .collect()
        )


def _products(series: pl.DataFrame, prices: pl.DataFrame) -> pl.DataFrame:
    """Return the products that are on sale by the end of the known prices."""
    launched = prices.group_by("product_id").agg(launched=pl.col("day").min())
    return (
        series.unique("product_id")
        .join(launched, on="product_id")
        .select(
            "product_id",
            category="cat_id",
            department="dept_id",
            unit=pl.lit("pieces"),
            launched=pl.when(pl.col("launched") > M5.first_day).then("launched"),
        )
        .sort("product_id")
    )


def _locations(series: pl.DataFrame) -> pl.DataFrame:
    return series.select("location_id", region="state_id").unique().sort("location_id")


def _events(calendar: pl.DataFrame, locations: pl.DataFrame) -> pl.DataFrame:
    """Return both slots of events for all locations, and the days of food stamps (SNAP) for the stores of a state."""
    slots = [
        calendar.filter(pl.col(f"event_name_{slot}").is_not_null()).select(
            location_id=pl.lit("*"),
            day="date",
            name=f"event_name_{slot}",
            # Walmart closes on Christmas Day only; the calendar calls it a national event like any other.
            kind=pl.when(pl.col(f"event_name_{slot}") == "Christmas")
            .then(pl.lit("closed"))
            .otherwise(pl.col(f"event_type_{slot}").str.to_lowercase()),
        )
        for slot in (1, 2)
    ]
    benefit_days = [
        locations.filter(pl.col("region") == state).join(
            calendar.filter(pl.col(f"snap_{state}") == 1).select(
                day="date", name=pl.lit("SNAP"), kind=pl.lit("payday")
            ),
            how="cross",
        )
        for state in locations["region"].unique(maintain_order=True)
    ]
    return pl.concat([*slots, *(rows.drop("region") for rows in benefit_days)])
