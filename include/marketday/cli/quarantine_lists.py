"""What `marketday quarantine list` shows: counts, or single rows."""

import json
from typing import TYPE_CHECKING, Any

import typer
from rich.markup import escape

from marketday.cli.console import console

if TYPE_CHECKING:
    import polars as pl


def show_groups(name: str, found: "pl.LazyFrame", *, as_json: bool) -> None:
    """Count the rows (see :func:`marketday.quarantine.states.states`) by table, rule, delivery and state."""
    import polars as pl
    from rich.table import Table

    by = ("table", "reason", "delivery_day", "state")
    first = pl.col("row", "message").sort_by("row").first().name.prefix("example_")
    groups = found.group_by(by).agg(pl.len().alias("rows"), first).sort(by).collect()
    if as_json:
        _print_json({"retailer": name, "rows": int(groups["rows"].sum()), "groups": groups.to_dicts()})
        return
    shown = Table("table", "rule", "delivery", "state", "rows", "for example")
    for each in groups.iter_rows(named=True):
        example = f"row {each['example_row']}: {each['example_message']}"
        shown.add_row(*(str(each[column]) for column in by), f"{each['rows']:,}", escape(example))
    if groups.height:
        console.print(shown)
    console.print(
        f"{int(groups['rows'].sum()):,} refused rows of {name}; --rows lists them, `explain` tells about one."
    )


def show_rows(name: str, found: "pl.LazyFrame", limit: int, *, as_json: bool) -> None:
    """List single rows, the newest first, at most ``limit``."""
    import polars as pl
    from rich.table import Table

    total = found.select(pl.len()).collect().item()
    newest = found.sort("delivery_day", "table", "row", descending=[True, False, False]).head(limit)
    identity = pl.format("{}/{}/{}", "delivery_day", "table", "row").alias("id")
    rows = newest.select(identity, pl.exclude("delivery_day", "table", "row")).collect()
    if as_json:
        _print_json({"retailer": name, "rows": total, "shown": rows.to_dicts()})
        return
    shown = Table("id", "rule", "state", "since", "what was wrong")
    for each in rows.iter_rows(named=True):
        shown.add_row(each["id"], each["reason"], each["state"], str(each["since"]), escape(each["message"]))
    if total:
        console.print(shown)
    console.print(f"{rows.height:,} of {total:,} refused rows of {name}.")


def _print_json(what: dict[str, Any]) -> None:
    typer.echo(json.dumps(what, default=str, ensure_ascii=False, indent=1))
