"""`marketday tables`: what is delivered and made, and what each column is."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from marketday.cli.console import console


def tables(
    name: Annotated[str, typer.Argument(metavar="[TABLE]", help="One table to show; without it, all are listed.")] = "",
    docs: Annotated[
        Path | None,
        typer.Option("--docs", metavar="FOLDER", help="Write the page of all tables and its pictures there instead."),
    ] = None,
) -> None:
    """List the tables of the catalogue, or show one: columns, types, units, rules, and which steps use it.

    A table is delivered (a dimension or a fact) or made. Every stored table also has `run_day`, the business day whose
    run wrote the row: what was known on a morning is, for each key, the row with the latest run_day until then.

    Example: marketday tables sales
    """
    from marketday import reference

    if docs is not None:
        for path in reference.write(docs):
            console.print(f"Written: {path}")
    elif name:
        _show(name)
    else:
        _list()


def _list() -> None:
    from marketday import tables as catalogue

    shown = Table("table", "is", "key", "what it holds")
    for table in (*catalogue.DELIVERED, *catalogue.MADE):
        shown.add_row(f"[bold]{table.name}[/]", table.kind, ", ".join(table.key), escape(table.description))
    console.print(shown)
    console.print("Each delivered table has a twin staged_…, checked and not yet loaded. More: marketday tables TABLE")


def _show(name: str) -> None:
    from marketday import tables as catalogue
    from marketday.reference.flow import uses
    from marketday.reference.page import use_words
    from marketday.tables.words import example_words, rule_words, type_words

    table = catalogue.get(name)
    shown = Table("column", "type", "unit", "rule", "example", "what it is")
    for column in table.columns:
        words = (type_words(column), column.unit, rule_words(column), example_words(column, table), column.description)
        marked = f"[bold]{column.name}[/]" if column.name in table.key else column.name
        shown.add_row(marked, *map(escape, words))
    console.print(f"[bold]{table.name}[/], {table.kind}: {escape(table.description)}")
    console.print(shown)
    console.print(f"Bold: the key. {use_words(table, uses()[table.name])}")
