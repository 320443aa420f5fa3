"""One refused row, explained: its rule, what it refers to, its key in other deliveries, what to do."""

import datetime as dt
import difflib
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import polars as pl

from marketday import tables
from marketday.checks import CHECKS
from marketday.quarantine.decisions import row_id
from marketday.quarantine.retrying import as_delivered, waits_for
from marketday.tables import RUN_DAY, Table

NEAR = 3
"""Most near names that are shown."""
ALIKE = 0.7
"""Least likeness of a near name: `milc` is like `milk`, `cheese` is not."""
_ELSEWHERE = 10
_REFUSING = "refuse"


class Reference(NamedTuple):
    """A column that refers to a dimension, and what is known of its value."""

    column: str
    value: str
    dimension: str
    since: dt.date | None
    """Business day from which on it is known; None: it is not."""
    near: tuple[str, ...]
    """Keys that are written much the same, or whose name is."""


def references(row: Mapping[str, Any], table: Table, dimensions: Mapping[str, pl.DataFrame]) -> list[Reference]:
    """Return what is known of everything that a decoded ``row`` refers to; ``dimensions`` are whole, with `run_day`."""
    found = []
    for column in table.columns:
        value = row[column.name]
        if not column.references or value is None or value == column.wildcard:
            continue
        known = dimensions[column.references]
        key = tables.get(column.references).key[0]
        since: dt.date | None = known.filter(pl.col(key) == value).select(pl.col(RUN_DAY).min()).item()
        near = () if since else _near(value, known, key)
        found.append(Reference(column.name, value, column.references, since, near))
    return found


def elsewhere(row: Mapping[str, Any], table: Table, facts: pl.LazyFrame, quarantine: pl.LazyFrame) -> list[str]:
    """Return where else the key of a decoded ``row`` was delivered, newest first: what was loaded, what was refused."""
    if any(row[name] is None for name in table.key):
        return []
    same = pl.all_horizontal(pl.col(name) == row[name] for name in table.key)
    loaded = facts.filter(same).sort(RUN_DAY, descending=True).head(_ELSEWHERE).collect()
    others = [name for name in table.delivered_schema.names if name not in table.key]
    lines = [
        (each[RUN_DAY], f"{each[RUN_DAY]}: loaded, with " + ", ".join(f"{name} {each[name]}" for name in others))
        for each in loaded.iter_rows(named=True)
    ]
    texts = [json.dumps(row[name], ensure_ascii=False) for name in table.key if isinstance(row[name], str)]
    maybe = quarantine.filter(
        pl.col("table") == table.name, *(pl.col("content").str.contains(text, literal=True) for text in texts)
    )
    # Its own line is left out: the day and the row number, whatever a later delivery of the day has there.
    own = (pl.col(RUN_DAY) == row["delivery_day"]) & (pl.col("row") == row["row"])
    refused = as_delivered(maybe.filter(~own).collect(), table).filter(same).sort(RUN_DAY, descending=True)
    lines += [
        (
            each[RUN_DAY],
            f"{each[RUN_DAY]}: refused as {row_id(each[RUN_DAY], table.name, each['row'])}: {each['message']}",
        )
        for each in refused.head(_ELSEWHERE).iter_rows(named=True)
    ]
    return [line for _, line in sorted(lines, reverse=True)[:_ELSEWHERE]]


def what_to_do(
    row: Mapping[str, Any], table: Table, refers: list[Reference], *, days: tuple[dt.date, dt.date], retailer: str
) -> list[str]:
    """Return what support can do about a decoded ``row`` with its state, a sentence each.

    ``days``: the business day that it is, and the last one on which a row that waits for master data is tried unasked.
    """
    settled = {
        "admitted": f"Nothing: it was loaded on {row['since']}.",
        "superseded": f"Nothing: a later delivery has taken its place, found on {row['since']}.",
        "discarded": f"Nothing. `marketday quarantine replay {retailer} {_id(row)}` takes it back.",
    }
    if row["state"] in settled:
        return [settled[row["state"]]]
    check = CHECKS[row["reason"]]
    todo = [] if row["reason"] in waits_for(table) else [check.advice]
    todo += [advice for each in refers if not each.since for advice in _missing(each)]
    todo.append(_when(row, table, refers, days=days, retailer=retailer))
    if check.other and check.severity == _REFUSING:
        todo.append(
            f"If the row is right, the check can be made milder for this retailer: `{check.code}: {check.other}` under "
            "`checks.severity` in its definition. Replay the row then."
        )
    todo.append(f'To leave it out for good: `marketday quarantine discard {retailer} {_id(row)} --reason "…"`.')
    return todo


def _missing(reference: Reference) -> list[str]:
    single = reference.dimension.removesuffix("s")
    advice = [f"Have the {single} '{reference.value}' delivered in the table `{reference.dimension}`."]
    if reference.near:
        advice.append(
            f"If {' or '.join(reference.near)} is meant, have the row delivered again with it, and discard this one."
        )
    return advice


def _when(
    row: Mapping[str, Any], table: Table, refers: list[Reference], *, days: tuple[dt.date, dt.date], retailer: str
) -> str:
    """Say when the row is judged again."""
    today, last_try = days
    ask = f"`marketday quarantine replay {retailer} {_id(row)}`"
    if table.planned and row["day"] is not None and row["day"] >= today:
        return f"A planned row waits until its day is past: the next delivery of `{table.name}` has the plan."
    if row["asked"]:
        return f"The next morning tries it again: {row['by']} asked for that."
    if row["reason"] not in waits_for(table):
        return f"Delivered again and accepted, it supersedes this row; {ask} has this row judged once more as it is."
    if last_try < today:
        return f"It was tried unasked until {last_try}. Once all that it refers to is known, {ask} has it tried again."
    known = "All that it refers to is known by now; the" if all(each.since for each in refers) else "Every"
    return f"{known} next morning tries it again by itself, up to that of {last_try}; after that, {ask} does."


def _near(value: str, known: pl.DataFrame, key: str) -> tuple[str, ...]:
    """Return the keys that are much like ``value``, or whose name is, the most alike first."""
    names = {name: name for name in known[key].to_list()}
    if "name" in known.columns:
        with_name = known.filter(pl.col("name").is_not_null())
        names = dict(zip(with_name["name"], with_name[key], strict=True)) | names
    folded = {name.casefold(): identifier for name, identifier in names.items()}
    alike = difflib.get_close_matches(value.casefold(), folded, n=2 * NEAR, cutoff=ALIKE)
    return tuple(dict.fromkeys(folded[name] for name in alike))[:NEAR]


def _id(row: Mapping[str, Any]) -> str:
    return row_id(row["delivery_day"], row["table"], row["row"])
