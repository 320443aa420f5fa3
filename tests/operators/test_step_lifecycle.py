"""A job outlives its task's tries, and never the task: wait, come back, start over, end."""

import datetime as dt
import time

import pytest
from airflow.providers.standard.triggers.temporal import DateTimeTrigger
from airflow.sdk.bases.operator import TRIGGER_FAIL_REPR, TriggerFailureReason
from airflow.sdk.exceptions import TaskDeferralTimeout, TaskDeferred

from marketday.calls import Result
from marketday.errors import JobLost, OutOfMemory, ServiceUnavailable
from operators.stages import CleanOperator
from operators.triggers import JobTrigger

LIMIT = dt.timedelta(seconds=20)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    """Defer at once, as a step of minutes does after seconds."""
    monkeypatch.setattr("operators.step.PATIENCE", 0.05)


def clean(**kwargs) -> CleanOperator:
    """Make the task of one try: each try has a process, and so an operator, of its own."""
    return CleanOperator(task_id="clean", retailer="simulated", retries=3, execution_timeout=LIMIT, **kwargs)


def deferred(operator, given) -> TaskDeferred:
    with pytest.raises(TaskDeferred) as waiting:
        operator.execute(given)
    return waiting.value


def end(service, job_id: str) -> None:
    service.jobs[job_id]["ends"] = 0.0


def test_while_the_job_runs_the_task_waits_in_the_triggerer_with_its_links_already_pushed(service, context):
    service.seconds = 30.0
    task = clean()
    given = context(task)
    waiting = deferred(task, given)
    assert waiting.trigger.serialize() == JobTrigger(url=service.url, job_id="job0").serialize()
    assert (waiting.method_name, waiting.timeout) == ("finish", LIMIT)
    assert len(given["ti"].pushed) == 2


def test_resuming_fetches_the_jobs_result(service, context):
    service.results["clean"] = Result(facts={"refused": 2})
    clean(deferrable=False).execute(context(clean()))
    event = {"status": "successful", "message": "", "job_id": "job0"}
    assert clean().finish(context(clean()), event)["facts"] == {"refused": 2}


def test_without_the_triggerer_the_task_waits_in_its_worker(service, context):
    service.seconds = 0.3
    service.results["clean"] = Result(facts={"refused": 2})
    assert clean(deferrable=False).execute(context(clean()))["facts"] == {"refused": 2}


@pytest.mark.parametrize(("full", "away", "pause"), [(1, 0, 5.0), (0, 1, 10.0)])
def test_a_service_that_is_full_or_away_is_waited_for_without_using_up_a_retry(service, context, full, away, pause):
    service.full, service.away = full, away
    waiting = deferred(clean(), context(clean()))
    assert isinstance(waiting.trigger, DateTimeTrigger)
    assert pause - 0.5 < waiting.trigger.moment.timestamp() - time.time() <= 1.5 * pause
    resume = getattr(clean(deferrable=False), waiting.method_name)
    assert Result.model_validate(resume(context(clean()), event=None, **waiting.kwargs)) == Result()


def test_a_full_service_is_waited_for_in_the_worker_too(service, context):
    service.full = 1
    assert Result.model_validate(clean(deferrable=False).execute(context(clean()))) == Result()


def test_a_full_service_is_waited_for_only_within_the_tasks_time(service, context):
    service.full = 1
    with pytest.raises(ServiceUnavailable, match="no free slot"):
        clean().join(context(clean()), give_up_at=time.time() + 0.5)


@pytest.mark.parametrize(
    ("status", "error", "says"),
    [
        ("lost", JobLost, "Job job0 of clean is lost: away"),
        ("dismissed", JobLost, "Job job0 of clean was cancelled: away"),
        ("unreachable", ServiceUnavailable, "away"),
    ],
)
def test_a_job_that_is_gone_says_why(context, status, error, says):
    with pytest.raises(error, match=says):
        clean().finish(context(clean()), {"status": status, "message": "away", "job_id": "job0"})


