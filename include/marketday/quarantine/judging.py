"""What today's checks say of the rows that are tried again, and how those that pass come in beside the delivery's."""

import datetime as dt
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import polars as pl

from marketday.cleaning import Checked, Known, check
from marketday.quarantine.retrying import as_delivered
from marketday.quarantine.states import REFUSED_ROW
from marketday.tables import JUDGED_REPLAYS, RUN_DAY, Table
from marketday.warehouse import empty

FirstDay = Callable[[dt.date], dt.date | None]
"""Gives the first day that the delivery of a business day could bring observed facts of; None: any."""

_NOT_DELIVERED = [name for name in (*REFUSED_ROW, "reason") if name != "row"]


class Judged(NamedTuple):
    """What the checks say of replays of one table."""

    passed: pl.DataFrame
    """Rows as :func:`marketday.quarantine.retrying.as_delivered` has them; of a key, only what was delivered last."""
    others: pl.DataFrame
    """All others, as the table `judged_replays` has them, without ``run_day``."""


class Replays:
    """The rows that a morning tries again, put in beside those that its delivery brings."""

    def __init__(self, rows: pl.DataFrame, first_day: FirstDay) -> None:
        """``rows`` are those of the table `replays`."""
        self._rows = rows
        self._first_day = first_day
        self._outcomes = [empty(JUDGED_REPLAYS).drop(RUN_DAY)]
        self.added: Counter[str] = Counter()
        """Rows put in beside the delivery's, by table; of rows that agree, one."""

    def beside(self, table: Table, known: Known, results: Iterator[Checked]) -> Iterator[Checked]:
        """Return the results of a table's frames, which are in the order of its key, with the replays that pass.

        A row whose key the delivery brings, too, is superseded.
        """
        rows = self._rows.filter(pl.col("table") == table.name)
        if rows.is_empty():
            yield from results
            return
        waiting, others = judge(rows, table, known, self._first_day)
        self._outcomes.append(others)
        first, result = table.key[0], next(results)
        for following in results:
            if result.accepted.height:  # What lies between two frames may come with either.
                so_far = pl.col(first) <= result.accepted[first].max()
                here, waiting = waiting.filter(so_far), waiting.filter(~so_far)
                result = self._with(result, here, table)
            yield result
            result = following
        yield self._with(result, waiting, table)

    def outcomes(self) -> pl.DataFrame:
        """Return what became of the replays so far, as the table `judged_replays` has it, without ``run_day``."""
        return pl.concat(self._outcomes)

    def _with(self, result: Checked, passed: pl.DataFrame, table: Table) -> Checked:
        delivered = result.accepted.select(table.key)
        admitted = passed.join(delivered, on=table.key, how="anti", maintain_order="left")
        superseded = passed.join(delivered, on=table.key, how="semi")
        self._outcomes += [_outcomes(admitted, "admitted"), _outcomes(superseded, "superseded")]
        added = admitted.unique(table.key, keep="first").select(result.accepted.columns)
        self.added[table.name] += added.height
        return result._replace(accepted=pl.concat([result.accepted, added]))


def judge(replays: pl.DataFrame, table: Table, known: Known, first_day: FirstDay) -> Judged:
    """Check replays of one table by what is ``known`` today, and by the days that their own delivery could bring.

    Those of one delivery are checked together. What a later one of them says of a key supersedes what an earlier one
    did.
    """
    passed: list[pl.DataFrame] = []
    others = [empty(JUDGED_REPLAYS).drop(RUN_DAY)]
    for day in replays["delivery_day"].unique().sort(descending=True):
        rows = as_delivered(replays.filter(pl.col("delivery_day") == day), table)
        taken = pl.concat([empty(table).select(table.key), *(each.select(table.key) for each in passed)])
        others.append(_outcomes(rows.join(taken, on=table.key, how="semi"), "superseded"))
        tried = rows.join(taken, on=table.key, how="anti", maintain_order="left")
        own = replace(known, last_day=day - dt.timedelta(days=1), first_day=first_day(day))
        refused = check(tried.drop(_NOT_DELIVERED), table, own).refused.select("row", "reason", "message")
        others.append(_outcomes(tried.drop("reason").join(refused, on="row"), "refused"))
        passed.append(tried.join(refused, on="row", how="anti", maintain_order="left"))
    return Judged(pl.concat(passed), pl.concat(others))


def first_days(latest: Sequence[tuple[dt.date, dt.date]], late_days: int) -> FirstDay:
    """Return the first days of past deliveries; ``latest`` has by run day the last day of the sales that it brought."""

    def first_day(day: dt.date) -> dt.date | None:
        before = [last for run_day, last in latest if run_day < day]
        return min(day - dt.timedelta(days=late_days + 1), max(before) + dt.timedelta(days=1)) if before else None

    return first_day


def _outcomes(rows: pl.DataFrame, outcome: str) -> pl.DataFrame:
    """Return ``rows`` with their outcome, as the table `judged_replays` has them; refused ones say why."""
    why = [pl.col(name) if outcome == "refused" else pl.lit("").alias(name) for name in ("reason", "message")]
    return rows.select(*REFUSED_ROW, pl.lit(outcome).alias("outcome"), *why)
