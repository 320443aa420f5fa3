"""Judge delivered sales and prices one row after the other, as somebody with a pencil would: slow, and obvious.

Nothing of the library is used but the severities of a retailer's definition.
"""

import datetime as dt
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from marketday.retailers import Checks

Row = Mapping[str, str | None]

ORIGIN = dt.date(2025, 3, 9)
FIRST_DAY = dt.date(2025, 3, 2)
PRODUCTS: dict[str, tuple[str, dt.date | None, dt.date | None]] = {
    "milk": ("pieces", None, None),
    "apple": ("weight", None, None),
    "new": ("weight", ORIGIN, None),
    "old": ("pieces", None, dt.date(2025, 3, 8)),
}
"""How each is sold, from when and until when."""
LOCATIONS = ("north", "south", "tent")
CLOSED = {("tent", dt.date(2025, 3, 8)), ("*", dt.date(2025, 3, 7))}
USUAL_UNITS = {("north", "milk"): (3.0, 0.3), ("south", "apple"): (1.5, 1.2)}
"""Usual units, and the standard deviation of their logarithms."""
USUAL_PRICE = {"milk": 1.2, "apple": 2.5}


@dataclass(frozen=True)
class Judged:
    """What became of the rows, by their numbers."""

    accepted: dict[int, tuple[Any, ...]]
    refused: dict[int, str]
    collapsed: int
    noticed: dict[str, int]


def judge(rows: list[Row], value: str, checks: Checks) -> Judged:
    """Judge the rows of a table with the key location, product and day, and one number named ``value``."""
    refused: dict[int, str] = {}
    sound: dict[int, tuple[Any, ...]] = {}
    for number, row in enumerate(rows):
        broken = list(_broken(row, value))
        refusing = [code for code in broken if checks.of(code) == "refuse"]
        if refusing:
            refused[number] = refusing[0]
        else:
            sound[number] = _typed(row, value)
    said = defaultdict(set)
    for cells in sound.values():
        said[cells[:3]].add(cells[3])
    refused |= {number: "duplicate_key" for number, cells in sound.items() if len(said[cells[:3]]) > 1}
    accepted: dict[int, tuple[Any, ...]] = {}
    for number, cells in sound.items():
        if number not in refused and cells not in accepted.values():
            accepted[number] = cells
    noticed: dict[str, int] = defaultdict(int)
    for number in accepted:
        for code in set(_broken(rows[number], value)):
            if checks.of(code) == "warn":
                noticed[code] += 1
    return Judged(accepted, refused, len(rows) - len(accepted) - len(refused), dict(noticed))


def _typed(row: Row, value: str) -> tuple[Any, ...]:
    return row["location_id"], row["product_id"], _day(row["day"]), _number(row[value])[0]


def _broken(row: Row, value: str) -> Iterator[str]:
    """Give the codes of what the row breaks, in the order in which it is judged."""
    location, product = row["location_id"], row["product_id"]
    day, (number, by_comma) = _day(row["day"]), _number(row[value])
    if (row["day"] is not None and day is None) or (row[value] is not None and number is None):
        yield "unreadable"
        return
    if location is None or product is None or day is None or number is None:
        yield "missing"
        return
    if "Ã¼" in location or "\ufffd" in product:
        yield "wrong_encoding"
    if value == "units":
        yield from _of_sales(location, product, day, number)
    else:
        yield from _of_prices(location, product, number)
    if by_comma:
        yield "decimal_comma"


def _of_sales(location: str, product: str, day: dt.date, units: float) -> Iterator[str]:
    if units < 0:
        yield "negative_sales"
    if not 0 <= units <= 1_000_000:
        yield "out_of_range"
    yield from _of_references(location, product)
    if day == ORIGIN + dt.timedelta(days=1):
        yield "time_zone"
    if day < FIRST_DAY or day > ORIGIN:
        yield "wrong_day"
    unit = PRODUCTS[product][0] if product in PRODUCTS else None
    if unit == "pieces" and units != int(units):
        yield "fractional_pieces"
    if units > 0 and (location, product) in USUAL_UNITS:
        usual, spread = USUAL_UNITS[location, product]
        times = units / usual
        far = math.log(times) > 4 * spread
        for factor in (100, 1000):
            near = abs(math.log(times / factor)) <= max(math.log(5), 2 * spread)
            if far and near and (unit != "pieces" or units % factor == 0):
                yield "units_scale"
                break
    if units > 0:
        yield from _of_what_was_sold(location, product, day)


def _of_what_was_sold(location: str, product: str, day: dt.date) -> Iterator[str]:
    _, launched, delisted = PRODUCTS.get(product, (None, None, None))
    if {(location, day), ("*", day)} & CLOSED:
        yield "closed_store"
    if launched is not None and day < launched:
        yield "before_launch"
    if delisted is not None and day >= delisted:
        yield "after_delisting"


def _of_prices(location: str, product: str, price: float) -> Iterator[str]:
    if price == 0:
        yield "zero_price"
    if not 0.001 <= price <= 1_000_000:
        yield "out_of_range"
    yield from _of_references(location, product)
    if price > 0 and product in USUAL_PRICE:
        times = price / USUAL_PRICE[product]
        if 100 / 3 <= times <= 300 or 1 / 300 <= times <= 3 / 100:
            yield "price_scale"


def _of_references(location: str, product: str) -> Iterator[str]:
    if location not in LOCATIONS:
        yield "unknown_location"
    if product not in PRODUCTS:
        yield "unknown_product"


def _day(text: str | None) -> dt.date | None:
    try:
        return dt.date.fromisoformat(text) if text else None
    except ValueError:
        return None


def _number(text: str | None) -> tuple[float | None, bool]:
    """Read a number; whether it was written with separators."""
    if text is None:
        return None, False
    if "," not in text:
        try:
            number = float(text)
        except ValueError:
            return None, False
        return (number if math.isfinite(number) else None), False
    before, _, after = text.rpartition(",")
    if "." in after:  # 1,234.5
        return float(text.replace(",", "")), True
    if "." not in before and len(after) == 3 and len(before) <= 3 and before != "0":
        return None, False  # 1,500
    return float(before.replace(".", "") + "." + after), True
