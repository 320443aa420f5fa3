"""How a pod's end reads: the step's result, its own error, or what Kubernetes did to it."""

from collections.abc import Iterator
from contextlib import contextmanager

from kubernetes.client import models as k8s
from kubernetes.client.exceptions import ApiException
from kubernetes.config import ConfigException
from urllib3.exceptions import HTTPError

from marketday.calls import Result
from marketday.errors import (
    JobFailed,
    JobLost,
    MarketdayError,
    OutOfMemory,
    ServiceUnavailable,
    SettingsError,
    TimedOut,
)
from marketday.runners import pod as inside
from operators import pod_spec

_RIGHTS = "docs/kubernetes.md says what to set and which rights Airflow's service account needs."

_AGAIN = "Run it again: a step that was lost has left nothing half-written."

_REFUSED = {400, 401, 403, 404, 422}
"""Answers of Kubernetes that will be the same to the same question."""

_IN_TIME = {"ContainerCreating", "PodInitializing"}
"""Reasons to wait that pass by themselves; every other one is a mistake in what the pod needs."""


def finished(pod: k8s.V1Pod) -> bool:
    """Whether nothing in the pod will run any more."""
    return bool(pod.status and pod.status.phase in {"Succeeded", "Failed"})


def result_of(pod: k8s.V1Pod) -> Result:
    """Return the result that the step in a pod that has succeeded reported.

    Raises:
        JobFailed: there is none.

    """
    report = inside.read(_message(_terminated(pod)))
    if isinstance(report, Result):
        return report
    raise JobFailed(
        f"{_name(pod)} ended well, but without a result",
        hint=f"Is {pod.spec.containers[0].image} (MARKETDAY_IMAGE) of the same release as Airflow?",
    )


def error_of(pod: k8s.V1Pod) -> MarketdayError:
    """Return why a pod has not succeeded; one that still runs was ended because the task's time was over."""
    ended = _terminated(pod)
    if pod.status.reason == "DeadlineExceeded":
        return TimedOut(
            f"Timeout of the step: {_name(pod)} was ended after {pod.spec.active_deadline_seconds} s, which is what "
            f"class {_size(pod)} has",
            hint="See in the log what takes so long, or give the step a larger class in the retailer's `resources`.",
        )
    if ended and ended.reason == "OOMKilled":
        limit = pod.spec.containers[0].resources.limits["memory"]
        return OutOfMemory(f"{_name(pod)} ran out of memory in class {_size(pod)} ({limit})")
    if why := _disruption(pod):
        return _lost(pod, why)
    return _error_of_process(pod, ended) if ended else _unended(pod)


def gone(name: str) -> JobLost:
    """Return the error of a pod that Kubernetes does not know any more."""
    return JobLost(f"Pod {name} is gone: somebody or something has deleted it, or its node", hint=_AGAIN)


@contextmanager
def api_errors() -> Iterator[None]:
    """Let what goes wrong between Airflow and Kubernetes read as an error of ours, by whether it may pass."""
    try:
        yield
    except ApiException as error:
        if error.status == 404 and '"kind":"pods"' in (error.body or "").replace(" ", ""):
            raise JobLost(f"The pod is gone: {error.body}", hint=_AGAIN) from error
        said = f"Kubernetes answers {error.status} {error.reason}: {error.body or 'no more than that'}"
        if error.status in _REFUSED and "exceeded quota" not in said:
            raise SettingsError(said, hint=_RIGHTS) from error
        raise ServiceUnavailable(said) from error
    except HTTPError as error:
        raise ServiceUnavailable(f"Kubernetes does not answer: {error}") from error
    except ConfigException as error:
        raise SettingsError(
            f"There is no way to Kubernetes: {error}",
            hint="Run Airflow in the cluster, set KUBECONFIG, or add the Airflow connection kubernetes_default.",
        ) from error


def _lost(pod: k8s.V1Pod, why: str) -> JobLost:
    return JobLost(f"{_name(pod)} was lost: {why}", hint=_AGAIN)


def _disruption(pod: k8s.V1Pod) -> str:
    """Say why Kubernetes took the pod away, if it did: evicted, preempted, its node shut down or gone."""
    if pod.status.reason:
        return f"{pod.status.reason}: {pod.status.message or 'Kubernetes says no more'}"
    for condition in pod.status.conditions or ():
        if condition.type == "DisruptionTarget" and condition.status == "True":
            return f"{condition.reason}: {condition.message or 'Kubernetes says no more'}"
    return ""


def _error_of_process(pod: k8s.V1Pod, ended: k8s.V1ContainerStateTerminated) -> MarketdayError:
    """Return the error that the process reported, or what its exit code and its last words say."""
    report = inside.read(_message(ended))
    if isinstance(report, MarketdayError):
        return report
    how = f"its process ended with exit code {ended.exit_code} ({ended.reason or 'no reason is known'})"
    words = f"; the last it said: {_message(ended)[-500:].strip()}" if _message(ended) and not report else ""
    if ended.exit_code > 128:  # by a signal
        return _lost(pod, how + words)
    return JobFailed(
        f"{_name(pod)}: {how} and left no result{words}",
        hint=f"See its log; is {pod.spec.containers[0].image} (MARKETDAY_IMAGE) of the same release as Airflow?",
    )


def _unended(pod: k8s.V1Pod) -> MarketdayError:
    """Return the error of a pod whose process has not ended, as far as Kubernetes knows."""
    if pod.status.phase == "Pending":
        return _not_started(pod)
    if pod.status.phase == "Running" and pod.metadata.deletion_timestamp is None:
        return TimedOut(
            f"Timeout of the task: {_name(pod)} still ran at its end",
            hint="Nothing while it is tried again; then see in the log what takes so long.",
        )
    return _lost(pod, f"its phase is {pod.status.phase}")


def _not_started(pod: k8s.V1Pod) -> MarketdayError:
    """Return why a pod has not been started: the cluster is full, or something that the pod needs is not there."""
    for status in pod.status.container_statuses or ():
        waiting = status.state.waiting if status.state else None
        if waiting and waiting.reason and waiting.reason not in _IN_TIME:
            return SettingsError(
                f"{_name(pod)} cannot be started: {waiting.reason}: {waiting.message or 'Kubernetes says no more'}",
                hint=f"Its image is {pod.spec.containers[0].image} (MARKETDAY_IMAGE). {_RIGHTS}",
            )
    said = [c.message for c in pod.status.conditions or () if c.type == "PodScheduled" and c.status == "False"]
    return ServiceUnavailable(
        f"{_name(pod)} was not started in time: {(said and said[0]) or 'no node had begun to run it'}",
        hint="See whether the cluster has room for pods of this resource class, and whether its claim can be mounted.",
    )


def _terminated(pod: k8s.V1Pod) -> k8s.V1ContainerStateTerminated | None:
    for status in (pod.status.container_statuses if pod.status else None) or ():
        if status.name == pod_spec.CONTAINER and status.state:
            return status.state.terminated
    return None


def _message(ended: k8s.V1ContainerStateTerminated | None) -> str:
    return (ended.message if ended else None) or ""


def _size(pod: k8s.V1Pod) -> str:
    return str(pod.metadata.labels[pod_spec.SIZE])


def _name(pod: k8s.V1Pod) -> str:
    of = pod.metadata.labels
    block = f"[{of[pod_spec.BLOCK]}]" if pod_spec.BLOCK in of else ""
    return f"{of[pod_spec.STEP]}{block} {of[pod_spec.RETAILER]} {of[pod_spec.DAY]}: pod {pod.metadata.name}"
