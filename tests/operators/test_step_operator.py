"""A step as an Airflow task: what it asks for, what it returns and how it fails."""

import pytest
from airflow.sdk import DAG
from fake_service import DAY

from marketday.calls import Call, Result
from marketday.errors import GateFailed, JobLost, RetailerError, StepError
from operators.calls import merged_snapshots
from operators.links import JobLink, LogLink, ReportLink
from operators.stages import CleanOperator, GateOperator, PredictOperator, TrainOperator
from operators.step import StepOperator


@pytest.fixture
def clean():
    return CleanOperator(task_id="clean", retailer="simulated", retries=3)


def executed(operator, context) -> dict:
    """Execute a task as Airflow does, without the triggerer: jobs of the fake service end at once."""
    operator.deferrable = False
    return operator.execute(context)


def test_a_step_is_called_for_its_runs_day_with_what_the_tasks_before_it_left(service, context):
    with DAG("any", schedule=None):
        clean = CleanOperator(task_id="clean", retailer="simulated")
        CleanOperator(task_id="before", retailer="simulated") >> clean
    given = {"before": [{"snapshots": {"sales": 4, "stock": 1}}, {"snapshots": {"sales": 7}}]}
    executed(clean, context(clean, returned=given))
    assert service.calls == [
        (Call(step="clean", retailer="simulated", day=DAY, inputs={"sales": 7, "stock": 1}), False)
    ]
    assert service.run_ids == ["run1"]


def test_block_and_parameters_are_part_of_the_call(service, context):
    predict = PredictOperator(task_id="predict", retailer="simulated", block="b1", parameters={"rounds": 3})
    executed(predict, context(predict))
    [(call, _)] = service.calls
    assert (call.step, call.block, call.params) == ("predict", "b1", {"rounds": 3})


@pytest.mark.parametrize("version", [2, "latest"])
def test_the_version_that_the_pipeline_names_is_called(service, context, version):
    clean = CleanOperator(task_id="clean", retailer="simulated", version=version)
    executed(clean, context(clean))
    assert service.calls[0][0].version == version


def test_a_pinned_step_is_carried_out_by_its_own_service(service, context, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_MARKETDAY_SERVICE", "http://127.0.0.1:9")
    clean = CleanOperator(task_id="clean", retailer="simulated", service=service.url)
    executed(clean, context(clean))
    assert len(service.calls) == 1


def test_a_gate_is_told_its_step(service, context):
    gate = GateOperator(task_id="any", retailer="simulated", step="gate_orders")
    executed(gate, context(gate))
    assert service.calls[0][0].step == "gate_orders"


def test_a_task_without_a_step_is_refused():
    with pytest.raises(TypeError, match="StepOperator names no step"):
        StepOperator(task_id="any", retailer="simulated")


def test_the_result_is_returned_as_data_and_its_page_is_linked(service, context, clean):
    result = Result(snapshots={"sales": 2}, rows={"sales": 9}, facts={"n": 1}, links={"Data Docs": "http://docs/1"})
    service.results["clean"] = result
    given = context(clean)
    assert Result.model_validate(executed(clean, given)) == result
    assert given["ti"].pushed[ReportLink().xcom_key] == "http://docs/1"


def test_the_jobs_page_and_log_are_linked(service, context, clean):
    given = context(clean)
    executed(clean, given)
    assert given["ti"].pushed == {
        JobLink().xcom_key: f"{service.url}/jobs/job0?f=html",
        LogLink().xcom_key: f"{service.url}/jobs/job0/logs",
    }


def test_a_failed_step_raises_its_own_error_and_links_its_evidence(service, context, clean):
    service.results["clean"] = GateFailed("too many refused", hint="ask the retailer", evidence="http://docs/2")
    given = context(clean)
    with pytest.raises(GateFailed, match="What to do: ask the retailer\nEvidence: http://docs/2"):
        executed(clean, given)
    assert given["ti"].pushed[ReportLink().xcom_key] == "http://docs/2"


def test_the_log_of_a_job_that_was_lost_is_no_report(service, context, clean):
    service.results["clean"] = JobLost("gone", evidence=f"{service.url}/jobs/job0/logs")
    given = context(clean)
    with pytest.raises(JobLost, match=r"Evidence: .*/jobs/job0/logs"):
        executed(clean, given)
    assert ReportLink().xcom_key not in given["ti"].pushed


def test_what_the_service_says_about_the_job_is_in_the_tasks_log(service, context, clean, capsys):
    service.message = "class L, because class M ran out of memory"
    executed(clean, context(clean))
    assert "Job job0: class L, because class M ran out of memory" in capsys.readouterr().out


def test_the_service_is_found_by_its_airflow_connection(service, context, clean, monkeypatch):
    monkeypatch.setenv("MARKETDAY_SERVICE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AIRFLOW_CONN_MARKETDAY_SERVICE", service.url)
    executed(clean, context(clean))
    assert len(service.calls) == 1


def test_the_local_runner_carries_the_step_out_in_the_tasks_own_process(settings, context):
    """Without a day's publications there is nothing to verify: the step's own error says so."""
    from operators.stages import VerifyOperator

    verify = VerifyOperator(task_id="verify", retailer="simulated", runner="local")
    with pytest.raises(StepError, match="Nothing of 2025-03-03 is published"):
        verify.execute(context(verify))


def test_the_latest_version_of_each_table_is_read():
    returned = [{"snapshots": {"a": 1, "b": 5}}, {"snapshots": {"a": 3}}, None, ["b1"], {"delivery": "x"}]
    assert merged_snapshots(returned) == {"a": 3, "b": 5}


def test_the_day_may_come_from_the_runs_conf(service, context):
    train = TrainOperator(task_id="train", retailer="simulated")
    executed(train, context(train, key=None, conf={"day": "2025-03-03"}))
    assert service.calls[0][0].day == DAY


@pytest.mark.parametrize(
    ("key", "conf", "says"),
    [
        (None, {}, "no business day"),
        (None, {"day": None}, "no business day"),
        (None, {"day": "tomorrow"}, "tomorrow"),
        ("simulated|03.03.2025", None, "03.03.2025"),
        ("simulated", None, "no business day"),
        ("other|2025-03-03", None, "not for simulated"),
    ],
)
def test_a_run_without_a_day_says_how_to_give_it_one(context, clean, key, conf, says):
    with pytest.raises(RetailerError, match=says) as raised:
        clean.execute(context(clean, key=key, conf=conf))
    assert "simulated|YYYY-MM-DD" in str(raised.value)
