"""What every way of running a step as a task shares: the call that a task makes of its place in the run."""

from collections.abc import Iterable, Mapping
from typing import Any

from marketday.calls import Call, StepVersion
from operators.business_day import business_day


def call_of(
    context: Any,
    *,
    step: str,
    retailer: str,
    block: str | None = None,
    parameters: Mapping[str, Any] | None = None,
    version: StepVersion = 1,
) -> Call:
    """Return the step's call for the run's business day; it reads what the tasks directly before have left behind.

    Raises:
        RetailerError: the run has no business day.

    """
    upstream = context["task"].upstream_task_ids
    before = context["ti"].xcom_pull(task_ids=sorted(upstream)) if upstream else []
    return Call(
        step=step,
        version=version,
        retailer=retailer,
        day=business_day(context, retailer),
        block=block,
        inputs=merged_snapshots(before),
        params=dict(parameters or {}),
    )


def merged_snapshots(returned: Iterable[object]) -> dict[str, int]:
    """Return the latest version of each table among what tasks have returned; only steps' results have snapshots."""
    merged: dict[str, int] = {}
    for value in returned:
        snapshots = value.get("snapshots", {}) if isinstance(value, Mapping) else {}
        for table, version in snapshots.items():
            merged[table] = max(version, merged.get(table, version))
    return merged


def cleared(context: Any) -> bool:
    """Whether somebody has cleared the task: Airflow then grants it its retries anew, on top of the tries so far.

    This holds for the retries of a cleared task too. A running job is joined all the same; what must not happen is
    that the job's loss brings back the result that the clearing was to replace.
    """
    return bool(context["ti"].max_tries > context["task"].retries)
