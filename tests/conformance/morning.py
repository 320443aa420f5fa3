"""A whole morning of the small shop, from its delivery to `verify`, then every step that is no part of a morning."""

import datetime as dt
import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import small_shop
from small_shop import DAY

from marketday import deliveries, steps
from marketday.calls import Call, Result
from marketday.errors import MarketdayError
from marketday.settings import Settings
from marketday.warehouse import Warehouse

SHOP = "shop"
DEFINITION = """\
title: Small shop
time_zone: Europe/Berlin
horizon: 14
block_size: 2
training: {rounds: 60, leaves: 8, history_days: 120}
orders: {service_level: 0.95}
"""
PARAMS: Mapping[str, dict[str, object]] = {"train": {"only_if_missing": True}}
"""Parameters that a step is called with; one that cannot do without has its line here."""
BLOCKS: Mapping[str, tuple[str, ...]] = {"predict": ("000", "001")}
"""Steps that are called once per block of locations, and the small shop's blocks."""

Runner = Callable[[Call, Settings], Result]


@dataclass(frozen=True)
class Morning:
    """What every call of the morning came to."""

    settings: Settings
    outcomes: dict[str, list[tuple[Call, Result | MarketdayError]]]
    """By step, one per block."""
    changed: dict[str, set[str]]
    """Tables that have another version after the step than before."""

    def results(self, step: str) -> Iterator[tuple[Call, Result]]:
        """Return the step's calls and their results; what failed is raised."""
        for call, came_to in self.outcomes[step]:
            if isinstance(came_to, MarketdayError):
                raise came_to
            yield call, came_to


def prepared(home: Path) -> Settings:
    """Return settings of the shop's own, with its delivery of the day accepted."""
    (home / "retailers").mkdir()
    (home / "retailers" / f"{SHOP}.yaml").write_text(DEFINITION, encoding="utf-8")
    settings = Settings(home=home, retailers=home / "retailers", dask_scheduler="threads")
    for name, rows in delivered().items():
        buffer = io.BytesIO()
        rows.write_parquet(buffer)
        deliveries.put_table(settings.deliveries_url, SHOP, DAY, name, buffer.getvalue())
    early = dt.datetime.combine(DAY, dt.time(4), tzinfo=dt.UTC)
    deliveries.complete(settings.deliveries_url, SHOP, DAY, "history", early)
    return settings


def delivered() -> dict[str, pl.DataFrame]:
    """Return the shop's tables, with a supplier who offers all that it sells, and a sale of what it does not list."""
    given = small_shop.facts()
    unheard_of = given["sales"].tail(1).with_columns(product_id=pl.lit("eels"))
    terms = {"cost": 1.0, "pack_size": 6.0, "minimum_packs": 0, "lead_time": 1, "delivery_weekdays": ""}
    offers = [{"supplier_id": "farm", "product_id": name, "day": DAY, **terms} for name in small_shop.PRODUCTS]
    return given | {
        "products": given["products"].with_columns(supplier_id=pl.lit("farm")),
        "sales": pl.concat([given["sales"], unheard_of]),
        "suppliers": pl.DataFrame({"supplier_id": ["farm"], "name": ["Farm"]}),
        "offers": pl.DataFrame(offers),
    }


def carried_out(settings: Settings, run: Runner) -> Morning:
    """Carry out every registered step once (or once per block), each on what those before it have left."""
    outcomes: dict[str, list[tuple[Call, Result | MarketdayError]]] = {}
    changed: dict[str, set[str]] = {}
    inputs: dict[str, int] = {}
    for name in steps.names():
        calls = [
            Call(step=name, retailer=SHOP, day=DAY, block=block, inputs=inputs, params=PARAMS.get(name, {}))
            for block in BLOCKS.get(name, (None,))
        ]
        before = versions(settings)
        outcomes[name] = [(call, outcome(run, call, settings)) for call in calls]
        changed[name] = {table for table, version in versions(settings).items() if version != before[table]}
        for _, came_to in outcomes[name]:
            if isinstance(came_to, Result):
                inputs = inputs | came_to.snapshots
    return Morning(settings, outcomes, changed)


def versions(settings: Settings) -> dict[str, int]:
    """Return the version of every table that any step reads or writes, in the shop's warehouse."""
    warehouse, known = Warehouse.from_settings(settings), map(steps.get, steps.names())
    declared = {table for step in known for table in (*step.reads, *step.writes)}
    return {table.name: warehouse.version(SHOP, table) for table in declared}


def outcome(run: Runner, call: Call, settings: Settings) -> Result | MarketdayError:
    """Return the call's result, or what it raised."""
    try:
        return run(call, settings)
    except MarketdayError as error:
        return error
