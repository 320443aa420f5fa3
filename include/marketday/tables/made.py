"""The tables that Marketday makes, in the order of the morning."""

from marketday.tables.forecasting import (
    CALIBRATION,
    EXPLANATIONS,
    FEATURES,
    FORECASTS,
    MODELS,
    ORDERS,
    PREDICTIONS,
)
from marketday.tables.recorded import INGESTED, NOTICES, PUBLICATIONS, QUARANTINE, RUNS, VERDICTS
from marketday.tables.refused import DECISIONS, JUDGED_REPLAYS, OUTCOMES, REPLAYS
from marketday.tables.schema import Table

MADE: tuple[Table, ...] = (
    INGESTED,
    QUARANTINE,
    NOTICES,
    DECISIONS,
    REPLAYS,
    JUDGED_REPLAYS,
    OUTCOMES,
    FEATURES,
    MODELS,
    PREDICTIONS,
    EXPLANATIONS,
    CALIBRATION,
    FORECASTS,
    ORDERS,
    VERDICTS,
    PUBLICATIONS,
    RUNS,
)
