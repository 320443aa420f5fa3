"""The rules that one row can break by itself, as polars expressions, and the columns that they compare it with.

Codes and sentences are the catalogue's (:mod:`marketday.checks`); here is when a row breaks a rule, and what is said of
it.
"""

import math
from collections.abc import Iterable
from typing import NamedTuple

import polars as pl
import pyarrow as pa

from marketday.cleaning.known import Known
from marketday.tables import PRICES, SALES, STOCK, Column, Pattern, Table

OBSERVED = (SALES.name, STOCK.name)
"""Facts that can only have been observed: they have no future, and a late limit."""

BY_PRODUCT = "pieces or weight"
"""Unit of a column whose values are whole for one product and not for another."""

NAME = "name"
"""Column of names for people, which nothing is looked up by, in a table whose key it is no part of."""

UNITS_FACTORS = (100, 1000)
"""Units of another size: hundredths, as after a lost decimal point, and thousandths, as grams."""

NEAR = math.log(5)
"""Most distance of units from the usual, on the log scale, once the factor is taken away …"""
SPREADS_NEAR = 2.0
"""… or in standard deviations, for products whose sales jump. As they are, they lie at least 20 times above then, …"""
SPREADS_FAR = 4.0
"""… and this many standard deviations. Of 868,000 rows of three retailers none is, and 98 % of them times 100 are."""

PRICE_FACTOR = 100
PRICE_NEAR = math.log(3)
"""Most distance of a price from the usual, on the log scale, once the factor is taken away."""

_CONTINUES = "\u0080-\u00bf" + bytes(range(0x80, 0xA0)).decode("cp1252", errors="ignore")
"""What the bytes after the first of a character look like."""
_WRONGLY_DECODED = f"[ÂÃÄÅÎÏÐÑ][{_CONTINUES}]|[à-ï][{_CONTINUES}][{_CONTINUES}]|\ufffd"
"""UTF-8 read as Latin-1 or Windows-1252, where it says Latin, Greek, Cyrillic or longer, or replaced characters."""


class Rule(NamedTuple):
    """One rule: its code, when a row breaks it, and what to tell people."""

    code: str
    broken: pl.Expr
    message: pl.Expr


def rules(table: Table, known: Known) -> list[Rule]:
    """Return the rules of a table in the catalogue's order, for rows that :func:`compared` prepared."""
    columns = table.columns
    every = [
        Rule("unreadable", pl.col("unreadable").is_not_null(), pl.format("could not be read: {}", "unreadable")),
        *(_missing(column) for column in columns if not column.nullable),
        *(_wrongly_decoded("wrong_encoding", name) for name in _matched_texts(table)),
        *(_of_sign(table)),
        *(rule for column in columns for rule in _out_of_range(column)),
        *(_not_allowed(column) for column in columns if column.allowed),
        *(_malformed(column.name, column.pattern) for column in columns if column.pattern),
        *(_unknown(column, known.keys[column.references]) for column in columns if column.references),
        *(_observed(known) if table.name in OBSERVED else []),
        *(_fractional_pieces(column) for column in columns if column.unit == BY_PRODUCT),
        *([_units_scale()] if table.name == SALES.name and known.usual_units.height else []),
        *(_sold() if table.name == SALES.name else []),
        *([_price_scale()] if table.name == PRICES.name and known.usual_prices.height else []),
        *([_decimal_comma()] if any(pa.types.is_floating(column.type) for column in columns) else []),
        *([_wrongly_decoded("garbled_name", NAME)] if _has_name_for_people(table) else []),
    ]
    return [rule for rule in every if known.checks.of(rule.code)]


def compared(raw: pl.DataFrame, table: Table, known: Known) -> pl.DataFrame:
    """Return ``raw``, in its order, with what its rows are compared with beside them; null where nothing is known."""
    if table.name == SALES.name:
        everywhere = known.closed.filter(location_id="*").select("day").unique().with_columns(closed_everywhere=True)
        at_location = known.closed.filter(pl.col("location_id") != "*").with_columns(closed_here=True)
        raw = _beside(raw, known.products, "product_id")
        raw = _beside(raw, known.usual_units, "location_id", "product_id")
        raw = _beside(raw, everywhere, "day")
        return _beside(raw, at_location, "location_id", "day")
    if table.name == PRICES.name:
        return _beside(raw, known.usual_prices, "product_id")
    return raw


def _beside(raw: pl.DataFrame, facts: pl.DataFrame, *key: str) -> pl.DataFrame:
    if facts.is_empty():
        return raw.with_columns(
            pl.lit(None, kind).alias(name) for name, kind in facts.schema.items() if name not in key
        )
    # Neighbours mostly have the same key: what is known of it is looked up once for all of them.
    run = raw.select(pl.struct(key).rle_id().alias("run")).to_series()
    heads = raw.select(key).filter(run != run.shift(fill_value=1))
    return raw.hstack(heads.join(facts, on=key, how="left", maintain_order="left").drop(key)[run])


def _decimal_comma() -> Rule:
    return Rule("decimal_comma", pl.col("reread").is_not_null(), pl.format("read with a decimal point: {}", "reread"))


def _missing(column: Column) -> Rule:
    return Rule("missing", pl.col(column.name).is_null(), pl.lit(f"{column.name} is missing"))


def _has_name_for_people(table: Table) -> bool:
    return NAME in table.delivered_schema.names and NAME not in table.key


