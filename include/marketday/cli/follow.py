"""Follow a run on the terminal: a live table, or lines that read well in a log."""

import datetime as dt
import time
from collections.abc import Callable
from typing import NamedTuple

from rich.live import Live
from rich.table import Table

from marketday.cli.airflow_api import ENDED, Airflow, Run, Task
from marketday.cli.console import console

_POLL_SECONDS = 1.0
_HEARTBEAT_SECONDS = 30.0
_FINAL = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})
_COLOURS = {
    "success": "green",
    "failed": "red",
    "upstream_failed": "red",
    "up_for_retry": "yellow",
    "awaiting_input": "bold yellow",
    "running": "cyan",
    "deferred": "cyan",
}
_MOST_TELLING = (
    "failed",
    "up_for_retry",
    "awaiting_input",
    "running",
    "deferred",
    "queued",
    "scheduled",
    "upstream_failed",
)
"""Of several blocks the group shows the first of these states that any of them has."""


class Line(NamedTuple):
    """A task, or all blocks of a mapped one."""

    name: str
    state: str
    seconds: float
    note: str

    @property
    def coloured(self) -> str:
        """The state in its colour."""
        colour = _COLOURS.get(self.state, "dim")
        return f"[{colour}]{self.state}[/]"


def follow(airflow: Airflow, run: Run, check: Callable[[], None]) -> Run:
    """Show the run's tasks until it has ended and return it as it is then; ``check`` raises if nobody carries it on."""
    show = _Live() if console.is_terminal else _Log()
    with show:
        while True:
            run = airflow.run(run)
            show.update(lines(airflow.tasks(run), dt.datetime.now(dt.UTC)))
            if run.state in ENDED:
                return run
            check()
            time.sleep(_POLL_SECONDS)


def lines(tasks: list[Task], now: dt.datetime) -> list[Line]:
    """Return one line per task, blocks taken together, in the order in which they started."""
    groups: dict[str, list[Task]] = {}
    for task in tasks:
        groups.setdefault(task.task_id, []).append(task)
    return [_line(name, group, now) for name, group in groups.items()]


def _line(name: str, group: list[Task], now: dt.datetime) -> Line:
    states = [task.state or "waiting" for task in group]
    state = next((telling for telling in _MOST_TELLING if telling in states), states[0])
    notes = []
    if group[0].map_index >= 0:
        notes.append(f"{sum(state == 'success' for state in states)} of {len(states)} blocks")
    tries = max(task.try_number for task in group)
    if tries > 1:
        notes.append(f"try {tries}")
    starts = [task.start_date for task in group if task.start_date]
    ends = [task.end_date or now for task in group if task.start_date]
    seconds = (max(ends) - min(starts)).total_seconds() if starts else 0.0
    return Line(name, state, seconds, ", ".join(notes))


class _Live:
    """A table that is drawn anew in place."""

    def __init__(self) -> None:
        self._live = Live(console=console, auto_refresh=False)

    def __enter__(self) -> None:
        self._live.start()

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def update(self, found: list[Line]) -> None:
        table = Table("task", "state", "seconds", "", box=None, pad_edge=False)
        table.columns[2].justify = "right"
        for line in found:
            table.add_row(line.name, line.coloured, f"{line.seconds:.1f}" if line.seconds else "", line.note)
        self._live.update(table, refresh=True)


class _Log:
    """A line when a task has ended or waits for a person, and a sign of life in between."""

    def __init__(self) -> None:
        self._shown: dict[str, str] = {}
        self._last = time.monotonic()

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass

    def update(self, found: list[Line]) -> None:
        for line in found:
            if line.state in _FINAL | {"up_for_retry", "awaiting_input"} and self._shown.get(line.name) != line.state:
                self._shown[line.name] = line.state
                self._print(f"{line.name:<20} {line.state:<16} {line.seconds:7.1f} s  {line.note}")
        under_way = [line for line in found if line.state in {"running", "deferred"}]
        if under_way and time.monotonic() - self._last > _HEARTBEAT_SECONDS:
            self._print("… " + ", ".join(f"{line.name} {line.state} for {line.seconds:.0f} s" for line in under_way))

    def _print(self, text: str) -> None:
        self._last = time.monotonic()
        console.print(f"{dt.datetime.now().astimezone():%H:%M:%S}  {text}".rstrip())
