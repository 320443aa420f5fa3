"""How a step's pod ends, and what its task makes of it, against an API server that speaks Kubernetes."""

import datetime as dt
import json

import pytest
from airflow.providers.cncf.kubernetes.hooks.kubernetes import KubernetesHook
from airflow.providers.cncf.kubernetes.triggers.pod import KubernetesPodTrigger
from fake_kubernetes import ended, pending, running
from pod_cases import DONE, IMAGE, carried_out, deferred, report, step_task

from marketday.calls import Result
from marketday.errors import (
    GateFailed,
    JobFailed,
    JobLost,
    OutOfMemory,
    ServiceUnavailable,
    SettingsError,
    TimedOut,
    TooLarge,
)
from operators.links import ReportLink

pytest_plugins = ("pod_fixtures",)

OUT_OF_MEMORY = ended(137, reason="OOMKilled")


@pytest.fixture
def counted(monkeypatch) -> list:
    """Collect what is counted in Airflow's statistics."""
    counts: list = []
    monkeypatch.setattr("operators.pod.stats.incr", lambda name, tags: counts.append((name, tags)))
    return counts


@pytest.mark.parametrize("deferrable", [True, False])
def test_a_pods_result_is_the_tasks(kubernetes, given, deferrable):
    kubernetes.life = [pending(), running(), ended(0, report(DONE))]
    context = given(step_task())
    assert Result.model_validate(carried_out(step_task, context, deferrable=deferrable)) == DONE
    pushed = context["ti"].pushed
    assert Result.model_validate(pushed["return_value"]) == DONE
    assert pushed[ReportLink().xcom_key] == "http://docs/1"
    assert kubernetes.pods == {}
    [pod] = kubernetes.created
    labels = pod["metadata"]["labels"]
    assert [labels[f"marketday/{name}"] for name in ("retailer", "day", "step", "run", "size")] == [
        "simulated",
        "2025-03-03",
        "clean",
        "run1",
        "M",
    ]


def test_the_documented_rights_are_no_more_than_are_used(kubernetes, given):
    kubernetes.life = [*5 * [pending()], running(), ended(1, "no report")]
    for deferrable in (True, False):
        with pytest.raises(JobFailed):
            carried_out(step_task, given(step_task()), deferrable=deferrable)
    assert kubernetes.asked == kubernetes.rights


def test_while_the_pod_runs_the_task_waits_in_the_triggerer(kubernetes, given):
    task = step_task(execution_timeout=dt.timedelta(minutes=25))
    context = given(task)
    waiting = deferred(task, context)
    path, arguments = waiting.trigger.serialize()
    assert path == f"{KubernetesPodTrigger.__module__}.KubernetesPodTrigger"
    [pod] = kubernetes.created
    expected = {
        "pod_name": pod["metadata"]["name"],
        "pod_namespace": "forecasts",
        "base_container_name": "step",
        "in_cluster": False,
        "get_logs": True,
        "logging_interval": 10,
        "schedule_timeout": 300,
        "startup_timeout": 300,
        "on_finish_action": "delete_pod",
        "on_kill_action": "delete_pod",
        "termination_grace_period": 10,
    }
    assert {name: arguments[name] for name in expected} == expected
    end = context["ti"].start_date + dt.timedelta(minutes=25)
    assert arguments["trigger_kwargs"] == {"_execution_deadline": int(end.timestamp())}
    assert waiting.method_name == "trigger_reentry"


def test_in_the_cluster_the_triggerer_goes_the_way_that_the_worker_went(kubernetes, given, monkeypatch):
    monkeypatch.setattr(KubernetesHook, "is_in_cluster", True)
    assert deferred(step_task(), given(step_task())).trigger.in_cluster is True


def test_what_a_pod_has_read_and_written_is_told_to_openlineage(kubernetes, given):
    kubernetes.life = [running(), ended(0, report(DONE))]
    task = step_task(deferrable=False)
    task.execute(given(task))
    assert [output.name for output in task.get_openlineage_facets_on_complete(None).outputs] == ["simulated/sales"]


