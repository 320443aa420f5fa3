"""A small retailer's mornings from delivery to load, and what becomes of its refused rows."""

import datetime as dt
import io
from typing import Any

import polars as pl
from typer.testing import CliRunner

from marketday import cli, deliveries
from marketday.calls import Call, Result
from marketday.quarantine.states import states
from marketday.settings import Settings
from marketday.steps.execution import execute
from marketday.tables import DECISIONS, OUTCOMES, QUARANTINE, SALES, Table
from marketday.warehouse import Warehouse

SHOP = "kiosk"
FIRST = dt.date(2026, 3, 2)
DEFINITION = "title: Kiosk\ntime_zone: Europe/Berlin\nlate_days: 2\nreplay_days: 5\n"
Rows = list[dict[str, Any]]


def day(number: int) -> dt.date:
    """Business day number 1, 2, 3, …"""
    return FIRST + dt.timedelta(days=number - 1)


def product(name: str, unit: str = "pieces", **more: Any) -> dict[str, Any]:
    return {"product_id": name, "category": "food", "department": "fresh", "unit": unit, **more}


def sale(name: str, of: int, units: float = 2.0, location: str = "north") -> dict[str, Any]:
    """A sale on the day before business day ``of``."""
    return {"location_id": location, "product_id": name, "day": day(of - 1), "units": units}


class Kiosk:
    """The retailer: its deliveries, its mornings and what they leave."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.warehouse = Warehouse.from_settings(settings)
        self.define(DEFINITION)

    def define(self, text: str) -> None:
        self.settings.retailers.mkdir(exist_ok=True)
        (self.settings.retailers / f"{SHOP}.yaml").write_text(text, encoding="utf-8")

    def deliver(self, number: int, **tables: Rows) -> None:
        for name, rows in tables.items():
            content = io.BytesIO()
            pl.DataFrame(rows, infer_schema_length=None).write_parquet(content)
            deliveries.put_table(self.settings.deliveries_url, SHOP, day(number), name, content.getvalue())
        kind = "history" if number == 1 else "daily"
        now = dt.datetime.combine(day(number), dt.time(4), tzinfo=dt.UTC)
        deliveries.complete(self.settings.deliveries_url, SHOP, day(number), kind, now)

    def run(self, number: int, *steps: str) -> dict[str, Result]:
        results: dict[str, Result] = {}
        inputs: dict[str, int] = {}
        for step in steps or ("ingest", "replay", "clean", "load"):
            results[step] = execute(Call(step=step, retailer=SHOP, day=day(number), inputs=inputs), self.settings)
            inputs = inputs | results[step].snapshots
        return results

    def morning(self, number: int, **tables: Rows) -> dict[str, Result]:
        self.deliver(number, **tables)
        return self.run(number)

    def scan(self, table: Table) -> pl.DataFrame:
        return self.warehouse.scan(SHOP, table).sort("run_day", *table.key).collect()

    def sold(self) -> list[tuple[str, float, dt.date]]:
        """Product, units and since when they are known."""
        return self.scan(SALES).select("product_id", "units", "run_day").rows()

    def states(self) -> dict[str, tuple[str, dt.date]]:
        """By product, state and since when."""
        given = (self.warehouse.scan(SHOP, table) for table in (QUARANTINE, DECISIONS, OUTCOMES))
        rows = states(*given).collect().sort("delivery_day", "row")
        names = rows["content"].str.json_path_match("$.product_id")
        return dict(zip(names, rows.select("state", "since").iter_rows(), strict=True))

    def command(self, *words: object) -> str:
        done = CliRunner().invoke(cli.app, ["quarantine", *map(str, words)])
        assert done.exit_code == 0, done.output
        return done.output
