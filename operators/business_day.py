"""Which business day a DAG run is for."""

import datetime as dt
from collections.abc import Mapping
from typing import Any

from marketday.errors import RetailerError


def business_day(context: Mapping[str, Any], retailer: str) -> dt.date:
    """Read the day from the run's partition key ``retailer|YYYY-MM-DD``, else from ``day`` in its conf.

    Raises:
        RetailerError: the run has neither, or they are for another retailer or no day.

    """
    run = context["dag_run"]
    key = run.partition_key
    name, _, day = key.partition("|") if key else (retailer, "|", (run.conf or {}).get("day"))
    given = f"partition key {key!r}" if key else f"conf {run.conf!r}"
    if name != retailer:
        raise RetailerError(f"{given} is not for {retailer}", hint=f"Trigger the run with {retailer}|YYYY-MM-DD.")
    try:
        return dt.date.fromisoformat(day or "")
    except (TypeError, ValueError):
        raise RetailerError(
            f"The run has no business day: {given}",
            hint=f'Trigger it with the partition key {retailer}|YYYY-MM-DD or the conf {{"day": "YYYY-MM-DD"}}.',
        ) from None
