"""What OpenLineage's own extractor gets out of a step: the table versions that it read and wrote."""

from types import SimpleNamespace

import pytest
from airflow.providers.openlineage.extractors.manager import ExtractorManager
from airflow.utils.state import TaskInstanceState

from marketday.calls import Result
from marketday.errors import StepError
from operators.stages import CleanOperator, VerifyOperator

RESULT = Result(
    snapshots={"ingested": 4, "products": 2, "staged_sales": 7, "quarantine": 9, "forecasts": 1},
    rows={"staged_sales": 90, "quarantine": 3},
)


@pytest.fixture(autouse=True)
def _warehouse(monkeypatch):
    monkeypatch.setenv("MARKETDAY_WAREHOUSE", "s3://bucket/warehouse")


@pytest.fixture
def clean():
    return CleanOperator(task_id="clean", retailer="simulated", deferrable=False)


def extracted(task, state: TaskInstanceState = TaskInstanceState.SUCCESS):
    """Extract as the provider's listener does when a task begins, succeeds or fails."""
    return ExtractorManager().extract_metadata(SimpleNamespace(run_id="run1"), task, state, SimpleNamespace())


def versions(datasets) -> dict[str, str | None]:
    assert {dataset.namespace for dataset in datasets} <= {"s3://bucket/warehouse"}
    return {d.name: d.facets["version"].datasetVersion if d.facets else None for d in datasets}


def test_a_step_that_has_ended_tells_the_versions_that_it_read_and_wrote(service, context, clean):
    service.reads["clean"] = ["ingested", "products", "suppliers", "quarantine"]
    service.results["clean"] = RESULT
    clean.execute(context(clean))
    told = extracted(clean)
    # `suppliers` had no version yet; of `quarantine` only the version that was written is known.
    assert versions(told.inputs) == {
        "simulated/ingested": "4",
        "simulated/products": "2",
        "simulated/suppliers": None,
        "simulated/quarantine": None,
    }
    assert versions(told.outputs) == {"simulated/staged_sales": "7", "simulated/quarantine": "9"}
    assert {d.name: d.outputFacets["outputStatistics"].rowCount for d in told.outputs} == {
        "simulated/staged_sales": 90,
        "simulated/quarantine": 3,
    }


def test_a_step_that_was_resumed_tells_the_same(service, context, clean):
    service.results["clean"] = RESULT
    clean.execute(context(clean))
    resumed = CleanOperator(task_id="clean", retailer="simulated")
    resumed.finish(context(resumed), {"status": "successful", "message": "", "job_id": "job0"})
    assert versions(extracted(resumed).outputs) == versions(extracted(clean).outputs)


def test_a_step_that_begins_tells_what_it_will_read(service, clean):
    service.reads["clean"] = ["ingested", "products"]
    told = extracted(clean, TaskInstanceState.RUNNING)
    assert versions(told.inputs) == {"simulated/ingested": None, "simulated/products": None}
    assert told.outputs == []


def test_a_step_that_has_failed_tells_what_it_read(service, context, clean):
    service.reads["clean"] = ["ingested"]
    service.results["clean"] = StepError("no")
    with pytest.raises(StepError):
        clean.execute(context(clean))
    told = extracted(clean, TaskInstanceState.FAILED)
    assert (list(versions(told.inputs)), told.outputs) == (["simulated/ingested"], [])


def test_a_local_step_declares_for_itself(settings):
    verify = VerifyOperator(task_id="verify", retailer="simulated", runner="local")
    told = extracted(verify, TaskInstanceState.RUNNING)
    assert set(versions(told.inputs)) == {f"simulated/{name}" for name in ("forecasts", "orders", "publications")}


def test_a_folders_namespace_is_its_url(service, clean, monkeypatch, tmp_path):
    monkeypatch.setenv("MARKETDAY_WAREHOUSE", str(tmp_path))
    service.reads["clean"] = ["ingested"]
    [read] = extracted(clean, TaskInstanceState.RUNNING).inputs
    assert read.namespace == tmp_path.as_uri()


def test_lineage_that_cannot_be_told_fails_nothing(monkeypatch, clean):
    monkeypatch.setenv("MARKETDAY_SERVICE_URL", "http://127.0.0.1:9")
    assert extracted(clean).inputs == []
