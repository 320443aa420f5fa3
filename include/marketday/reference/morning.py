"""The flow of a morning: which step writes which table, and which steps read it.

A row is a table, a column a step. A table's line goes from the first step that uses it to the last.
"""

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from marketday.reference import svg
from marketday.reference.flow import Use, own_steps, uses
from marketday.steps.contract import MORNING
from marketday.tables import DELIVERED, MADE, STAGED
from marketday.tables.schema import Kind

_NAMES, _COLUMN, _ROW = 176, 50, 25
"""Pixels: room for the names of tables, width of a step's column, height of a table's row."""
_HEAD, _MARGIN, _FOOT = 106, 28, 54
_TILT = -45
"""Degrees by which the names of the steps are turned, so that they need no more than their columns."""
_RING, _DISC, _HEART = 5, 5.9, 2.6
"""Radii: read, written, and what is put into a ring where both are done."""


class Row(NamedTuple):
    """A table, or several that every step uses alike."""

    name: str
    kind: Kind
    use: Use


def morning() -> str:
    """Return the picture as SVG."""
    drawn = rows()
    at = {step.name: _MARGIN + _NAMES + (n + 0.5) * _COLUMN for n, step in enumerate(own_steps())}
    top, right = _HEAD + _MARGIN, max(at.values()) + _COLUMN / 2
    foot = top + len(drawn) * _ROW
    shapes = list(_steps(at, top, foot))
    for n, row in enumerate(drawn):
        y = top + (n + 0.5) * _ROW
        shapes += [svg.line(_MARGIN + _NAMES, y, right, y, "faint-line"), *_table(row, y, at)]
    shapes += _legend(_MARGIN, foot + _FOOT / 2 + 6)
    about = "; ".join(f"{row.name}: written by {', '.join(row.use.writes) or 'no step'}" for row in drawn)
    title = "Which step writes and reads which table"
    # The last name leans out of its column.
    return svg.document(right + _HEAD / 2 + _MARGIN, foot + _FOOT, title=title, about=about, shapes=shapes)


def rows() -> list[Row]:
    """Return the rows in the order in which the steps first write them; staged tables that are used alike are one."""
    used, order = uses(), [step.name for step in own_steps()]
    staged = Counter(used[table.name] for table in STAGED.values())
    every = [
        *(Row(f"staged_… ({many} tables)", "staged", use) for use, many in staged.items()),
        *(Row(table.name, table.kind, used[table.name]) for table in (*DELIVERED, *MADE)),
    ]

    def first(row: Row) -> tuple[bool, int]:
        # What every step writes comes last: its line would go through all that is between.
        return len(row.use.writes) == len(order), min(map(order.index, row.use.writes), default=len(order))

    return sorted(every, key=first)


def _steps(at: dict[str, float], top: float, foot: float) -> Iterator[str]:
    """Draw the steps: name and guide; those that are no part of every morning are muted, beyond a line."""
    for name, x in at.items():
        yield svg.line(x, top - 6, x, foot, "faint-line")
        yield svg.text(x + 3, top - 12, name, "ink strong" if name in MORNING else "muted", turn=_TILT)
    others = [x for name, x in at.items() if name not in MORNING]
    if others:
        edge = min(others) - _COLUMN / 2
        yield svg.line(edge, top - 6, edge, foot, "rule-line")


def _table(row: Row, y: float, at: dict[str, float]) -> Iterator[str]:
    yield svg.text(_MARGIN + _NAMES - 14, y + 4, row.name, f"{row.kind} strong", anchor="end")
    used = {at[name] for name in (*row.use.writes, *row.use.reads)}
    if used:
        yield svg.line(min(used), y, max(used), y, f"{row.kind}-line")
    for name in row.use.reads:
        yield svg.dot(at[name], y, _RING, f"{row.kind}-ring")
    for name in row.use.writes:
        yield svg.dot(at[name], y, _HEART if name in row.use.reads else _DISC, row.kind)


def _legend(x: float, y: float) -> Iterator[str]:
    written, read, heart = (_DISC, "muted"), (_RING, "muted-ring"), (_HEART, "muted")
    for words, dots in (("written", [written]), ("read", [read]), ("read, then written", [read, heart])):
        yield from (svg.dot(x + 6, y - 4, radius, classes) for radius, classes in dots)
        yield svg.text(x + 18, y, words, "muted")
        x += 44 + 7 * len(words)
    for kind in ("dimension", "fact", "staged", "made"):
        yield svg.rectangle(x, y - 9, 10, 10, kind, round_=2)
        yield svg.text(x + 16, y, kind, "muted")
        x += 40 + 7 * len(kind)
