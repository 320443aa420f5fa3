"""The star schema: facts in the middle, dimensions at both sides, a line for every reference.

Everything is placed by what the catalogue says, so that a new table or column finds its place by itself: the most
referred dimension is on the left, those of the other facts on the right, and facts that refer to one side only are at
the top or at the bottom. Lines run between the columns of boxes; none crosses a box.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from marketday.reference import svg
from marketday.tables import DELIVERED, Column, Table
from marketday.tables.words import type_words

_WIDTH, _HEAD, _ROW, _GAP = 226, 27, 19, 17
"""Pixels: width of a box, heights of its head and of a row, space between boxes."""
_GUTTER = 150
"""Pixels between two columns of boxes, where the lines run."""
_MARGIN, _BEND, _LEGEND = 44, 62, 44


@dataclass(frozen=True)
class _Box:
    """A table and where its upper left corner is."""

    table: Table
    x: float
    y: float

    @property
    def height(self) -> float:
        return height(self.table)

    def row(self, name: str) -> float:
        """Return the middle of a column's row."""
        place = [column.name for column in self.table.columns].index(name)
        return self.y + _HEAD + (place + 0.5) * _ROW + 3

    def side(self, *, right: bool) -> float:
        return self.x + (_WIDTH if right else 0)


def height(table: Table) -> float:
    """Return the height of the table's box."""
    return _HEAD + len(table.columns) * _ROW + 8


def star() -> str:
    """Return the picture as SVG."""
    left, right = sides(DELIVERED)
    x_left, x_facts, x_right = (_MARGIN + n * (_WIDTH + _GUTTER) for n in range(3))
    facts = _stacked(_ordered(DELIVERED, left, right), x_facts, _MARGIN)
    foot = max(box.y + box.height for box in facts)
    dimensions = [*_beside(left, facts, x_left, foot), *_beside(right, facts, x_right, foot)]
    boxes = {box.table.name: box for box in (*dimensions, *facts)}
    width = x_right + _WIDTH + _MARGIN + _BEND / 2
    shapes = [
        *(shape for box in boxes.values() for shape in _references(box, boxes)),
        *(shape for box in boxes.values() for shape in _drawn(box)),
        *_legend(_MARGIN, foot + _LEGEND),
    ]
    about = "; ".join(_told(table) for table in DELIVERED)
    return svg.document(
        width, foot + _LEGEND + 26, title="Star schema of the delivered tables", about=about, shapes=shapes
    )


def sides(tables: Sequence[Table]) -> tuple[list[Table], list[Table]]:
    """Return the dimensions of the left and of the right side.

    The one that most facts refer to is on the left, the next on the right, and so on; a dimension that another one
    refers to stands at that one's side.
    """
    facts = [table for table in tables if table.kind == "fact"]
    dimensions = [table for table in tables if table.kind == "dimension"]
    ranked = sorted(dimensions, key=lambda table: -sum(table.name in _targets(fact) for fact in facts))
    placed: tuple[list[Table], list[Table]] = ([], [])
    for table in ranked:
        beside = [side for side in placed if any(table.name in _targets(other) for other in side)]
        (beside or sorted(placed, key=len))[0].append(table)
    return placed


def _targets(table: Table) -> list[str]:
    return [column.references for column in table.columns if column.references]


def _ordered(tables: Sequence[Table], left: Sequence[Table], right: Sequence[Table]) -> list[Table]:
    """Return the facts: those of the left dimensions only, those of both sides, those of the right ones only."""
    names = [{table.name for table in side} for side in (left, right)]

    def place(fact: Table) -> int:
        to_left, to_right = (bool(side.intersection(_targets(fact))) for side in names)
        return int(to_right) - int(to_left)

    return sorted((table for table in tables if table.kind == "fact"), key=place)


def _stacked(tables: Sequence[Table], x: float, y: float) -> list[_Box]:
    boxes = []
    for table in tables:
        boxes.append(_Box(table, x, y))
        y += height(table) + _GAP
    return boxes


