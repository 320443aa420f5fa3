"""Several origins at a time, each in a child process of its own; one that fails or is killed loses no other."""

import datetime as dt
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from marketday.backtest import child
from marketday.backtest.folders import Folders
from marketday.backtest.plan import Plan
from marketday.backtest.sources import Source
from marketday.errors import JobLost, MarketdayError, from_dict
from marketday.settings import ResourceClass, Settings

Tell = Callable[[dt.date, str], None]
_GIB = 2**30


class _Running(NamedTuple):
    origin: dt.date
    process: BaseProcess
    connection: "Connection[Any, Any]"


def default_jobs(origins: int, largest: ResourceClass) -> int:
    """Return how many origins may be replayed at a time: each may use what its largest step may."""
    cores = len(os.sched_getaffinity(0)) // largest.cores
    memory = int(psutil.virtual_memory().available / _GIB / largest.memory_gib)
    return max(1, min(origins, cores, memory))


def replay_all(
    plan: Plan,
    todo: Mapping[dt.date, Source],
    settings: Settings,
    folders: Folders,
    *,
    jobs: int,
    keep: bool,
    tell: Tell,
) -> dict[dt.date, MarketdayError | None]:
    """Replay the origins of ``todo`` and return how each ended: None, or its error.

    ``tell`` hears the stage that each origin has come to; `done` and `failed` are the last ones. When this is
    interrupted, every child is killed and what it has written is removed; what is finished stays.
    """
    waiting = list(todo.items())
    running: list[_Running] = []
    ended: dict[dt.date, MarketdayError | None] = {}
    threads = max(1, len(os.sched_getaffinity(0)) // jobs)
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                origin, source = waiting.pop(0)
                _clean(folders, origin)
                running.append(_start(plan, origin, source, settings, folders, threads=threads))
            ready = wait([one.connection for one in running])
            for one in [one for one in running if one.connection in ready]:
                kind, value = _received(one)
                if kind == "done":
                    ended[one.origin] = None
                elif kind == "failed":
                    ended[one.origin] = _told(value, folders.log(one.origin))
                tell(one.origin, value if kind == "stage" else kind)
                if kind != "stage":
                    running.remove(one)
                    one.process.join()
                    if kind == "failed" or not keep:
                        _clean(folders, one.origin)
    finally:
        for one in running:
            one.process.kill()
            one.process.join()
            _clean(folders, one.origin)
    return ended


def _start(
    plan: Plan, origin: dt.date, source: Source, settings: Settings, folders: Folders, *, threads: int
) -> _Running:
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    given = {"plan": plan, "origin": origin, "source": source, "settings": settings, "folders": folders}
    process = context.Process(
        target=child.main, kwargs={**given, "threads": threads, "parent": theirs}, name=f"backtest {origin}"
    )
    with _environment(POLARS_MAX_THREADS=str(threads), OMP_NUM_THREADS=str(threads)):
        process.start()
    theirs.close()
    return _Running(origin, process, ours)


@contextmanager
def _environment(**variables: str) -> Iterator[None]:
    """Set variables for a process that is started meanwhile: its libraries read them when it imports them."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _received(one: _Running) -> tuple[str, Any]:
    try:
        kind, value = one.connection.recv()
    except EOFError:
        one.process.join()
        lost = JobLost(
            f"The replay's process ended with {one.process.exitcode} before it was done",
            hint="-9 is a kill, mostly for want of memory: give fewer --jobs, or --series for a part of the data.",
        )
        return "failed", lost.to_dict()
    return kind, value


def _told(report: dict[str, Any], log: Path) -> MarketdayError:
    error = from_dict(report)
    error.evidence = error.evidence or str(log)
    return error


def _clean(folders: Folders, origin: dt.date) -> None:
    for folder in (folders.home(origin), folders.part(origin)):
        shutil.rmtree(folder, ignore_errors=True)
