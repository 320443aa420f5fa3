"""The backtest in MLflow: one run, a nested run per origin, with parameters, measures, the report and the scores.

MLflow is imported when it is needed, not before: it takes seconds. It is told to send nothing to its makers.
"""

import datetime as dt
import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from marketday.errors import ServiceError
from marketday.settings import Settings

if TYPE_CHECKING:
    from mlflow import MlflowClient

_LONGEST_PARAMETER = 6000  # MLflow's own limit
_TRIES = "1"  # an address that does not answer is said within seconds, not after MLflow's minutes


class Tracker(NamedTuple):
    """A tracking store that has answered, and the experiment of one retailer in it."""

    client: "MlflowClient"
    experiment: str
    url: str


def connect(settings: Settings, retailer: str) -> Tracker:
    """Open the tracking store and make sure that the retailer's experiment is there.

    Raises:
        ServiceError: it does not answer, or its address is not one of MLflow's.

    """
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", _TRIES)
    from mlflow import MlflowClient  # noqa: PLC0415  takes seconds, and reads the variables above when it is imported

    logging.getLogger("mlflow").setLevel(logging.WARNING)  # the making of a new database is no news

    url, name = settings.mlflow_url, f"backtest {retailer}"
    # A server knows where it keeps artefacts; a database does not, and would take the folder of whoever calls first.
    artefacts = None if url.startswith("http") else (settings.home / "mlflow").resolve().as_uri()
    try:
        if url == f"sqlite:///{(settings.home / 'mlflow.db').resolve()}":
            settings.home.mkdir(parents=True, exist_ok=True)
        client = MlflowClient(tracking_uri=url)
        found = client.get_experiment_by_name(name)
        experiment = found.experiment_id if found else client.create_experiment(name, artifact_location=artefacts)
    except Exception as error:
        raise ServiceError(
            f"MLflow at {url} does not take the backtest: {type(error).__name__}: {str(error)[:300]}",
            hint="Set MARKETDAY_MLFLOW to a server or database that answers, or unset it for a file of its own; "
            "--no-mlflow goes without.",
        ) from error
    return Tracker(client, experiment, url)


def log(
    tracker: Tracker,
    *,
    name: str,
    parameters: Mapping[str, Any],
    measures: Mapping[str, Mapping[str, float]],
    artefacts: list[Path],
) -> str:
    """Log one backtest and return its run's id.

    ``measures`` are by origin, and by `mean` for the run itself.

    Raises:
        ServiceError: the store refused; what was computed is in its folder, and the command logs it again.

    """
    client = tracker.client
    run = None
    try:
        run = _start(tracker, name, parameters, measures["mean"], parent=None)
        for origin, figures in measures.items():
            if origin != "mean":
                nested = _start(tracker, f"{name} {origin}", {**parameters, "origin": origin}, figures, parent=run)
                client.set_terminated(nested)
        for path in artefacts:
            client.log_artifact(run, str(path))
        client.set_terminated(run)
    except Exception as error:
        if run is not None:
            client.set_terminated(run, status="FAILED")
        raise ServiceError(
            f"MLflow at {tracker.url} did not take the backtest: {type(error).__name__}: {str(error)[:300]}",
            hint="Nothing is lost: run the same command again; origins that are done are not computed again.",
        ) from error
    return run


def _start(
    tracker: Tracker, name: str, parameters: Mapping[str, Any], figures: Mapping[str, float], parent: str | None
) -> str:
    from mlflow.entities import Metric, Param  # noqa: PLC0415  as above

    tags = {"mlflow.parentRunId": parent} if parent else {}
    run: str = tracker.client.create_run(tracker.experiment, run_name=name, tags=tags).info.run_id
    now = int(time.time() * 1000)
    tracker.client.log_batch(
        run,
        metrics=[Metric(key, float(value), now, 0) for key, value in figures.items()],
        params=[Param(key, str(value)[:_LONGEST_PARAMETER]) for key, value in parameters.items()],
    )
    return run


def measures(headline: Mapping[str, Any], costs: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """Name the headline's figures for MLflow: `wape`, `wape_all_rows`, `baseline_wape`, by origin and `mean`.

    ``costs`` are further figures by origin, such as `train_seconds`.
    """
    named: dict[str, dict[str, float]] = {}
    for rows, systems in headline.items():
        for system, origins in systems.items():
            for origin, figures in origins.items():
                before = "" if system == "model" else "baseline_"
                after = "" if rows == "without stock-out" else "_all_rows"
                known = {f"{before}{key}{after}": value for key, value in figures.items() if value is not None}
                named.setdefault(origin, {}).update(known)
    for origin, figures in costs.items():
        named.setdefault(origin, {}).update(figures)
    return named


def run_name(retailer: str, origins: tuple[dt.date, ...]) -> str:
    """Return a run's name for people."""
    span = f"{origins[0]}" if len(origins) == 1 else f"{origins[0]} to {origins[-1]}, {len(origins)} origins"
    return f"{retailer} {span}"
