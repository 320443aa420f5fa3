"""Every definition becomes three DAGs, complete with limits, retries and runbooks; a wrong one hurts no other."""

import datetime as dt
import inspect
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import CronPartitionTimetable
from airflow.sdk.exceptions import AirflowFailException
from airflow.serialization.serialized_objects import DagSerialization

from marketday import retailers, steps
from marketday.client import StepServiceClient
from marketday.retailers import Retailer
from marketday.settings import RESOURCE_CLASSES, next_larger
from operators.pipeline import blocks, daily_pipeline, maintenance_pipeline, training_pipeline
from operators.releases import STEPS, release_of
from operators.triggers import LONG_POLL

ROOT = Path(__file__).resolve().parents[2]

DEFINED = [retailers.load(name, ROOT / "include" / "retailers") for name in retailers.names(ROOT / "include/retailers")]

MORNING = [
    "wait_for_delivery",
    "ingest",
    "replay",
    "clean",
    "gate_clean",
    "load",
    "train",
    "features",
    "blocks",
    "predict",
    "calibrate",
    "gate_forecast",
    "orders",
    "gate_orders",
    "publish",
    "verify",
]


def parsed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> DagBag:
    """Parse the folder `dags` as Airflow does, for the definitions in ``folder``."""
    monkeypatch.setenv("MARKETDAY_RETAILERS", str(folder))
    return DagBag(ROOT / "dags", safe_mode=True, bundle_path=ROOT / "dags")


@pytest.fixture
def definitions(tmp_path: Path) -> Path:
    return Path(shutil.copytree(ROOT / "include" / "retailers", tmp_path / "retailers"))


def test_every_definition_has_a_daily_a_training_and_a_maintenance_dag(definitions, monkeypatch):
    bag = parsed(definitions, monkeypatch)
    assert bag.import_errors == {}
    assert set(bag.dag_ids) == {
        f"{kind}__{name}" for kind in ("daily", "training", "maintenance") for name in retailers.names(definitions)
    }


def test_a_new_definition_is_all_that_a_new_retailer_needs(definitions, monkeypatch):
    (definitions / "corner.yaml").write_text("title: Corner shop\ntime_zone: Europe/Berlin\n", encoding="utf-8")
    bag = parsed(definitions, monkeypatch)
    assert {"daily__corner", "training__corner", "maintenance__corner"} <= set(bag.dag_ids)


def test_a_typo_is_one_import_error_and_leaves_the_other_retailers_alone(definitions, monkeypatch):
    good = set(parsed(definitions, monkeypatch).dag_ids)
    bad = definitions / "corner.yaml"
    bad.write_text("title: Corner shop\ntime_zone: Europe/Berlin\nhorizn: 3\n", encoding="utf-8")
    bag = parsed(definitions, monkeypatch)
    assert set(bag.dag_ids) == good
    assert list(bag.import_errors) == ["definitions.py"]
    told = bag.import_errors["definitions.py"]
    assert f"{bad}:3: horizn" in told
    assert "did you mean `horizon`? Allowed: name, title, time_zone" in told


@pytest.mark.parametrize(
    "content", ['title: A\ntime_zone: Europe/Berlin\nschedule: "99 4 * * *"\n', "title: [\n", "\x00", ""]
)
def test_whatever_a_definition_holds_the_others_are_left_alone(definitions, monkeypatch, content):
    (definitions / "corner.yaml").write_text(content, encoding="utf-8")
    bag = parsed(definitions, monkeypatch)
    assert "daily__simulated" in bag.dag_ids
    assert list(bag.import_errors) == ["definitions.py"]


def test_a_folder_without_definitions_says_which_setting_names_it(tmp_path, monkeypatch):
    bag = parsed(tmp_path / "nowhere", monkeypatch)
    assert "MARKETDAY_RETAILERS" in bag.import_errors["definitions.py"]


def test_the_morning_is_in_order(simulated):
    dag = daily_pipeline(simulated)
    assert [task.task_id for task in dag.topological_sort()] == MORNING


def test_no_blocks_at_all_fail_the_run_rather_than_skip_what_follows():
    assert blocks.function({"facts": {"blocks": ["b1", "b2"]}}) == ["b1", "b2"]
    with pytest.raises(AirflowFailException, match="no blocks"):
        blocks.function({"facts": {"blocks": []}})


def test_a_retailer_without_orders_publishes_after_the_forecasts_gate(simulated):
    dag = daily_pipeline(simulated.model_copy(update={"orders": None}))
    assert set(MORNING) - set(dag.task_ids) == {"orders", "gate_orders"}
    assert dag.get_task("publish").upstream_task_ids == {"gate_forecast"}


def test_predict_reads_what_features_made_and_is_mapped_over_its_blocks(simulated):
    predict = daily_pipeline(simulated).get_task("predict")
    assert predict.is_mapped
    assert predict.upstream_task_ids == {"features", "blocks"}


@pytest.mark.parametrize("compiled", [daily_pipeline, training_pipeline, maintenance_pipeline])
def test_every_task_has_retries_a_limit_and_a_runbook(simulated, compiled):
    dag = compiled(simulated)
    assert dag.doc_md.startswith("# ")
    assert "{" not in dag.doc_md.replace('{"day"', "")
    assert dag.dagrun_timeout > max(task.execution_timeout for task in dag.tasks)
    for task in dag.tasks:
        assert task.retries == 3
        assert task.execution_timeout > dt.timedelta(0)
        assert "| what you see | what to do |" in task.doc_md
        assert "**Clearing**" in task.doc_md


