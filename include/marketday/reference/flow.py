"""Which steps write a table and which read it, as the steps declare it."""

from collections.abc import Iterable
from typing import NamedTuple

from marketday import steps
from marketday.tables import ALL, RUNS


class Use(NamedTuple):
    """Who uses a table: steps by name, in the order of :func:`marketday.steps.names`."""

    writes: tuple[str, ...]
    reads: tuple[str, ...]


def own_steps() -> list[steps.Step]:
    """Return the steps that come with Marketday, the morning's first and in their order.

    Those that declare no table, since they look after the warehouse as a whole, are left out.
    """
    found = map(steps.get, steps.names())
    return [step for step in found if step.function.__module__.startswith("marketday.") and (step.reads or step.writes)]


def uses() -> dict[str, Use]:
    """Return by table who uses it. `runs` is written for every step when it ends, though none declares it."""
    known = own_steps()
    every = tuple(step.name for step in known)
    return {
        table.name: Use(
            every if table is RUNS else _names(step for step in known if table in step.writes),
            _names(step for step in known if table in step.reads),
        )
        for table in ALL.values()
    }


def _names(found: Iterable[steps.Step]) -> tuple[str, ...]:
    return tuple(step.name for step in found)
