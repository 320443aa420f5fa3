"""For random deliveries with random faults, no row is lost, and what is accepted breaks no rule."""

import itertools
import math
from functools import partial

import polars as pl
import slow_reader
from hypothesis import given, settings
from hypothesis import strategies as st

from marketday import tables
from marketday.checks import CHECKS, SWITCHABLE
from marketday.cleaning import Known
from marketday.cleaning.delivery import checked
from marketday.retailers import Checks

Cells = dict[str, str | None]

PLACES, GOODS = slow_reader.LOCATIONS, tuple(slow_reader.PRODUCTS)
DAYS = ("2025-03-02", "2025-03-07", "2025-03-08", "2025-03-09")
NUMBERS = ("3", "2", "1.5", "0", "300", "250", "3000", "120", "0.012", "1,5", "0,125", "1.234,5", "1,234.5")
"""What may be right, and what is wrong only beside what is known."""

WRONG: dict[str, tuple[str | None, ...]] = {
    "location_id": ("west", "MÃ¼nchen", None),
    "product_id": ("pear", "k\ufffdse", None),
    "day": ("2025-03-01", "2025-03-10", "2025-03-11", "09.03.2025", "yesterday", None),
    "number": ("-1", "-0.5", "1e9", "1,500", "nan", "inf", "n/a", None),
}


def rows(value: str) -> st.SearchStrategy[list[Cells]]:
    """Return rows of which every third or so has a fault of its own, and some repeat others."""
    good = st.tuples(*map(st.sampled_from, (PLACES, GOODS, DAYS, NUMBERS)))
    fault = st.sampled_from([(number, to) for number, column in enumerate(WRONG.values()) for to in column])
    return st.lists(
        st.builds(partial(_row, value), good, st.one_of(st.none(), st.none(), fault)), min_size=20, max_size=80
    )


def _row(value: str, good: tuple[str, ...], fault: tuple[int, str | None] | None) -> Cells:
    cells: list[str | None] = list(good)
    if fault:
        cells[fault[0]] = fault[1]
    return dict(zip(("location_id", "product_id", "day", value), cells, strict=True))


@st.composite
def definitions(draw: st.DrawFn) -> Checks:
    """Return which checks hold, most often as they are by themselves."""
    switchable = st.sampled_from([code for code in SWITCHABLE if CHECKS[code].of == "rows"])
    other = {code: CHECKS[code].other for code in draw(st.sets(switchable, max_size=3))}
    return Checks(left_out=tuple(draw(st.sets(switchable, max_size=2))), severity=other)


def dimensions() -> dict[str, pl.DataFrame]:
    products = [
        {
            "product_id": name,
            "category": "food",
            "department": "food",
            "unit": unit,
            "launched": since,
            "delisted": until,
        }
        for name, (unit, since, until) in slow_reader.PRODUCTS.items()
    ]
    closed = [{"location_id": where, "day": day, "name": "Shut", "kind": "closed"} for where, day in slow_reader.CLOSED]
    return {
        "products": pl.DataFrame(products),
        "locations": pl.DataFrame({"location_id": slow_reader.LOCATIONS, "region": ["hills"] * 3}),
        "events": pl.DataFrame(closed),
    }


def known(checks: Checks) -> Known:
    units = [(*key, math.log(usual), spread) for key, (usual, spread) in slow_reader.USUAL_UNITS.items()]
    prices = [(product, math.log(price)) for product, price in slow_reader.USUAL_PRICE.items()]
    return Known(
        last_day=slow_reader.ORIGIN,
        first_day=slow_reader.FIRST_DAY,
        keys={name: pl.Series([], dtype=pl.String) for name in ("products", "locations", "suppliers")},
        usual_units=pl.DataFrame(units, schema=["location_id", "product_id", "log_units", "spread"], orient="row"),
        usual_prices=pl.DataFrame(prices, schema=["product_id", "log_price"], orient="row"),
        checks=checks,
    )


@settings(max_examples=40, deadline=None)
@given(rows("units"), rows("price"), definitions(), st.sampled_from([5, 1000]))
def test_every_row_is_accepted_refused_or_collapsed_as_a_slow_reader_would(
    sales: list[Cells], prices: list[Cells], checks: Checks, most: int
) -> None:
    delivered = dimensions() | {"sales": as_text(sales, "units"), "prices": as_text(prices, "price")}

    def brought(table: tables.Table) -> pl.LazyFrame:
        nothing = pl.LazyFrame(schema=pl.Schema(table.delivered_schema))
        return delivered[table.name].lazy() if table.name in delivered else nothing

    results = itertools.groupby(checked(brought, known(checks), most=most), key=lambda result: result[0].name)
    judged = {name: [frame for _, frame in frames] for name, frames in results}
    for table, value, given_rows in (("sales", "units", sales), ("prices", "price", prices)):
        expected = slow_reader.judge(given_rows, value, checks)
        accepted = [row for frame in judged[table] for row in frame.accepted.rows()]
        refused = [row for frame in judged[table] for row in frame.refused.select("row", "reason").rows()]
        collapsed = sum(frame.collapsed for frame in judged[table])
        assert len(accepted) + len(refused) + collapsed == len(given_rows)
        assert dict(refused) == expected.refused
        assert len(refused) == len(expected.refused)
        assert sorted(accepted) == sorted(expected.accepted.values())
        noticed = [row for frame in judged[table] for row in frame.noticed.select("reason", "rows").rows()]
        counted = {code: sum(rows for reason, rows in noticed if reason == code) for code, _ in noticed}
        assert counted == expected.noticed


def as_text(rows: list[Cells], value: str) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=dict.fromkeys(("location_id", "product_id", "day", value), pl.String))
