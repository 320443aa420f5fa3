"""A whole backtest in one folder: what is still to be replayed, and forecasts, scores and report of what is done."""

import datetime as dt
import fcntl
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from marketday.backtest import report, scores, sources
from marketday.backtest.folders import Folders
from marketday.backtest.plan import Plan
from marketday.backtest.replay import RESULT
from marketday.errors import MarketdayError, StepError
from marketday.settings import Settings


class Outcome(NamedTuple):
    """What a backtest left."""

    headline: Mapping[str, Any]
    """See :func:`marketday.backtest.scores.headline`."""
    costs: pl.DataFrame
    """See :func:`marketday.backtest.scores.costs`."""
    failed: Mapping[dt.date, MarketdayError]
    files: list[Path]
    """The report, the scores, the definition."""


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep a second backtest out of the folder meanwhile; the lock dies with its process.

    Raises:
        StepError: there is one already.

    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StepError(
                f"Another backtest is running in {folder}", hint="Wait for it, or give another --out."
            ) from None
        yield


def missing(plan: Plan, settings: Settings, folders: Folders, *, again: bool = False) -> dict[dt.date, sources.Source]:
    """Return the origins without a result of this very plan, data and code (``again``: all), and where each comes from.

    Raises:
        RetailerError: an origin cannot be replayed.

    """
    found = {origin: sources.find(plan, settings, origin) for origin in plan.origins}
    return {o: source for o, source in found.items() if again or _key(folders.result(o)) != plan.key(o, source.data)}


def collect(plan: Plan, folders: Folders, ended: Mapping[dt.date, MarketdayError | None], *, command: str) -> Outcome:
    """Write what all of the plan's origins give; ``ended`` says how those that were replayed just now have ended.

    Raises:
        StepError: no origin has a result.

    """
    failed = {origin: error for origin, error in ended.items() if error is not None}
    done = [folders.result(origin) for origin in plan.origins if origin not in failed]
    if not done:
        first, error = next(iter(failed.items()))
        raise StepError(f"No origin was replayed; {first}: {error.message}", hint=error.hint, evidence=error.evidence)
    table, costs = scores.tables(done), scores.costs(done)
    files = _write(plan, folders.root, done, table, costs, failed=failed, command=command)
    return Outcome(scores.headline(table), costs, failed, [*files, folders.definitions / f"{plan.retailer.name}.yaml"])


def _write(
    plan: Plan,
    root: Path,
    done: list[Path],
    table: pl.DataFrame,
    costs: pl.DataFrame,
    *,
    failed: Mapping[dt.date, MarketdayError],
    command: str,
) -> list[Path]:
    text = {
        "retailer": plan.retailer.name,
        "horizon": plan.retailer.horizon,
        "command": command,
        "versions": plan.versions,
        "scores": scores.headline(table),
        "units_sold_of_what_was_not_forecast": {folder.name: scores.not_forecast(folder) for folder in done},
        "failed": {origin.isoformat(): error.to_dict() for origin, error in failed.items()},
    }
    page = report.page(plan, done, table, costs, failed=failed, command=command)
    _whole(root / "forecasts.parquet", lambda part: _forecasts(done).sink_parquet(part))
    _whole(root / "scores.parquet", table.write_parquet)
    _whole(root / "scores.json", lambda part: part.write_text(json.dumps(text, indent=1), encoding="utf-8"))
    _whole(root / "report.html", lambda part: part.write_text(page, encoding="utf-8"))
    return [root / name for name in ("report.html", "scores.json", "scores.parquet")]


def _forecasts(done: list[Path]) -> pl.LazyFrame:
    return pl.concat([pl.scan_parquet(folder / "forecasts.parquet") for folder in done])


def _whole(target: Path, write: Any) -> None:
    part = target.with_name(f".{target.name}.part")
    try:
        write(part)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _key(folder: Path) -> str | None:
    path = folder / RESULT
    return str(json.loads(path.read_text(encoding="utf-8"))["key"]) if path.is_file() else None