def _beside(side: Sequence[Table], facts: Sequence[_Box], x: float, foot: float) -> list[_Box]:
    """Place dimensions one below the other, each as near as can be to the middle of the facts that refer to it."""

    def middle(table: Table) -> float:
        rows = [
            box.row(column.name) for box in facts for column in box.table.columns if column.references == table.name
        ]
        return sum(rows) / len(rows) if rows else foot

    boxes: list[_Box] = []
    below = float(_MARGIN)
    for table in sorted(side, key=middle):
        y = max(below, middle(table) - height(table) / 2)
        boxes.append(_Box(table, x, y))
        below = y + height(table) + 3 * _GAP
    surplus = max(0.0, boxes[-1].y + boxes[-1].height - foot) if boxes else 0.0
    return [_Box(box.table, box.x, box.y - surplus) for box in boxes]


def _references(box: _Box, boxes: dict[str, _Box]) -> Iterator[str]:
    """Draw a line from each referring column to the key that it must be found in."""
    for column in box.table.columns:
        if not column.references:
            continue
        target = boxes[column.references]
        start, end = box.row(column.name), target.row(target.table.key[0])
        if target.x == box.x:
            edge = box.side(right=True)
            bend = edge + _BEND
            yield svg.path(
                f"M{edge:g} {start:g} C{bend:g} {start:g} {bend:g} {end:g} {edge:g} {end:g}", "dimension-line"
            )
            continue
        right = target.x > box.x
        here, there = box.side(right=right), target.side(right=not right)
        bend = _BEND if right else -_BEND
        yield svg.path(
            f"M{here:g} {start:g} C{here + bend:g} {start:g} {there - bend:g} {end:g} {there:g} {end:g}",
            f"{box.table.kind}-line",
        )


def _drawn(box: _Box) -> Iterator[str]:
    table, x, y = box.table, box.x, box.y
    yield svg.rectangle(x, y, _WIDTH, box.height, "box framed", round_=6)
    yield svg.path(
        f"M{x:g} {y + _HEAD:g} v{6 - _HEAD:g} q0 -6 6 -6 h{_WIDTH - 12:g} q6 0 6 6 v{_HEAD - 6:g} z", table.kind
    )
    yield svg.text(x + 12, y + 18, table.name, "on strong")
    remark = "in every history" if table.required else "the whole plan" if table.planned else ""
    if remark:
        yield svg.text(x + _WIDTH - 12, y + 18, remark, "on small", anchor="end")
    for column in table.columns:
        yield from _row(box, column)


def _row(box: _Box, column: Column) -> Iterator[str]:
    middle = box.row(column.name)
    in_key = column.name in box.table.key
    if in_key:
        yield svg.dot(box.x + 13, middle, 3.2, box.table.kind)
    yield svg.text(box.x + 23, middle + 4, column.name, "ink strong" if in_key else "ink")
    yield svg.text(box.x + _WIDTH - 12, middle + 4, type_words(column), "muted small", anchor="end")


def _legend(x: float, y: float) -> Iterator[str]:
    for kind in ("dimension", "fact"):
        yield svg.rectangle(x + 8, y - 9, 10, 10, kind, round_=2)
        yield svg.text(x + 24, y, kind, "muted")
        x += 46 + 7 * len(kind)
    yield svg.dot(x + 13, y - 4, 3.2, "muted")
    yield svg.text(x + 22, y, "part of the key", "muted")
    yield svg.path(f"M{x + 134:g} {y - 4:g} h30", "muted-line")
    yield svg.text(x + 172, y, "must be found there", "muted")
    yield svg.text(x + 318, y, "Every stored row also has run_day, the morning on which it became known.", "muted")


def _told(table: Table) -> str:
    to = f", refers to {' and '.join(_targets(table))}" if _targets(table) else ""
    return f"{table.kind} {table.name}, key {', '.join(table.key)}{to}"
