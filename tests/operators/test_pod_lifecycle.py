"""A pod outlives its task's tries, and never the task; and what is between Airflow and Kubernetes may fail."""

import asyncio
import json

import pytest
from airflow.sdk.module_loading import import_string
from fake_kubernetes import ended, running
from kubernetes.config import kube_config
from pod_cases import DONE, carried_out, deferred, report, step_task

from marketday.calls import Result
from marketday.errors import JobFailed, RetailerError, ServiceUnavailable, SettingsError

pytest_plugins = ("pod_fixtures",)


@pytest.mark.parametrize("remembered", [True, False], ids=["known to Airflow", "died before it was noted"])
def test_a_retry_joins_the_pod_that_runs(kubernetes, given, remembered):
    waiting = deferred(step_task(), given(step_task()))
    retried = given(step_task(), try_number=2)
    if not remembered:
        retried["task_state_store"].delete("pod_identifier")
    again = deferred(step_task(), retried)
    assert again.trigger.pod_name == waiting.trigger.pod_name
    assert len(kubernetes.created) == 1


@pytest.mark.parametrize("deferrable", [True, False])
def test_a_retry_takes_the_result_of_a_pod_that_has_ended_meanwhile(kubernetes, given, deferrable):
    waiting = deferred(step_task(), given(step_task()))
    kubernetes.lives[waiting.trigger.pod_name] = []
    kubernetes.pods[waiting.trigger.pod_name]["status"] = ended(0, report(DONE))
    retried = given(step_task(), try_number=2)
    step_task(deferrable=deferrable).execute(retried)
    assert Result.model_validate(retried["ti"].pushed["return_value"]) == DONE
    assert len(kubernetes.created) == 1


def test_a_pod_that_failed_and_could_not_be_deleted_is_not_asked_again(kubernetes, given):
    kubernetes.rights -= {("pods", "delete")}
    kubernetes.life = [running(), ended(1, json.dumps({"error": JobFailed("OSError: reset").to_dict()}))]
    for try_number in (1, 2):
        with pytest.raises(JobFailed, match="OSError: reset"):
            carried_out(step_task, given(step_task(), try_number=try_number))
    assert len(kubernetes.created) == 2


@pytest.mark.parametrize("lingering", [True, False], ids=["still ending", "gone"])
def test_clearing_starts_over(kubernetes, given, lingering):
    kubernetes.lingering = lingering
    first = deferred(step_task(), given(step_task()))
    second = deferred(step_task(), given(step_task(), cleared=True))
    assert first.trigger.pod_name in kubernetes.deleted
    assert second.trigger.pod_name != first.trigger.pod_name


def test_a_pod_of_a_call_that_nobody_wants_any_more_is_ended(kubernetes, given):
    first = deferred(step_task(parameters={"rounds": 1}), given(step_task()))
    second = deferred(step_task(parameters={"rounds": 2}), given(step_task(), try_number=2))
    assert list(kubernetes.pods) == [second.trigger.pod_name]
    assert kubernetes.deleted == [first.trigger.pod_name]


def test_another_tasks_pod_is_left_alone(kubernetes, given):
    for step in ("clean", "load"):
        deferred(step_task(step), given(step_task(step)))
    assert (len(kubernetes.pods), kubernetes.deleted) == (2, [])


def test_killing_the_waiting_task_deletes_its_pod(kubernetes, given):
    waiting = deferred(step_task(), given(step_task()))
    path, arguments = waiting.trigger.serialize()
    asyncio.run(import_string(path)(**arguments).on_kill())
    assert kubernetes.deleted == [waiting.trigger.pod_name]


def test_killing_the_task_in_its_worker_deletes_its_pod(kubernetes, given):
    task = step_task()
    waiting = deferred(task, given(task))
    task.on_kill()
    assert kubernetes.deleted == [waiting.trigger.pod_name]


def test_a_missing_right_is_named_and_not_retried(kubernetes, given):
    kubernetes.rights -= {("pods", "create")}
    with pytest.raises(SettingsError, match=r"403.*cannot create pods") as raised:
        step_task().execute(given(step_task()))
    assert "docs/kubernetes.md" in raised.value.hint


def test_an_api_server_that_is_away_is_worth_another_try(kubernetes, given):
    kubernetes.away = True
    with pytest.raises(ServiceUnavailable, match=r"503.*the API server is starting"):
        step_task().execute(given(step_task()))


def test_without_a_way_to_kubernetes_the_ways_are_named(kubernetes, given, monkeypatch, tmp_path):
    monkeypatch.setenv("AIRFLOW_CONN_KUBERNETES_DEFAULT", json.dumps({"conn_type": "kubernetes"}))
    monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "nothing"))
    with pytest.raises(SettingsError, match="no way to Kubernetes") as raised:
        step_task().execute(given(step_task()))
    assert "KUBECONFIG" in raised.value.hint


def test_while_the_api_server_is_away_the_pod_goes_on_and_is_joined_by_the_retry(kubernetes, given):
    waiting = deferred(step_task(), given(step_task()))
    kubernetes.away = True
    event = {"status": "error", "message": "no answer", "namespace": "forecasts", "name": waiting.trigger.pod_name}
    with pytest.raises(ServiceUnavailable, match="the API server is starting"):
        step_task().trigger_reentry(given(step_task()), event)
    kubernetes.away = False
    assert deferred(step_task(), given(step_task(), try_number=2)).trigger.pod_name == waiting.trigger.pod_name


def test_a_pod_that_succeeded_although_waiting_for_it_failed_has_succeeded(kubernetes, given):
    waiting = deferred(step_task(), given(step_task()))
    kubernetes.lives[waiting.trigger.pod_name] = [*4 * [running()], ended(0, report(DONE))]
    event = {"status": "error", "message": "forbidden", "namespace": "forecasts", "name": waiting.trigger.pod_name}
    given_up = event | {"_redefer_count": step_task().MAX_REDEFER_ATTEMPTS}
    assert Result.model_validate(step_task().trigger_reentry(given(step_task()), given_up)) == DONE


def test_a_full_quota_is_worth_another_try(kubernetes, given):
    kubernetes.create = lambda _: (403, {"kind": "Status", "message": "exceeded quota: memory"})
    with pytest.raises(ServiceUnavailable, match="exceeded quota"):
        step_task().execute(given(step_task()))


def test_a_run_without_a_day_starts_no_pod(kubernetes, given):
    task = step_task()
    with pytest.raises(RetailerError, match="no business day"):
        task.execute(given(task, key=None, conf={}))
    assert kubernetes.created == []
