"""Cleaning: split a delivered table into accepted rows and refused rows, by the rules of the catalogue.

A row is judged by these rules in this order, and the first one that it breaks is its reason:

==================== ===========================================================================================
unreadable           a value could not be read as its column's type
missing              a column that must be given is null
out_of_range         below the column's minimum, above its maximum, or not a finite number
not_allowed          not among the column's allowed values
malformed            not written in the column's pattern
unknown_<dimension>  refers to a product, location or supplier that is neither delivered today nor known
wrong_day            an observed fact (sales, stock) of a day that this delivery may not bring
fractional_pieces    units that are not whole, of a product that is sold in pieces
duplicate_key        other rows have the same key and say something else; all of them are refused
==================== ===========================================================================================

Rows of one key that agree in every column are collapsed to the first. So rows in = accepted + refused + collapsed.
"""

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import polars as pl
import pyarrow as pa

from marketday.tables import SALES, STOCK, Column, Pattern, Table

OBSERVED = (SALES.name, STOCK.name)
"""Facts that can only have been observed: they have no future, and a late limit."""

BY_PRODUCT = "pieces or weight"
"""Unit of a column whose values are whole for one product and not for another."""


class Rule(NamedTuple):
    """One rule: its code, when a row breaks it, and what to tell people."""

    code: str
    broken: pl.Expr
    message: pl.Expr


@dataclass(frozen=True, kw_only=True)
class Known:
    """What delivered rows are compared with."""

    last_day: dt.date
    """Last day that an observed fact may be of: the origin."""
    first_day: dt.date | None = None
    """First such day; None: any, as in a retailer's first delivery."""
    keys: Mapping[str, pl.Series] = field(default_factory=dict)
    """By dimension: every key that may be referred to."""
    pieces: pl.Series = field(default_factory=lambda: pl.Series(dtype=pl.String))
    """Products that are sold in pieces."""


class Checked(NamedTuple):
    """What became of a delivered table."""

    accepted: pl.DataFrame
    """Rows in the table's own columns."""
    refused: pl.DataFrame
    """Rows as the table `quarantine` has them, without ``run_day``."""
    collapsed: int
    """Rows that only repeated an accepted one."""


def check(raw: pl.DataFrame, table: Table, known: Known) -> Checked:
    """Split ``raw`` (the columns of the table's raw twin) by the rules of ``table``."""
    table_rules = rules(table, known)
    first_broken = pl.coalesce(
        [pl.when(rule.broken).then(pl.lit(number, pl.UInt8)) for number, rule in enumerate(table_rules)]
    )
    judged = raw.with_columns(rule=first_broken)
    sound, broken = judged.filter(pl.col("rule").is_null()), judged.filter(pl.col("rule").is_not_null())
    refused = [
        _quarantine(broken.filter(pl.col("rule") == number), table, rule) for number, rule in enumerate(table_rules)
    ]
    single, clashing, collapsed = _split_duplicates(sound, table)
    refused.append(_quarantine(clashing, table, _duplicate_key(table)))
    return Checked(single.select(table.delivered_schema.names), pl.concat(refused), collapsed)


def rules(table: Table, known: Known) -> list[Rule]:
    """Return the rules that one row can break by itself, in the order of the module's table."""
    columns = table.columns
    return [
        Rule("unreadable", pl.col("unreadable").is_not_null(), pl.format("could not be read: {}", "unreadable")),
        *(_missing(column) for column in columns if not column.nullable),
        *(rule for column in columns for rule in _out_of_range(column)),
        *(_not_allowed(column) for column in columns if column.allowed),
        *(_malformed(column.name, column.pattern) for column in columns if column.pattern),
        *(_unknown(column, known.keys[column.references]) for column in columns if column.references),
        *([_wrong_day(known)] if table.name in OBSERVED else []),
        *(_fractional_pieces(column, known.pieces) for column in columns if column.unit == BY_PRODUCT),
    ]


def _missing(column: Column) -> Rule:
    return Rule("missing", pl.col(column.name).is_null(), pl.lit(f"{column.name} is missing"))


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


def _wrong_day(known: Known) -> Rule:
    day = pl.col("day")
    if known.first_day is None:
        message = pl.format(f"day is {{}}; the last allowed is {known.last_day}", day)
        return Rule("wrong_day", day > known.last_day, message)
    message = pl.format(f"day is {{}}; allowed are {known.first_day} to {known.last_day}", day)
    return Rule("wrong_day", ~day.is_between(known.first_day, known.last_day), message)


def _fractional_pieces(column: Column, pieces: pl.Series) -> Rule:
    value = pl.col(column.name)
    message = pl.format(f"{column.name} is {{}}, but product {{}} is sold in pieces", value, "product_id")
    return Rule("fractional_pieces", (value % 1 != 0) & pl.col("product_id").is_in(pieces), message)


def _duplicate_key(table: Table) -> Rule:
    key = ", ".join(f"{name} {{}}" for name in table.key)
    return Rule("duplicate_key", pl.lit(True), pl.format(f"other rows say something else of {key}", *table.key))


def _split_duplicates(rows: pl.DataFrame, table: Table) -> tuple[pl.DataFrame, pl.DataFrame, int]:
    """Return the rows to keep, those of a key that disagree, and how many only repeated a kept one."""
    repeated = rows.select(table.key).is_duplicated()
    if not repeated.any():
        return rows, rows.clear(), 0
    suspects = rows.filter(repeated).sort("row")
    versions = suspects.unique(subset=table.delivered_schema.names, keep="first", maintain_order=True)
    disagree = versions.select(table.key).is_duplicated()
    kept = versions.filter(~disagree)
    clashing = suspects.join(versions.filter(disagree), on=table.key, how="semi", maintain_order="left")
    return pl.concat([rows.filter(~repeated), kept]), clashing, suspects.height - kept.height - clashing.height


def _quarantine(rows: pl.DataFrame, table: Table, rule: Rule) -> pl.DataFrame:
    columns = table.delivered_schema.names
    as_delivered = pl.struct(columns).struct.json_encode()
    with_unreadable = pl.struct(*columns, "unreadable").struct.json_encode()
    return rows.select(
        pl.lit(table.name).alias("table"),
        "row",
        pl.lit(rule.code).alias("reason"),
        rule.message.alias("message"),
        pl.when(pl.col("unreadable").is_null()).then(as_delivered).otherwise(with_unreadable).alias("content"),
    )
