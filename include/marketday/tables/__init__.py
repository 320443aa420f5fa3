"""The table catalogue: one place that says what every table and column is.

Validation, documentation, the delivery API and the simulator are derived from it.
"""

from marketday.errors import WarehouseError, listed
from marketday.tables.catalogue import (
    DELIVERED,
    EVENTS,
    LOCATIONS,
    OFFERS,
    PRICES,
    PRODUCTS,
    PROMOTIONS,
    SALES,
    STOCK,
    SUPPLIERS,
    WEATHER,
)
from marketday.tables.forecasting import (
    CALIBRATION,
    EFFECTS,
    EXPLANATIONS,
    FEATURES,
    FORECASTS,
    MODELS,
    ORDERS,
    PREDICTIONS,
    RECENT_DAYS,
)
from marketday.tables.made import MADE
from marketday.tables.recorded import INGESTED, NOTICES, PUBLICATIONS, QUARANTINE, RUNS, VERDICTS
from marketday.tables.refused import DECISIONS, JUDGED_REPLAYS, OUTCOMES, REPLAYS
from marketday.tables.schema import RUN_DAY, Column, Pattern, Table, raw, staged

RAW: dict[str, Table] = {table.name: raw(table) for table in DELIVERED}
"""What delivered rows look like while they are checked; none of these is stored."""
STAGED: dict[str, Table] = {table.name: staged(table) for table in DELIVERED}
ALL: dict[str, Table] = {t.name: t for t in (*DELIVERED, *STAGED.values(), *MADE)}


def get(name: str) -> Table:
    """Return the table of that name.

    Raises:
        WarehouseError: there is none.

    """
    if name not in ALL:
        raise WarehouseError(f"There is no table {name!r}", hint=f"Use one of: {listed(ALL, most=len(ALL))}.")
    return ALL[name]


__all__ = [
    "ALL",
    "CALIBRATION",
    "DECISIONS",
    "DELIVERED",
    "EFFECTS",
    "EVENTS",
    "EXPLANATIONS",
    "FEATURES",
    "FORECASTS",
    "INGESTED",
    "JUDGED_REPLAYS",
    "LOCATIONS",
    "MADE",
    "MODELS",
    "NOTICES",
    "OFFERS",
    "ORDERS",
    "OUTCOMES",
    "PREDICTIONS",
    "PRICES",
    "PRODUCTS",
    "PROMOTIONS",
    "PUBLICATIONS",
    "QUARANTINE",
    "RAW",
    "RECENT_DAYS",
    "REPLAYS",
    "RUNS",
    "RUN_DAY",
    "SALES",
    "STAGED",
    "STOCK",
    "SUPPLIERS",
    "VERDICTS",
    "WEATHER",
    "Column",
    "Pattern",
    "Table",
    "get",
    "raw",
    "staged",
]
