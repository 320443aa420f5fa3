"""The compiler: a retailer's definition becomes its DAGs."""

import datetime as dt
from typing import Any

from airflow.sdk import DAG, CronPartitionTimetable, Param, chain, task
from airflow.sdk.exceptions import AirflowFailException

from marketday.retailers import Retailer
from marketday.settings import RESOURCE_CLASSES, Size
from operators import runbooks
from operators.sensors import DeliverySensor
from operators.stages import (
    CalibrateOperator,
    CleanOperator,
    FeaturesOperator,
    GateOperator,
    IngestOperator,
    LoadOperator,
    OrdersOperator,
    PredictOperator,
    PublishOperator,
    TrainOperator,
    VerifyOperator,
)

# At least what the steps themselves declare (a test compares them): reading that would import what they compute with.
SIZES: dict[str, Size] = {
    "ingest": "M",
    "clean": "M",
    "gate_clean": "M",
    "load": "M",
    "train": "L",
    "features": "L",
    "predict": "L",
    "calibrate": "M",
    "gate_forecast": "M",
    "orders": "M",
    "gate_orders": "M",
    "publish": "S",
    "verify": "S",
}

SLACK = dt.timedelta(minutes=10)
"""A task's time beyond its step's own limit: for a free slot, and for the step service to end the step and say so."""

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
        features = FeaturesOperator(**_of("features", retailer))
        predict = PredictOperator.partial(**_of("predict", retailer), map_index_template="{{ task.block }}").expand(
            block=blocks.override(doc_md=runbooks.of_task("blocks"))(features.output)
        )
        chain(
            DeliverySensor(
                task_id="wait_for_delivery", retailer=retailer.name, doc_md=runbooks.of_task("wait_for_delivery")
            ),
            # Also after a sensor that was skipped, which is how a degraded morning begins.
            IngestOperator(**_of("ingest", retailer), trigger_rule="none_failed"),
            CleanOperator(**_of("clean", retailer)),
            GateOperator(**_of("gate_clean", retailer), gate="clean"),
            LoadOperator(**_of("load", retailer)),
            TrainOperator(**_of("train", retailer), parameters={"only_if_missing": True}),
            features,
            predict,
            CalibrateOperator(**_of("calibrate", retailer)),
            GateOperator(**_of("gate_forecast", retailer), gate="forecast"),
            *(_orders(retailer) if retailer.orders else ()),
            PublishOperator(**_of("publish", retailer)),
            VerifyOperator(**_of("verify", retailer)),
        )
    return dag


def _orders(retailer: Retailer) -> tuple[OrdersOperator, GateOperator]:
    gate = GateOperator(**_of("gate_orders", retailer), gate="orders")
    return OrdersOperator(**_of("orders", retailer)), gate


def training_pipeline(retailer: Retailer) -> DAG:
    """Compile the training run; its business day is the first on which the model may be used."""
    with _dag(retailer, "training", retailer.training.schedule) as dag:
        TrainOperator(**_of("train", retailer))
    return dag


def _dag(retailer: Retailer, kind: str, cron: str) -> DAG:
    return DAG(
        f"{kind}__{retailer.name}",
        description=f"{retailer.title}: {kind} run",
        schedule=CronPartitionTimetable(cron, timezone=retailer.time_zone, key_format=f"{retailer.name}|%Y-%m-%d"),
        catchup=False,
        max_active_runs=1,
        dagrun_timeout=RUN_LIMIT,
        default_args=DEFAULTS,
        params={"day": DAY},
        tags=["marketday", retailer.name, kind],
        doc_md=runbooks.of_dag(kind, **{**dict(retailer), "schedule": cron}),
    )


def _of(step: str, retailer: Retailer) -> dict[str, Any]:
    """Return what every task of a step is given."""
    size = retailer.resources.get(step, SIZES[step])
    return {
        "task_id": step,
        "retailer": retailer.name,
        "runner": retailer.runner,
        "execution_timeout": dt.timedelta(seconds=RESOURCE_CLASSES[size].seconds) + SLACK,
        "doc_md": runbooks.of_task(step),
    }
