"""A step as an Airflow task: what it asks for, how it waits, what it returns and how it fails."""

import time

import pytest
from airflow.providers.standard.triggers.temporal import DateTimeTrigger
from airflow.sdk import DAG, RetryAction
from airflow.sdk.exceptions import TaskDeferred
from fake_service import DAY

from marketday.calls import Call, Result
from marketday.errors import (
    DeliveryError,
    GateFailed,
    JobFailed,
    JobLost,
    RetailerError,
    ServiceUnavailable,
    StepError,
    WarehouseError,
)
from operators.retries import RETRY_POLICY
from operators.stages import CleanOperator, GateOperator, PredictOperator, TrainOperator
from operators.step import JobLink, ReportLink, merged_snapshots
from operators.triggers import JobTrigger


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


def test_a_gate_names_its_own_step(service, context):
    gate = GateOperator(task_id="gate_orders", retailer="simulated", gate="orders")
    executed(gate, context(gate))
    assert service.calls[0][0].step == "gate_orders"


def test_the_result_is_returned_as_data_and_its_page_is_linked(service, context, clean):
    result = Result(snapshots={"sales": 2}, rows={"sales": 9}, facts={"n": 1}, links={"Data Docs": "http://docs/1"})
    service.results["clean"] = result
    given = context(clean)
    assert Result.model_validate(executed(clean, given)) == result
    assert given["ti"].pushed[ReportLink().xcom_key] == "http://docs/1"


def test_while_the_job_runs_the_task_waits_in_the_triggerer_with_its_link_already_pushed(service, context, clean):
    service.seconds = 30.0
    given = context(clean)
    with pytest.raises(TaskDeferred) as waiting:
        clean.execute(given)
    assert waiting.value.trigger.serialize() == JobTrigger(url=service.url, job_id="job0").serialize()
    assert waiting.value.method_name == "finish"
    assert waiting.value.timeout.total_seconds() > 0
    assert given["ti"].pushed == {JobLink().xcom_key: f"{service.url}/jobs/job0/log"}


def test_resuming_fetches_the_jobs_result(service, context, clean):
    service.results["clean"] = Result(facts={"refused": 2})
    executed(clean, context(clean))
    event = {"status": "successful", "message": "", "job_id": "job0"}
    assert clean.finish(context(clean), event)["facts"] == {"refused": 2}


def test_a_full_service_is_waited_for_without_using_up_a_retry(service, context, clean):
    service.full = 1
    with pytest.raises(TaskDeferred) as waiting:
        clean.execute(context(clean))
    assert isinstance(waiting.value.trigger, DateTimeTrigger)
    assert (waiting.value.trigger.moment.timestamp() - time.time()) == pytest.approx(1.0, abs=0.5)
    clean.deferrable = False
    resume = getattr(clean, waiting.value.method_name)
    assert Result.model_validate(resume(context(clean), event=None, **waiting.value.kwargs)) == Result()


def test_a_service_that_is_away_is_waited_for_without_using_up_a_retry(service, context, clean):
    service.away = 1
    with pytest.raises(TaskDeferred) as waiting:
        clean.execute(context(clean))
    assert (waiting.value.method_name, service.away) == ("submit", 0)
    assert (waiting.value.trigger.moment.timestamp() - time.time()) == pytest.approx(10.0, abs=1.0)


def test_a_full_service_is_waited_for_only_within_the_tasks_time(service, context, clean):
    service.full = 1
    with pytest.raises(ServiceUnavailable, match="no free slot"):
        clean.submit(context(clean), give_up_at=time.time() + 0.5)


def test_a_failed_step_raises_its_own_error_and_links_its_evidence(service, context, clean):
    service.results["clean"] = GateFailed("too many refused", hint="ask the retailer", evidence="http://docs/2")
    given = context(clean)
    with pytest.raises(GateFailed, match="What to do: ask the retailer\nEvidence: http://docs/2"):
        executed(clean, given)
    assert given["ti"].pushed[ReportLink().xcom_key] == "http://docs/2"


@pytest.mark.parametrize(
    ("status", "error"), [("lost", JobLost), ("dismissed", JobLost), ("unreachable", ServiceUnavailable)]
)
def test_a_job_that_is_gone_is_worth_a_retry(context, clean, status, error):
    with pytest.raises(error, match="away") as raised:
        clean.finish(context(clean), {"status": status, "message": "away", "job_id": "job0"})
    assert RETRY_POLICY.evaluate(raised.value, 1, 3).action is RetryAction.RETRY


@pytest.mark.parametrize("kind", [GateFailed, StepError, DeliveryError, RetailerError, WarehouseError])
def test_what_would_fail_again_is_not_retried(clean, kind):
    assert clean.retry_policy.evaluate(kind("no"), 1, 3).action is RetryAction.FAIL


def test_a_lost_job_is_replaced_soon_however_often_the_task_was_tried(clean):
    assert clean.retry_policy.evaluate(JobLost("gone"), 9, 12).retry_delay.total_seconds() == 5


def test_what_nobody_foresaw_is_retried(clean):
    assert clean.retry_policy.evaluate(JobFailed("OSError: reset"), 1, 3).action is RetryAction.RETRY
    assert clean.retry_policy.evaluate(KeyError("bug"), 1, 3).action is RetryAction.DEFAULT


def test_clearing_carries_the_step_out_anew_and_a_retry_joins_the_job(service, context, clean):
    service.seconds = 30.0
    for _ in ("first try", "retry"):
        with pytest.raises(TaskDeferred):
            clean.execute(context(clean))
    assert list(service.jobs) == ["job0"]
    service.jobs["job0"]["ends"] = 0.0
    service.seconds = 0.0
    executed(clean, context(clean))
    executed(clean, context(clean, cleared=True))
    assert [force for _, force in service.calls] == [False, False, False, True]
    assert list(service.jobs) == ["job0", "job1"]


def test_killing_the_task_cancels_its_job(service, context, clean):
    service.seconds = 30.0
    with pytest.raises(TaskDeferred):
        clean.execute(context(clean))
    clean.on_kill()
    assert service.status(service.jobs["job0"])["status"] == "dismissed"


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
