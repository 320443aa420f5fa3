"""Split delivered rows into accepted and refused ones, and count those that were accepted with a warning."""

from collections.abc import Iterable
from typing import NamedTuple

import polars as pl

from marketday.cleaning.known import Known
from marketday.cleaning.rules import Rule, compared, rules
from marketday.tables import NOTICES, RUN_DAY, Table
from marketday.warehouse import empty, rising


class Checked(NamedTuple):
    """What became of a delivered table."""

    accepted: pl.DataFrame
    """Rows in the table's own columns."""
    refused: pl.DataFrame
    """Rows as the table `quarantine` has them, without ``run_day``."""
    collapsed: int
    """Rows that only repeated an accepted one."""
    noticed: pl.DataFrame
    """Rules that accepted rows broke and only warn; as the table `notices` has them, without ``run_day``."""


def check(raw: pl.DataFrame, table: Table, known: Known) -> Checked:
    """Split ``raw`` (the columns of the table's raw twin) by the rules of ``table``."""
    here = [(rule, known.checks.of(rule.code)) for rule in _breakable(rules(table, known), raw)]
    refusing = [rule for rule, severity in here if severity == "refuse"]
    numbers = [pl.when(rule.broken).then(pl.lit(number, pl.UInt8)) for number, rule in enumerate(refusing)]
    first_broken = pl.coalesce(*numbers, pl.lit(None, pl.UInt8))
    judged = compared(raw, table, known).with_columns(rule=first_broken)
    broken = judged.filter(pl.col("rule").is_not_null())
    sound = judged.filter(pl.col("rule").is_null()) if broken.height else judged
    refused = [
        _quarantine(broken.filter(pl.col("rule") == number), table, rule) for number, rule in enumerate(refusing)
    ]
    single, clashing, collapsed = _split_duplicates(sound, table)
    refused.append(_quarantine(clashing, table, _duplicate_key(table)))
    warning = [rule for rule, severity in here if severity == "warn"]
    return Checked(
        single.select(table.delivered_schema.names),
        pl.concat(refused),
        collapsed,
        total_notices(_noticed(single, table, rule) for rule in warning),
    )


def _breakable(all_rules: list[Rule], raw: pl.DataFrame) -> list[Rule]:
    """Leave out rules about one text that none of the texts breaks: there are far fewer of these than rows."""
    texts = {
        name: raw[name].rle().struct.field("value").unique().alias(name).to_frame()
        for name, kind in raw.schema.items()
        if kind == pl.String
    }

    def broken(rule: Rule) -> bool:
        columns = set(rule.broken.meta.root_names())
        if len(columns) != 1 or not columns <= texts.keys():
            return True
        return bool(texts[columns.pop()].select(rule.broken.any()).item())

    return [rule for rule in all_rules if broken(rule)]


def total_notices(parts: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """Sum up what was noticed in parts of a table, or in several: a row per table and code, with the first example."""
    return (
        pl.concat([empty(NOTICES).drop(RUN_DAY), *parts])
        .group_by(NOTICES.key, maintain_order=True)
        .agg(pl.col("rows").sum(), pl.col("example").first())
        .sort(NOTICES.key)
    )


def _noticed(rows: pl.DataFrame, table: Table, rule: Rule) -> pl.DataFrame:
    broken = rows.filter(rule.broken)
    return broken.head(1).select(
        pl.lit(table.name).alias("table"),
        pl.lit(rule.code).alias("reason"),
        pl.lit(broken.height, pl.Int64).alias("rows"),
        rule.message.alias("example"),
    )


def _duplicate_key(table: Table) -> Rule:
    key = ", ".join(f"{name} {{}}" for name in table.key)
    return Rule("duplicate_key", pl.lit(value=True), pl.format(f"other rows say something else of {key}", *table.key))


def _split_duplicates(rows: pl.DataFrame, table: Table) -> tuple[pl.DataFrame, pl.DataFrame, int]:
    """Return the rows to keep, those of a key that disagree, and how many only repeated a kept one."""
    if rising(rows, table.key):  # As most deliveries come; seen in a tenth of the time.
        return rows, rows.clear(), 0
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
    as_read = pl.struct(columns).struct.json_encode()
    with_unreadable = pl.struct(*columns, "unreadable").struct.json_encode()
    with_both = pl.struct(*columns, "unreadable", "reread").struct.json_encode()
    return rows.select(
        pl.lit(table.name).alias("table"),
        "row",
        pl.lit(rule.code).alias("reason"),
        rule.message.alias("message"),
        pl.when(pl.col("reread").is_not_null())
        .then(with_both)
        .when(pl.col("unreadable").is_not_null())
        .then(with_unreadable)
        .otherwise(as_read)
        .alias("content"),
    )