@pytest.mark.parametrize("deferrable", [True, False])
def test_a_retry_joins_the_job_that_is_still_running(service, context, deferrable):
    service.seconds = 30.0
    deferred(clean(), context(clean()))
    retry = clean(deferrable=deferrable)
    if deferrable:
        assert deferred(retry, context(retry)).trigger.job_id == "job0"
    else:
        service.seconds = 0.0
        end(service, "job0")
        retry.execute(context(retry))
    assert len(service.calls) == 1


def test_a_retry_says_what_has_become_of_the_job_of_an_earlier_try(service, context, capsys):
    """The log of a try whose worker was killed ends without a reason."""
    service.seconds = 30.0
    deferred(clean(), context(clean()))
    deferred(clean(), context(clean()))
    assert "The job of an earlier try, job0, is running" in capsys.readouterr().out


def test_a_retry_joins_even_a_job_of_which_the_first_try_never_heard(service, context):
    """The worker was killed after the service had taken the call and before Airflow knew its job."""
    service.seconds = 30.0
    given = context(clean())
    deferred(clean(), given)
    given["task_state_store"].clear()
    assert deferred(clean(), context(clean())).trigger.job_id == "job0"


def test_a_retry_takes_the_result_of_a_job_that_has_ended_meanwhile(service, context):
    service.seconds = 30.0
    service.results["clean"] = Result(facts={"refused": 2})
    deferred(clean(), context(clean(), cleared=True))
    end(service, "job0")
    assert clean().execute(context(clean(), cleared=True))["facts"] == {"refused": 2}
    assert len(service.calls) == 1


@pytest.mark.parametrize("how", ["failed", "forgotten"])
def test_a_retry_after_a_failed_or_forgotten_job_starts_a_new_one(service, context, how):
    service.results["clean"] = OutOfMemory("class M")
    with pytest.raises(OutOfMemory):
        clean().execute(context(clean()))
    service.results.clear()
    if how == "failed":
        service.results["clean"] = OutOfMemory("class M")
        service.jobs["job0"]["dismissed"] = True
    else:
        service.jobs.clear()
    service.seconds = 30.0
    deferred(clean(), context(clean()))
    assert len(service.calls) == 2


def test_clearing_cancels_the_running_job_and_starts_over(service, context):
    service.seconds = 30.0
    deferred(clean(), context(clean()))
    again = deferred(clean(), context(clean(), cleared=True))
    assert service.status(service.jobs["job0"])["status"] == "dismissed"
    assert again.trigger.job_id == "job1"
    assert [force for _, force in service.calls] == [False, True]


def test_clearing_a_task_that_has_succeeded_carries_it_out_anew(service, context):
    clean().execute(context(clean()))
    clean().execute(context(clean(), cleared=True))
    assert [force for _, force in service.calls] == [False, True]
    assert list(service.jobs) == ["job0", "job1"]


def test_killing_the_task_cancels_its_job(service, context):
    service.seconds = 30.0
    task = clean()
    deferred(task, context(task))
    task.on_kill()
    assert service.status(service.jobs["job0"])["status"] == "dismissed"


def test_a_kill_while_the_service_is_answering_cancels_the_job_too(service, context):
    service.seconds = 30.0
    task = clean()
    task.on_kill()
    with pytest.raises(JobLost, match="Job job0 of clean was cancelled"):
        task.execute(context(task))
    assert service.status(service.jobs["job0"])["status"] == "dismissed"


def test_a_wait_that_outlives_the_task_cancels_the_job_and_says_that_it_was_the_task(service, context):
    service.seconds = 30.0
    deferred(clean(), context(clean()))
    with pytest.raises(TaskDeferralTimeout, match=r"Timeout of the task: clean was ended after 0:00:20"):
        clean().resume_execution(TRIGGER_FAIL_REPR, {"error": TriggerFailureReason.TRIGGER_TIMEOUT}, context(clean()))
    assert service.status(service.jobs["job0"])["status"] == "dismissed"


def test_a_service_that_is_away_does_not_hide_why_the_task_is_ended(service, context):
    service.seconds = 30.0
    deferred(clean(), context(clean()))
    service.away = 1
    with pytest.raises(TaskDeferralTimeout, match="Timeout of the task"):
        clean().resume_execution(TRIGGER_FAIL_REPR, {"error": TriggerFailureReason.TRIGGER_TIMEOUT}, context(clean()))
