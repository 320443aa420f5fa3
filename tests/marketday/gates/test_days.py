"""Days that are not what their dates say, and weeks that only look so."""

import datetime as dt
import math

import polars as pl
import pytest

from marketday.gates.days import MOVED_FACTOR, better_moved, new_location_days, repeated
from marketday.gates.sales import daily

LAST = dt.date(2025, 3, 9)
ONE = dt.timedelta(days=1)
RHYTHM = (4, 5, 6, 8, 14, 20, 0)
"""Units by weekday, from Monday on; closed on Sundays."""


def weeks(**changed: float) -> pl.DataFrame:
    """Return ten weeks of two locations that sell as on any weekday, but for days given as ``d2025_03_08=…``."""
    days = [LAST - n * ONE for n in range(70)]
    units = {day: changed.get(f"d{day:%Y_%m_%d}", RHYTHM[day.weekday()]) for day in days}
    rows = [
        (place, f"P{n:02d}", day, size * units[day] * (1 + n / 10) * (1 + 0.02 * math.sin(day.toordinal() * (n + 1))))
        for place, size in (("north", 1.0), ("south", 2.5))
        for day in days
        for n in range(12)
        if units[day]
    ]
    return pl.DataFrame(rows, schema=["location_id", "product_id", "day", "units"], orient="row")


def by_day(sales: pl.DataFrame) -> pl.DataFrame:
    return daily(sales.lazy()).collect()


def test_a_usual_week_fits_as_it_is() -> None:
    assert better_moved(by_day(weeks()), LAST) < 0.1


@pytest.mark.parametrize("by", [-1, 1])
def test_a_week_under_wrong_dates_fits_better_when_it_is_moved(by: int) -> None:
    sales, week = weeks(), pl.col("day") > LAST - 7 * ONE
    moved = sales.filter(week).with_columns(pl.col("day") + by * ONE)
    both = pl.concat([sales.filter(~week), moved]).unique(["location_id", "product_id", "day"], keep="last")
    assert better_moved(by_day(both), LAST + by * ONE) > MOVED_FACTOR


@pytest.mark.parametrize("changed", [{"d2025_03_03": 0}, {"d2025_03_08": 40}, {"d2025_03_05": 1, "d2025_03_06": 16}])
def test_a_holiday_or_a_rush_is_no_wrong_date(changed: dict[str, float]) -> None:
    assert better_moved(by_day(weeks(**changed)), LAST) < MOVED_FACTOR


def test_without_a_month_of_history_no_week_can_be_told() -> None:
    assert better_moved(by_day(weeks().filter(pl.col("day") > LAST - 30 * ONE)), LAST) is None


def test_a_day_with_the_sales_of_an_earlier_one_is_told_by_its_locations() -> None:
    sales = weeks()
    copied = sales.filter(location_id="north", day=LAST - 8 * ONE).with_columns(day=pl.lit(LAST - ONE))
    others = sales.filter((pl.col("location_id") != "north") | (pl.col("day") != LAST - ONE))
    days = pl.Series("day", [LAST - 2 * ONE, LAST - ONE, LAST])
    share = dict(repeated(by_day(pl.concat([others, copied])), days).iter_rows())
    assert share == {"2025-03-07": 0.0, "2025-03-08": 0.5, "2025-03-09": None}


def test_few_products_may_sell_the_same_twice() -> None:
    same = weeks().filter(pl.col("product_id") < "P09").with_columns(units=pl.lit(1.0))
    assert repeated(by_day(same), pl.Series("day", [LAST - ONE]))["locations_repeated"].to_list() == [None]


def test_what_is_known_and_equal_is_not_new() -> None:
    known = by_day(weeks())
    assert new_location_days(known.filter(pl.col("day") > LAST - 7 * ONE), known) == 0
    assert new_location_days(by_day(weeks(d2025_03_08=21)), known) == 2
