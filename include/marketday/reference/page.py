"""The page about all tables, in Markdown: the words of `tables.md` beside this file, and what the catalogue says."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from string import Template

from marketday.reference import markdown
from marketday.reference.flow import Use, uses
from marketday.reference.markdown import codes
from marketday.tables import DELIVERED, MADE, RUNS, STAGED, Column, Table
from marketday.tables.words import example_words, rule_words, type_words

_TEMPLATE = Path(__file__).with_name("tables.md")


def page() -> str:
    """Return the page."""
    used = uses()
    return Template(_TEMPLATE.read_text(encoding="utf-8")).substitute(
        index=_index((*DELIVERED, *MADE), used),
        delivered=_sections(DELIVERED, used),
        made=_sections(MADE, used),
        staged=codes(table.name for table in STAGED.values()),
        staged_use=" ".join({use_words(table, used[table.name]): None for table in STAGED.values()}),
    )


def use_words(table: Table, use: Use) -> str:
    """Return who writes and who reads the table, in a sentence."""
    if table is RUNS:
        return "Written for every step when it ends."
    written = f"Written by {codes(use.writes)}" if use.writes else "Written by no step"
    return f"{written}, read by {codes(use.reads)}." if use.reads else f"{written}, read by no step."


def _index(tables: Iterable[Table], used: dict[str, Use]) -> str:
    rows = [
        (
            f"[{table.name}](#{table.name})",
            _standing(table),
            table.description,
            "every step" if table is RUNS else codes(used[table.name].writes),
            codes(used[table.name].reads),
        )
        for table in tables
    ]
    return markdown.table(("table", "is", "what it holds", "written by", "read by"), rows)


def _standing(table: Table) -> str:
    """Return where the table comes from."""
    return "made" if table.kind == "made" else f"delivered, a {table.kind}"


def _sections(tables: Iterable[Table], used: dict[str, Use]) -> str:
    return "\n\n".join(_section(table, used) for table in tables)


def _section(table: Table, used: dict[str, Use]) -> str:
    key = ", ".join(f"`{name}`" for name in table.key)
    remarks = [
        f"{_standing(table).capitalize()}. Key: {key}.",
        use_words(table, used[table.name]),
        "A history must bring it." if table.required else "",
        "Each delivery that brings it brings the whole plan from its day on." if table.planned else "",
        "Written block by block." if table.blocked else "",
    ]
    header = ("column", "key", "type", "unit", "rule", "example", "what it is")
    rows = [_column(column, table) for column in table.columns]
    told = " ".join(remark for remark in remarks if remark)
    return f"### {table.name}\n\n{table.description}\n\n{told}\n\n{markdown.table(header, rows)}"


def _column(column: Column, table: Table) -> Sequence[str]:
    example = example_words(column, table)
    return (
        f"`{column.name}`",
        "key" if column.name in table.key else "",
        type_words(column),
        column.unit,
        rule_words(column),
        f"`{example}`" if example else "(empty)",
        column.description,
    )