def _matched_texts(table: Table) -> Iterable[str]:
    """Return the columns of identifiers and groups: a text that is written otherwise is another one."""
    names = [c.name for c in table.columns if pa.types.is_string(c.type) and not c.allowed and not c.pattern]
    return (name for name in names if name != NAME or not _has_name_for_people(table))


def _wrongly_decoded(code: str, name: str) -> Rule:
    message = pl.format(f"{name} is '{{}}', which was written in one encoding and read in another", name)
    return Rule(code, pl.col(name).str.contains(_WRONGLY_DECODED), message)


def _of_sign(table: Table) -> Iterable[Rule]:
    if table.name == SALES.name:
        yield Rule(
            "negative_sales", pl.col("units") < 0, pl.format("units is {}: what was sold is not negative", "units")
        )
    if table.name == PRICES.name:
        yield Rule("zero_price", pl.col("price") == 0, pl.lit("price is 0"))


def _out_of_range(column: Column) -> Iterable[Rule]:
    value, says = pl.col(column.name), f"{column.name} is {{}}"
    if pa.types.is_floating(column.type):
        yield Rule("out_of_range", ~value.is_finite(), pl.format(f"{says}; it must be a finite number", value))
    if column.minimum is not None:
        message = pl.format(f"{says}; the least allowed is {column.minimum:g}", value)
        yield Rule("out_of_range", value < column.minimum, message)
    if column.maximum is not None:
        message = pl.format(f"{says}; the most allowed is {column.maximum:g}", value)
        yield Rule("out_of_range", value > column.maximum, message)


def _not_allowed(column: Column) -> Rule:
    message = pl.format(f"{column.name} is '{{}}'; allowed are {', '.join(column.allowed)}", column.name)
    return Rule("not_allowed", ~pl.col(column.name).is_in(column.allowed), message)


def _malformed(name: str, pattern: Pattern) -> Rule:
    message = pl.format(f"{name} is '{{}}'; it must be {pattern.words}", name)
    return Rule("malformed", ~pl.col(name).str.contains(f"^(?:{pattern.regex})$"), message)


def _unknown(column: Column, keys: pl.Series) -> Rule:
    broken = ~pl.col(column.name).is_in(keys)
    if column.wildcard:
        broken &= pl.col(column.name) != column.wildcard
    message = pl.format(f"{column.name} '{{}}' is not among the {column.references}, delivered or known", column.name)
    return Rule(f"unknown_{column.references.removesuffix('s')}", broken, message)


def _observed(known: Known) -> list[Rule]:
    """Rules about the day of what was observed."""
    day, business_day = pl.col("day"), pl.lit(known.last_day).dt.offset_by("1d")
    ahead = Rule("time_zone", day == business_day, pl.format("day is {}, which had not begun", day))
    if known.first_day is None:
        message = pl.format(f"day is {{}}; the last allowed is {known.last_day}", day)
        return [ahead, Rule("wrong_day", day > known.last_day, message)]
    message = pl.format(f"day is {{}}; allowed are {known.first_day} to {known.last_day}", day)
    return [ahead, Rule("wrong_day", ~day.is_between(known.first_day, known.last_day), message)]


def _fractional_pieces(column: Column) -> Rule:
    value = pl.col(column.name)
    message = pl.format(f"{column.name} is {{}}, but product {{}} is sold in pieces", value, "product_id")
    return Rule("fractional_pieces", (value % 1 != 0) & (pl.col("unit") == "pieces"), message)


def _sold() -> list[Rule]:
    """Rules about units that were sold, against what is known of the product, the location and the day."""
    units, sold = pl.col("units"), pl.col("units") > 0
    closed = pl.col("closed_here").fill_null(pl.col("closed_everywhere"))
    ended = pl.col("delisted")
    return [
        Rule("closed_store", sold & closed, pl.format("units is {} on a day on which the location was closed", units)),
        Rule(
            "before_launch",
            sold & (pl.col("day") < pl.col("launched")),
            pl.format("units is {}, but product {} is on sale from {} on", units, "product_id", "launched"),
        ),
        Rule(
            "after_delisting",
            sold & (pl.col("day") >= ended),
            pl.format("units is {}, but product {} is no longer on sale from {} on", units, "product_id", ended),
        ),
    ]


def _units_scale() -> Rule:
    """Units far from the usual that are near it once a factor is taken away; pieces must be whole then."""
    units = pl.col("units")
    gap, spread = pl.when(units > 0).then(units).log() - pl.col("log_units"), pl.col("spread")
    far = gap > SPREADS_FAR * spread
    near = pl.max_horizontal(pl.lit(NEAR), SPREADS_NEAR * spread)
    explained = [
        ((gap - math.log(factor)).abs() <= near) & ((pl.col("unit") != "pieces") | (units % factor == 0))
        for factor in UNITS_FACTORS
    ]
    message = pl.format(
        "units is {}, where product {} usually sells about {}; off by a factor of 100 or 1000?",
        units,
        "product_id",
        pl.col("log_units").exp().round(3),
    )
    return Rule("units_scale", far & pl.any_horizontal(explained), message)


def _price_scale() -> Rule:
    price = pl.col("price")
    gap = pl.when(price > 0).then(price).log() - pl.col("log_price")
    message = pl.format(
        "price is {}, where product {} usually costs about {}; cents or a lost decimal point?",
        price,
        "product_id",
        pl.col("log_price").exp().round(2),
    )
    return Rule("price_scale", (gap.abs() - math.log(PRICE_FACTOR)).abs() <= PRICE_NEAR, message)
