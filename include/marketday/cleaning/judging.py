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
    judged = compared(raw, table, known)
    here = [(rule, known.checks.of(rule.code)) for rule in _broken(rules(table, known), judged)]
    sound, refused = _split(judged, table, [rule for rule, severity in here if severity == "refuse"])
    single, clashing, collapsed = _split_duplicates(sound, table)
    refused.append(_quarantine(clashing, table, _duplicate_key(table)))
    warning = [rule for rule, severity in here if severity == "warn"]
    return Checked(
        single.select(table.delivered_schema.names),
        pl.concat(refused),
        collapsed,
        total_notices(_noticed(single, table, rule) for rule in warning),
    )


def _broken(all_rules: list[Rule], rows: pl.DataFrame) -> list[Rule]:
    """Return the rules that some row breaks: seldom any, and to look for one is cheap."""
    texts = {name: _texts(rows[name]) for name, kind in rows.schema.items() if kind == pl.String}

    def about(rule: Rule) -> str | None:
        """Name the text that the rule is about, if it is about one and no more: there are far fewer than rows."""
        columns = rule.broken.meta.root_names()
        return columns[0] if len(set(columns)) == 1 and columns[0] in texts else None

    by_row = [pl.lit(value=False) if about(rule) else rule.broken.any() for rule in all_rules]
    found = rows.select(each.alias(str(number)) for number, each in enumerate(by_row)).row(0)
    by_text = (texts[name].select(rule.broken.any()).item() if (name := about(rule)) else False for rule in all_rules)
    return [rule for rule, in_rows, in_texts in zip(all_rules, found, by_text, strict=True) if in_rows or in_texts]


def _texts(values: pl.Series) -> pl.DataFrame:
    """Return every text of a column once, or a few times: neighbours are often the same."""
    if values.null_count() == values.len():
        return values.head(1).to_frame()
    return values.rle().struct.field("value").unique().alias(values.name).to_frame()


def _split(judged: pl.DataFrame, table: Table, refusing: list[Rule]) -> tuple[pl.DataFrame, list[pl.DataFrame]]:
    """Return the rows that break none of the rules, and the others by the first one that they break."""
    numbers = [pl.when(rule.broken).then(pl.lit(number, pl.UInt8)) for number, rule in enumerate(refusing)]
    if not numbers:
        return judged, []
    judged = judged.with_columns(rule=pl.coalesce(numbers))
    broken = judged.filter(pl.col("rule").is_not_null())
    refused = [
        _quarantine(broken.filter(pl.col("rule") == number), table, rule) for number, rule in enumerate(refusing)
    ]
    return judged.filter(pl.col("rule").is_null()), refused


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
