"""The compiler: a retailer's definition becomes its DAGs."""

import datetime as dt
from typing import Any

from airflow.sdk import DAG, BaseOperator, CronPartitionTimetable, Param, chain, task
from airflow.sdk.exceptions import AirflowFailException

from marketday import settings
from marketday.retailers import Retailer
from marketday.settings import next_larger
from operators import runbooks, timeouts
from operators.releases import release_of
from operators.sensors import DeliverySensor
from operators.stages import (
    CalibrateOperator,
    CheckpointOperator,
    CleanOperator,
    CompactOperator,
    FeaturesOperator,
    FsckOperator,
    GateOperator,
    IngestOperator,
    LoadOperator,
    OrdersOperator,
    PredictOperator,
    PublishOperator,
    ReplayOperator,
    TrainOperator,
    VacuumOperator,
    VerifyOperator,
)
from operators.step import StepOperator

SLACK = dt.timedelta(minutes=10)
"""A task's time beyond its step's own limit: for the step service to end the step and say so."""

RUN_LIMIT = dt.timedelta(hours=20)
"""A run ends before the next morning's begins, whatever it waits for."""

DEFAULTS: dict[str, Any] = {
    "owner": "marketday",
    "retries": 3,
    "retry_delay": dt.timedelta(seconds=5),
    "retry_exponential_backoff": 4.0,
    "max_retry_delay": dt.timedelta(minutes=5),
    "execution_timeout": SLACK,
}

DAY = Param(
    None,
    type=["null", "string"],
    format="date",
    title="Business day",
    description="Only for a run that is started by hand without a partition key.",
)


@task
def blocks(features: dict[str, Any]) -> list[str]:
    """List the blocks of locations that the step `features` has made."""
    made: list[str] = features["facts"]["blocks"]
    if not made:
        # An empty list would skip every task that follows and leave the run green.
        raise AirflowFailException("The step features made no blocks. What to do: see its log, and this task's Docs.")
    return made


def daily_pipeline(retailer: Retailer) -> DAG:
    """Compile the daily run: the stages in the order of the morning."""
    with _dag(retailer, "daily", retailer.schedule) as dag:
        features = _task(FeaturesOperator, retailer)
        operator, arguments = _operator(PredictOperator, retailer)
        predict = operator.partial(**arguments, map_index_template="{{ task.block }}").expand(
            block=blocks.override(doc_md=runbooks.of_task("blocks"))(features.output)
        )
        chain(
            DeliverySensor(
                task_id="wait_for_delivery", retailer=retailer.name, doc_md=runbooks.of_task("wait_for_delivery")
            ),
            # Also after a sensor that was skipped, which is how a degraded morning begins.
            _task(IngestOperator, retailer, trigger_rule="none_failed"),
            _task(ReplayOperator, retailer),
            _task(CleanOperator, retailer),
            _task(GateOperator, retailer, step="gate_clean"),
            _task(LoadOperator, retailer),
            _task(TrainOperator, retailer, parameters={"only_if_missing": True}),
            features,
            predict,
            _task(CalibrateOperator, retailer),
            _task(GateOperator, retailer, step="gate_forecast"),
            *(_orders(retailer) if retailer.orders else ()),
            _task(PublishOperator, retailer),
            _task(VerifyOperator, retailer),
        )
    return dag


def _orders(retailer: Retailer) -> tuple[BaseOperator, BaseOperator]:
    return _task(OrdersOperator, retailer), _task(GateOperator, retailer, step="gate_orders")


def training_pipeline(retailer: Retailer) -> DAG:
    """Compile the training run; its business day is the first on which the model may be used."""
    with _dag(retailer, "training", retailer.training.schedule) as dag:
        _task(TrainOperator, retailer)
    return dag


def maintenance_pipeline(retailer: Retailer) -> DAG:
    """Compile the run that looks after the stored files; what is damaged is neither compacted nor vacuumed."""
    with _dag(retailer, "maintenance", retailer.maintenance.schedule) as dag:
        chain(
            *(_task(stage, retailer) for stage in (FsckOperator, CompactOperator, CheckpointOperator, VacuumOperator))
        )
    return dag


def _dag(retailer: Retailer, kind: str, cron: str) -> DAG:
    return DAG(
        f"{kind}__{retailer.name}",
        description=f"{retailer.title}: {kind} run",
        schedule=CronPartitionTimetable(cron, timezone=retailer.time_zone, key_format=f"{retailer.name}|%Y-%m-%d"),
        catchup=False,
        max_active_runs=1,
        dagrun_timeout=RUN_LIMIT,
        on_failure_callback=timeouts.run_failed,
        default_args=DEFAULTS,
        params={"day": DAY},
        tags=["marketday", retailer.name, kind],
        doc_md=runbooks.of_dag(kind, **{**dict(retailer), "schedule": cron}),
    )


def _task(stage: type[StepOperator], retailer: Retailer, *, step: str = "", **more: Any) -> BaseOperator:
    """Make a stage's task, whatever the retailer's steps are carried out by."""
    operator, arguments = _operator(stage, retailer, step=step)
    return operator(**arguments, **more)


def _operator(
    stage: type[StepOperator], retailer: Retailer, *, step: str = ""
) -> tuple[type[BaseOperator], dict[str, Any]]:
    """Return what carries out a stage for the retailer, and what it is given."""
    name = step or stage.step
    size, version, service = release_of(name, retailer)
    # A step that ran out of memory is tried again in the next larger class, which has the longer limit.
    limit = settings.load().resource_classes[next_larger(size) or size].seconds
    arguments = {
        "task_id": name,
        "step": name,
        "retailer": retailer.name,
        "version": version,
        "execution_timeout": dt.timedelta(seconds=limit) + SLACK,
        "doc_md": runbooks.of_task(name),
    }
    if retailer.runner == "pod":
        from operators.pod import PodStepOperator  # noqa: PLC0415  Kubernetes' client takes a second to import

        return PodStepOperator, {**arguments, "size": size}
    return stage, {**arguments, "service": service, "runner": retailer.runner}