def test_runs_are_partitioned_by_retailer_and_day_in_the_retailers_time_zone(simulated):
    dag = daily_pipeline(simulated)
    assert dag.timetable == CronPartitionTimetable(
        "0 4 * * *", timezone="Europe/Berlin", key_format="simulated|%Y-%m-%d"
    )
    scheduled = DagSerialization.from_dict(DagSerialization.to_dict(dag)).timetable
    first = dt.datetime(2025, 3, 3, tzinfo=dt.UTC)
    [run] = scheduled.iter_partition_dagrun_infos(earliest=first, latest=first + dt.timedelta(hours=12))
    assert run.partition_key == simulated.partition_key(dt.date(2025, 3, 3))
    assert (dag.catchup, dag.max_active_runs) == (False, 1)


def test_a_training_run_begins_before_the_first_morning_that_may_use_its_model(simulated):
    timetable = DagSerialization.from_dict(DagSerialization.to_dict(training_pipeline(simulated))).timetable
    sunday = dt.datetime(2025, 3, 2, tzinfo=dt.UTC)
    [run] = timetable.iter_partition_dagrun_infos(earliest=sunday, latest=sunday + dt.timedelta(days=2))
    assert run.partition_key == "simulated|2025-03-03"
    assert run.run_after.astimezone(simulated.zone).hour < 4


def test_what_is_damaged_is_neither_compacted_nor_vacuumed(simulated):
    dag = maintenance_pipeline(simulated)
    assert [task.task_id for task in dag.topological_sort()] == ["fsck", "compact", "checkpoint", "vacuum"]
    assert dag.get_task("vacuum").upstream_task_ids == {"checkpoint"}


def test_maintenance_runs_once_a_week_when_no_morning_does(simulated):
    timetable = DagSerialization.from_dict(DagSerialization.to_dict(maintenance_pipeline(simulated))).timetable
    monday = dt.datetime(2025, 3, 3, tzinfo=dt.UTC)
    [run] = timetable.iter_partition_dagrun_infos(earliest=monday, latest=monday + dt.timedelta(days=7))
    assert run.partition_key == "simulated|2025-03-09"
    assert run.run_after.astimezone(simulated.zone).time() > simulated.deadline


def test_a_larger_resource_class_lengthens_the_tasks_limit(simulated):
    larger = daily_pipeline(simulated.model_copy(update={"resources": {"clean": "XL"}}))
    assert larger.get_task("clean").execution_timeout > daily_pipeline(simulated).get_task("clean").execution_timeout


@pytest.mark.parametrize("step", STEPS)
def test_the_pipeline_calls_the_steps_as_they_declare_themselves(step):
    declared = steps.get(step)
    assert (STEPS[step].size, STEPS[step].version, STEPS[step].service) == (declared.size, declared.version, "")


@pytest.mark.parametrize("compiled", [daily_pipeline, training_pipeline, maintenance_pipeline])
@pytest.mark.parametrize("retailer", DEFINED, ids=lambda retailer: retailer.name)
def test_the_time_limits_lie_one_inside_the_other(retailer, compiled):
    """HTTP call < step, also in the larger class of its next attempt < task < run."""
    dag = compiled(retailer)
    http_call = LONG_POLL + inspect.signature(StepServiceClient).parameters["timeout"].default
    for step in set(dag.task_ids) & set(STEPS):
        size = release_of(step, retailer).size
        task = dag.get_task(step).execution_timeout
        assert http_call < RESOURCE_CLASSES[size].seconds < task.total_seconds()
        assert RESOURCE_CLASSES[next_larger(size) or size].seconds < task.total_seconds()
        assert task < dag.dagrun_timeout


@pytest.mark.parametrize("runner", ["service", "local", "pod"])
@pytest.mark.parametrize("retailer", DEFINED, ids=lambda retailer: retailer.name)
def test_every_stage_compiles_for_every_runner(retailer: Retailer, runner: str):
    chosen = retailer.model_copy(update={"runner": runner})
    for dag in (daily_pipeline(chosen), training_pipeline(chosen), maintenance_pipeline(chosen)):
        serialized = DagSerialization.to_dict(dag)["dag"]["tasks"]
        for name in set(dag.task_ids) & set(STEPS):
            task = dag.get_task(name)
            step = task.partial_kwargs["step"] if task.is_mapped else task.step
            assert (step, "Pod" in task.task_type) == (name, runner == "pod")
        assert len(serialized) == len(dag.task_ids)


def test_parsing_loads_none_of_the_librarys_heavy_parts():
    heavy = "dask deltalake distributed great_expectations lightgbm pandas polars pyarrow scipy"
    code = f"import sys, operators.pipeline; print([m for m in '{heavy}'.split() if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip().splitlines()[-1] == "[]"


def test_a_parse_changes_nothing_from_one_time_to_the_next(simulated):
    """A difference would make a new version of the DAG at every parse."""
    assert DagSerialization.to_dict(daily_pipeline(simulated)) == DagSerialization.to_dict(daily_pipeline(simulated))
