"""A morning again: each of its executions carried out a second time, and what it returns compared hash by hash.

Two kinds of proof make the whole of it. Each step, on just the versions that it read, returns what it returned then;
and what it read of the morning itself is what the steps before it wrote. So the morning is reproduced from what it
began with, step by step. Nothing is written to the warehouse.
"""

import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Never

import polars as pl

from marketday import publishing, tables
from marketday.calls import Call
from marketday.errors import MarketdayError, StepError, WarehouseError, listed
from marketday.rebuilding import damage
from marketday.rebuilding.morning import Execution, Morning
from marketday.settings import Settings
from marketday.steps import contract
from marketday.steps.execution import context_of, release
from marketday.tables import INGESTED, RUN_DAY, Table
from marketday.warehouse import Rows, Warehouse, content_hash, empty, in_key_order
from marketday.warehouse.content import conformed
from marketday.warehouse.hashing import Digest

_SHOWN = 3
"""Rows of a difference that are named."""


class ReadOnly(Warehouse):
    """The warehouse for who must not write to it."""

    def write(self, *_args: Any, **_options: Any) -> Never:
        """Refuse.

        Raises:
            StepError: always.

        """
        raise StepError("A step wrote to the warehouse itself", hint="Return the rows in Outputs(tables=…) instead.")


@dataclass(frozen=True, kw_only=True)
class Output:
    """One table that an execution wrote, then and now."""

    table: str
    recorded: str
    """Content hash, empty if it was not written then."""
    rebuilt: str
    """Content hash, empty if it is not made now."""
    differs: str = ""
    """In which rows and columns."""

    @property
    def same(self) -> bool:
        """Whether the same content was made again."""
        return self.recorded == self.rebuilt


@dataclass(frozen=True, kw_only=True)
class Link:
    """One table of the morning itself that an execution read, beside what the step before wrote."""

    table: str
    block: str | None
    version: int
    written: str
    """Content hash recorded by who wrote it."""
    read: str
    """Content hash of the rows that the version holds; empty if they cannot be read."""

    @property
    def same(self) -> bool:
        """Whether the step read what the step before wrote."""
        return self.written == self.read


@dataclass(frozen=True, kw_only=True)
class Rebuilt:
    """One execution, carried out again."""

    execution: Execution
    outputs: tuple[Output, ...] = ()
    links: tuple[Link, ...] = ()
    seconds: float = 0.0
    notes: tuple[str, ...] = field(default=())
    """What else differs from then: the step's version, the release."""
    error: str = ""
    """Why the step cannot be carried out as it was, or empty."""

    @property
    def same(self) -> bool:
        """Whether everything that it wrote was made again from what the morning itself had made."""
        return not self.error and all(each.same for each in self.outputs) and all(each.same for each in self.links)


def rebuilt(
    morning: Morning, warehouse: Warehouse, settings: Settings, begun: Callable[[Execution], None]
) -> Iterator[Rebuilt]:
    """Carry out the morning's executions again, one after the other; ``begun`` is told of each before."""
    contract.load_all(settings.step_modules.split())
    reader = ReadOnly(warehouse.url, warehouse.storage_options)
    hashes: dict[tuple[str, int, str | None], str] = {}
    with tempfile.TemporaryDirectory(prefix="marketday-rebuild-") as scratch:
        for place, execution in enumerate(morning.executions):
            begun(execution)
            try:
                with damage.told(morning.retailer):
                    links = tuple(_links(execution, morning.executions[:place], reader, hashes))
            except WarehouseError as error:
                yield Rebuilt(execution=execution, error=str(error))
            else:
                yield _again(execution, links, reader, settings, Path(scratch))


def publications(morning: Morning, warehouse: Warehouse) -> tuple[Link, ...]:
    """Compare what the published versions hold with what the morning's steps wrote."""
    links = []
    for row in morning.published.iter_rows(named=True):
        table = publishing.PUBLISHED[row["table"]]
        written = [each.hashes[table.name] for each in morning.executions if table.name in each.hashes]
        try:
            with damage.told(morning.retailer):
                rows = publishing.rows_of(
                    warehouse, morning.retailer, table, of_day=morning.day, version=row["version"]
                )
            held = content_hash(rows, table)
        except WarehouseError:
            held = ""
        links.append(Link(table=table.name, block=None, version=row["version"], written=written[-1], read=held))
    return tuple(links)


def _links(
    execution: Execution,
    before: tuple[Execution, ...],
    warehouse: Warehouse,
    hashes: dict[tuple[str, int, str | None], str],
) -> Iterator[Link]:
    # Where several steps wrote the same part of a table, as gates that held over do, the last one's rows stand.
    written = {
        (name, _block(each, tables.get(name))): digest for each in before for name, digest in each.hashes.items()
    }
    for (name, block), digest in written.items():
        version = execution.read.get(name)
        if version is None:
            continue
        if (name, version, block) not in hashes:
            part = _part(warehouse, execution.call, tables.get(name), version, block)
            hashes[name, version, block] = _hash(in_key_order(part, tables.get(name).key), tables.get(name))
        yield Link(table=name, block=block, version=version, written=digest, read=hashes[name, version, block])


