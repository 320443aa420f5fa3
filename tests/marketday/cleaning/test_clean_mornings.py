"""A customer that delivers what is right is not troubled: no check finds anything, for weeks."""

import datetime as dt
from collections.abc import Callable, Iterator

import polars as pl
import pytest
from simulated_mornings import GROCER, ROOT

from marketday import gates, retailers, tables
from marketday.cleaning import known_on
from marketday.cleaning.delivery import checked
from marketday.gates.clean import Sales
from marketday.simulator import FIRST_DAY

ONE = dt.timedelta(days=1)
RETAILER = retailers.load("simulated", ROOT / "include" / "retailers")
MORNINGS = [dt.date(2024, 12, 9) + n * ONE for n in range(0, 63, 4)]
"""Of nine weeks with Christmas, New Year and promotions; all weekdays among them."""


@pytest.fixture(scope="module")
def delivered() -> dict[str, pl.DataFrame]:
    """Everything up to the last morning, as one delivery."""
    return GROCER.deliver(MORNINGS[-1], since=None)


def scan_before(delivered: dict[str, pl.DataFrame], day: dt.date) -> Callable[[tables.Table], pl.LazyFrame]:
    """Return what reads the tables as daily deliveries up to the morning before ``day`` left them."""

    def scan(table: tables.Table) -> pl.LazyFrame:
        rows = delivered[table.name].lazy()
        if "day" not in table.delivered_schema.names:
            return rows.with_columns(run_day=pl.lit(FIRST_DAY))
        return rows.filter(pl.col("day") < day - ONE).with_columns(run_day=pl.col("day") + ONE)

    return scan


def found(delivered: dict[str, pl.DataFrame], day: dt.date) -> Iterator[str]:
    """Give the codes of what the checks find in one morning."""
    morning = GROCER.deliver(day, since=day - ONE)
    scan = scan_before(delivered, day)
    for _, result in checked(lambda table: morning[table.name].lazy(), known_on(scan, RETAILER, day)):
        yield from result.refused["reason"].to_list() + result.noticed["reason"].to_list()
    history = scan(tables.SALES).filter(pl.col("day") >= day - 70 * ONE).drop("run_day")
    new, both = (
        gates.sales.daily(rows).collect()
        for rows in (morning["sales"].lazy(), pl.concat([history, morning["sales"].lazy()]))
    )
    nobody = pl.DataFrame(schema={"location_id": pl.String, "day": pl.Date})
    sales = Sales(morning["sales"].height, new, new.clear(), both, nobody)
    summaries = gates.clean.of_sales(sales, RETAILER.gates)
    for stated in gates.clean.stated_of_deliveries(RETAILER.gates):
        if stated.summary in summaries:
            values = summaries[stated.summary][stated.column].drop_nulls()
            low = stated.least is not None and (values < stated.least).any()
            high = stated.most is not None and (values > stated.most).any()
            yield from [stated.code] if low or high else []


def test_nothing_is_found_in_clean_deliveries(delivered: dict[str, pl.DataFrame]):
    alarms = {day: codes for day in MORNINGS if (codes := set(found(delivered, day)))}
    assert alarms == {}