@pytest.mark.parametrize("deferrable", [True, False])
@pytest.mark.parametrize(
    ("status", "error", "says"),
    [
        (
            ended(1, json.dumps({"error": GateFailed("too many refused", evidence="http://docs/2").to_dict()})),
            GateFailed,
            "too many refused\nEvidence: http://docs/2",
        ),
        (ended(143, json.dumps({"error": JobLost("ended by SIGTERM").to_dict()})), JobLost, "ended by SIGTERM"),
        (ended(137, message="Killed"), JobLost, "exit code 137 .*the last it said: Killed"),
        (ended(2, message="No such command 'step'"), JobFailed, "No such command 'step'"),
        (ended(128, reason="StartError", message="not found"), JobFailed, "StartError"),
        (ended(0, "no report"), JobFailed, f"without a result\nWhat to do: Is {IMAGE}"),
        (
            {"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."},
            JobLost,
            "Evicted: The node was low on resource",
        ),
        (
            ended(
                143,
                conditions=[
                    {"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler", "message": "more"}
                ],
            ),
            JobLost,
            "PreemptionByScheduler: more",
        ),
        (
            ended(143, json.dumps({"error": JobLost("ended by SIGTERM").to_dict()}), reason="Error")
            | {"reason": "DeadlineExceeded", "message": "Pod was active on the node longer than the deadline"},
            TimedOut,
            "Timeout of the step: clean simulated 2025-03-03: pod .* was ended after 900 s, which is what class M has",
        ),
        (pending(waiting="ErrImagePull", message="no such tag"), SettingsError, "ErrImagePull: no such tag"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_pod_that_fails_says_why(kubernetes, given, *, status, error, says, deferrable):
    kubernetes.life = [pending(), running(), status] if status["phase"] != "Pending" else [status]
    context = given(step_task())
    with pytest.raises(error, match=says):
        carried_out(step_task, context, deferrable=deferrable)
    assert kubernetes.pods == {}, "nothing is left behind"
    if error is GateFailed:
        assert context["ti"].pushed[ReportLink().xcom_key] == "http://docs/2"


@pytest.mark.parametrize("deferrable", [True, False])
def test_a_pod_that_is_deleted_or_whose_node_goes_is_lost(kubernetes, given, deferrable, monkeypatch):
    kubernetes.life = [running(), running()]
    answer = kubernetes.answer
    reads = []

    def with_the_node_gone_after_a_while(method, path, query, body):
        if method == "GET" and path.rpartition("/")[2] in kubernetes.pods:
            reads.append(path)
            if len(reads) == 4:
                kubernetes.pods.clear()
        return answer(method, path, query, body)

    kubernetes.answer = with_the_node_gone_after_a_while
    with pytest.raises(JobLost, match="gone"):
        carried_out(step_task, given(step_task()), deferrable=deferrable)


def test_a_pod_for_which_no_node_has_room_is_worth_another_try(kubernetes, given):
    kubernetes.life = [pending(unschedulable="0/3 nodes are available: 3 Insufficient memory.")]
    with pytest.raises(ServiceUnavailable, match="0/3 nodes are available"):
        carried_out(lambda **kwargs: step_task(schedule_timeout_seconds=0.1, **kwargs), given(step_task()))
    assert kubernetes.pods == {}


def test_a_pod_that_waits_for_what_is_not_there_names_it(kubernetes, given):
    kubernetes.life = [pending(waiting="CreateContainerConfigError", message='configmap "marketday" not found')]
    with pytest.raises(SettingsError, match='configmap "marketday" not found'):
        carried_out(lambda **kwargs: step_task(startup_timeout_seconds=0.1, **kwargs), given(step_task()))


def test_a_pod_that_outlives_the_task_is_ended_with_it(kubernetes, given, counted):
    task = {"execution_timeout": dt.timedelta(seconds=1)}
    with pytest.raises(TimedOut, match=r"Timeout of the task: clean simulated 2025-03-03: pod .* still ran"):
        carried_out(lambda **kwargs: step_task(**task, **kwargs), given(step_task(**task)))
    assert kubernetes.pods == {}
    assert counted == [("marketday.task_timeouts", {"step": "clean"})]


def test_a_pod_that_outlives_its_class_is_counted_as_the_steps_timeout(kubernetes, given, counted):
    kubernetes.life = [running(), {"phase": "Failed", "reason": "DeadlineExceeded"}]
    with pytest.raises(TimedOut):
        carried_out(step_task, given(step_task()))
    assert counted == [("marketday.step_timeouts", {"step": "clean"})]


def test_out_of_memory_is_tried_again_once_in_the_next_larger_class(kubernetes, given):
    kubernetes.life = [running(), OUT_OF_MEMORY]
    with pytest.raises(OutOfMemory, match=r"in class M \(6144Mi\); the next try gets class L with 12 GiB"):
        carried_out(step_task, given(step_task()))
    kubernetes.life = [running(), ended(0, report(DONE))]
    carried_out(step_task, given(step_task(), try_number=2))
    carried_out(step_task, given(step_task(), cleared=True))
    memory = [pod["spec"]["containers"][0]["resources"]["limits"]["memory"] for pod in kubernetes.created]
    assert memory == ["6144Mi", "12288Mi", "6144Mi"], "after a success, the step's own class is tried again"


def test_what_is_too_large_for_the_next_class_as_well_is_not_tried_again(kubernetes, given):
    kubernetes.life = [running(), OUT_OF_MEMORY]
    with pytest.raises(OutOfMemory):
        carried_out(step_task, given(step_task()))
    with pytest.raises(TooLarge, match=r"in class L .* no try in a larger class follows"):
        carried_out(step_task, given(step_task(), try_number=2))


def test_the_largest_class_has_no_next(kubernetes, given):
    kubernetes.life = [running(), OUT_OF_MEMORY]
    with pytest.raises(TooLarge):
        carried_out(lambda **kwargs: step_task(size="XL", **kwargs), given(step_task(size="XL")))