def _again(
    execution: Execution, links: tuple[Link, ...], warehouse: Warehouse, settings: Settings, scratch: Path
) -> Rebuilt:
    """Carry out one execution on the versions that it read, and compare what it returns.

    Its pages and rows lie below ``scratch`` meanwhile.
    """
    if execution.failed and not execution.hashes:
        return Rebuilt(execution=execution, links=links, notes=(f"failed then: {execution.failed.splitlines()[0]}",))
    began = time.monotonic()
    notes = [f"made with {execution.release}; here is {release()}"] if execution.release != release() else []
    outputs: tuple[Output, ...] = ()
    error = ""
    try:
        step = contract.get(execution.step)
        if step.version != execution.version:
            notes.append(f"made by version {execution.version} of the step; here is version {step.version}")
        aside = settings.model_copy(update={"reports": scratch})
        with damage.told(execution.call.retailer):
            call = _call(execution, warehouse)
            context = context_of(call, execution.retailer, warehouse, execution.read, aside)
            outputs = tuple(_outputs(execution, step.function(context).tables, warehouse, scratch))
    except MarketdayError as raised:
        error = str(raised)
    return Rebuilt(
        execution=execution,
        outputs=outputs,
        links=links,
        seconds=time.monotonic() - began,
        notes=tuple(notes),
        error=error,
    )


def _call(execution: Execution, warehouse: Warehouse) -> Call:
    """Return the recorded call; of the step that chooses a delivery, with the one that it chose."""
    if execution.step != "ingest" or INGESTED.name not in execution.written:
        return execution.call
    version = execution.written[INGESTED.name]
    chosen = _part(warehouse, execution.call, INGESTED, version, None).select("delivery").unique().collect()
    ids = chosen["delivery"].to_list()
    return execution.call.model_copy(update={"params": {**execution.call.params, "delivery": ids[0] if ids else None}})


def _outputs(execution: Execution, made: Mapping[str, Rows], warehouse: Warehouse, scratch: Path) -> Iterator[Output]:
    for name, rows in made.items():
        table, recorded = tables.get(name), execution.hashes.get(name, "")
        kept = scratch / execution.call.key / name
        frames = conformed([rows] if isinstance(rows, pl.DataFrame) else rows, table, execution.call.day)
        digest = _hash(_keep(frames, kept), table)
        differs = "" if digest == recorded else "was not written then"
        if recorded and differs:
            before = _part(warehouse, execution.call, table, execution.written[name], _block(execution, table))
            after = pl.concat([empty(table).lazy(), *map(pl.scan_parquet, sorted(kept.iterdir()))])
            differs = difference(before.collect(), after.collect(), table)
        shutil.rmtree(kept)
        yield Output(table=name, recorded=recorded, rebuilt=digest, differs=differs)
    for name in sorted(execution.hashes.keys() - made.keys()):
        yield Output(table=name, recorded=execution.hashes[name], rebuilt="", differs="is not written now")


def _keep(frames: Iterable[pl.DataFrame], folder: Path) -> Iterator[pl.DataFrame]:
    """Pass on frames and keep each in a file: there may be more of them than memory, and they are made only once."""
    folder.mkdir(parents=True)
    for number, frame in enumerate(frames):
        frame.write_parquet(folder / f"{number:06d}.parquet", compression="lz4")
        yield frame


def _hash(frames: Iterable[pl.DataFrame], table: Table) -> str:
    digest = Digest(table)
    for frame in frames:
        digest.feed(frame)
    return digest.hexdigest()


def difference(before: pl.DataFrame, after: pl.DataFrame, table: Table) -> str:
    """Say in which rows and columns two contents of one part of a table differ."""
    key = list(table.key)
    gone = before.join(after, on=key, how="anti", nulls_equal=True)
    new = after.join(before, on=key, how="anti", nulls_equal=True)
    both = before.join(after, on=key, how="inner", suffix=" now", nulls_equal=True)
    columns = [name for name in before.columns if name not in key]
    unequal = both.select(*key, *(pl.col(name).ne_missing(pl.col(f"{name} now")) for name in columns))
    changed = unequal.filter(pl.any_horizontal(columns)) if columns else unequal.clear()
    named = [name for name in columns if changed[name].any()]
    parts = [f"{gone.height} rows are gone"] * bool(gone.height) + [f"{new.height} are new"] * bool(new.height)
    if changed.height:
        parts.append(f"{changed.height} of {both.height} differ in {listed(named)}")
    first = pl.concat([gone.select(key), new.select(key), changed.select(key)]).sort(key).head(_SHOWN)
    examples = "; ".join(" ".join(map(str, row)) for row in first.iter_rows())
    return f"{', '.join(parts)}: {examples}"


def _block(execution: Execution, table: Table) -> str | None:
    return (execution.call.block or execution.step) if table.blocked else None


def _part(warehouse: Warehouse, call: Call, table: Table, version: int, block: str | None) -> pl.LazyFrame:
    """Return the rows that the call's day (and block) wrote, as ``version`` holds them."""
    rows = warehouse.scan(call.retailer, table, version=version).filter(pl.col(RUN_DAY) == call.day)
    return rows if block is None else rows.filter(pl.col("block") == block)
