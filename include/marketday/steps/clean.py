"""Step `clean`: delivered rows → staged rows and quarantine."""

import itertools
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

from marketday import tables
from marketday.cleaning import READS, Checked, known_on, total_notices
from marketday.cleaning.delivery import checked, delivered_in
from marketday.quarantine.judging import Replays, first_days
from marketday.steps.contract import Context, Outputs, step
from marketday.steps.ingest import chosen
from marketday.tables import INGESTED, JUDGED_REPLAYS, NOTICES, QUARANTINE, REPLAYS, RUN_DAY, SALES, STAGED, Table
from marketday.warehouse import empty, in_key_order


@step(
    "clean",
    reads=(INGESTED, REPLAYS, *READS),
    writes=(*STAGED.values(), QUARANTINE, NOTICES, JUDGED_REPLAYS),
    size="M",
)
def clean(context: Context) -> Outputs:
    """Split the day's delivered rows into staged ones and refused ones, each refused row with its reason."""
    known = known_on(context.scan, context.retailer, context.call.day)
    replays = _replays(context)
    delivered = delivered_in(context.deliveries, chosen(context))
    split = _Split(checked(delivered, known, beside=replays.beside))
    staged = {STAGED[table.name].name: split.accepted(table) for table in tables.DELIVERED}
    rest = {
        QUARANTINE.name: split.refused(),
        NOTICES.name: split.noticed(),
        JUDGED_REPLAYS.name: split.replayed(replays),
    }
    return Outputs(tables={**staged, **rest}, facts=split.facts)


def _replays(context: Context) -> Replays:
    brought = context.scan(SALES).group_by(RUN_DAY).agg(pl.col("day").max()).collect(engine="streaming")
    first_day = first_days(brought.rows(), context.retailer.late_days)
    return Replays(context.today(REPLAYS).drop(RUN_DAY).collect(), first_day)


class _Split:
    """What becomes of a delivery, judged while it is stored: first the accepted rows of every table, then the rest."""

    def __init__(self, results: Iterator[tuple[Table, Checked]]) -> None:
        self._by_table = itertools.groupby(results, key=lambda result: result[0].name)
        self._refused = tempfile.TemporaryDirectory(prefix="marketday-refused-")
        self._notices: list[pl.DataFrame] = []
        self._reasons: Counter[str] = Counter()
        self.facts: dict[str, Any] = {"accepted": {}, "refused": {}, "reasons": {}, "collapsed": 0}

    def accepted(self, table: Table) -> Iterator[pl.DataFrame]:
        """Judge one table; tables are asked for in the order of the catalogue."""
        name, results = next(self._by_table)
        assert name == table.name  # noqa: S101  else rows of one table would be stored as those of another
        accepted = refused = 0
        for _, result in results:
            accepted, refused = accepted + result.accepted.height, refused + result.refused.height
            self._keep(result)
            yield result.accepted
        self.facts["accepted"][name], self.facts["refused"][name] = accepted, refused

    def refused(self) -> Iterator[pl.DataFrame]:
        """Return all refused rows in the order of their key."""
        self.facts["reasons"] = dict(sorted(self._reasons.items()))
        files = sorted(Path(self._refused.name).iterdir())
        rows = pl.scan_parquet(files) if files else empty(QUARANTINE).drop(RUN_DAY).lazy()
        yield from in_key_order(rows, QUARANTINE.key)
        self._refused.cleanup()

    def noticed(self) -> Iterator[pl.DataFrame]:
        """Return what is to be told of accepted rows."""
        yield total_notices(self._notices)

    def replayed(self, replays: Replays) -> Iterator[pl.DataFrame]:
        """Return what became of the rows that were tried again, which the delivery's own figures leave out."""
        outcomes = replays.outcomes()
        for name, added in replays.added.items():
            self.facts["accepted"][name] -= added
        self.facts["replayed"] = dict(outcomes.group_by("outcome").len().sort("outcome").iter_rows())
        yield outcomes

    def _keep(self, result: Checked) -> None:
        self.facts["collapsed"] += result.collapsed
        self._notices.append(result.noticed)
        if result.refused.height:
            # Of a bad delivery that may be every row, with what is wrong with it: more than fits into memory.
            self._reasons.update(dict(result.refused["reason"].value_counts().iter_rows()))
            number = len(self._notices)
            result.refused.write_parquet(Path(self._refused.name) / f"{number:06d}.parquet")
