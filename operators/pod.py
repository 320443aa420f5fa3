"""A step as a pod: KubernetesPodOperator's life of a pod around the step's call, result and errors."""

from typing import Any

from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.providers.cncf.kubernetes.utils.pod_manager import PodNotFoundException
from airflow.sdk import ExceptionRetryPolicy
from airflow.sdk.bases.xcom import BaseXCom
from airflow.sdk.exceptions import AirflowException
from airflow.sdk.observability import stats
from kubernetes.client import models as k8s
from kubernetes.client.exceptions import ApiException

from marketday import settings
from marketday.calls import Result, StepVersion
from marketday.errors import JobLost, MarketdayError, OutOfMemory, TimedOut, TooLarge
from marketday.settings import Size, next_larger
from marketday.telemetry import tracing
from operators import links, pod_end, pod_spec
from operators.calls import call_of
from operators.lineage import Lineage
from operators.retries import RETRY_POLICY
from operators.returned import returned

OUTGROWN = "outgrown"
"""Key in the task's state of the resource class in which its last try ran out of memory."""

LIFE: dict[str, Any] = {
    "poll_interval": 5.0,
    "schedule_timeout_seconds": 300,  # for a node to have room, or to be added
    "startup_timeout_seconds": 300,  # for the image to be pulled
    "logging_interval": 10,
    "termination_grace_period": pod_spec.GRACE,
    "log_events_on_failure": True,
    "log_pod_spec_on_failure": False,  # our errors say what counts
}
"""What a pod is given time for (seconds), and what is told of it, unless a task says otherwise."""

_IDENTITY = (pod_spec.KEY, pod_spec.GRANTED)
"""Labels by which a pod of the task is known to do what this try wants."""


class PodStepOperator(Lineage, KubernetesPodOperator):
    """Carry out one step of a retailer's business day in a pod of its own, with the resources of class ``size``.

    The call, the result and the errors are StepOperator's. A retry joins the pod that runs, or takes the result of one
    that has ended meanwhile; clearing the task starts over; whoever kills the task deletes the pod. A pod that runs out
    of memory is followed, once, by one of the next larger class. While the pod runs, the task waits in the triggerer,
    which passes on the pod's log, or with ``deferrable=False`` in its worker.

    Raises:
        MarketdayError: what the step raised.
        TimedOut: the pod, or the task, has outlived its time.
        OutOfMemory: the next try gets the next larger class.
        TooLarge: there is none, or its memory was not enough either.
        JobLost: the pod was evicted, deleted, killed, or its node is gone.
        ServiceUnavailable: Kubernetes does not answer or has no room.
        SettingsError: there is no image, no right or no object that the pod needs.

    """

    template_fields = ("block", "parameters")
    operator_extra_links = (links.ReportLink(),)
    BASE_CONTAINER_NAME = pod_spec.CONTAINER

    def __init__(
        self,
        *,
        step: str,
        retailer: str,
        size: Size,
        parameters: dict[str, Any] | None = None,
        block: str | None = None,
        version: StepVersion = 1,
        deferrable: bool = True,
        retry_policy: ExceptionRetryPolicy = RETRY_POLICY,
        **kwargs: Any,
    ) -> None:
        super().__init__(deferrable=deferrable, retry_policy=retry_policy, **{**LIFE, **kwargs})
        self.step = step
        self.retailer = retailer
        self.size = size
        self.parameters = parameters
        self.block = block
        self.version = version
        self.result: Result | None = None

    def execute(self, context: Any) -> dict[str, Any] | None:
        """Create the step's pod or join it, and wait for its end."""
        here = settings.load()
        call = call_of(
            context,
            step=self.step,
            version=self.version,
            retailer=self.retailer,
            block=self.block,
            parameters=self.parameters,
        )
        with pod_end.api_errors():
            self.namespace = here.namespace
            self.full_pod_spec = pod_spec.pod_of(
                call,
                here,
                size=self._class(context),
                run_id=context["run_id"],
                granted=context["ti"].max_tries,
                traceparent=tracing.headers().get("traceparent", ""),
            )
            # The triggerer does not look by itself whether it is in the cluster.
            self.in_cluster = self.hook.is_in_cluster
            super().execute(context)
        return None if self.deferrable else self._hand_over(context, self.remote_pod)

    def get_or_create_pod(self, pod_request_obj: k8s.V1Pod, context: Any) -> k8s.V1Pod:
        """Return the pod of an earlier try since the task was cleared, or a new one, and leave no other beside it."""
        wanted = pod_request_obj.metadata
        names = {"dag_id", "task_id", "run_id", "map_index"} & set(wanted.labels)
        selector = ",".join([f"{self.POD_CHECKED_KEY}!=True", *(f"{name}={wanted.labels[name]}" for name in names)])
        for pod in self.client.list_namespaced_pod(wanted.namespace, label_selector=selector).items:
            same = all(pod.metadata.labels.get(name) == wanted.labels[name] for name in _IDENTITY)
            if same and pod.metadata.deletion_timestamp is None:
                if pod_end.finished(pod):
                    return pod
            else:
                self.log.info("Pod %s is of an earlier try and is not wanted any more", pod.metadata.name)
                self.patch_already_checked(pod, reraise=False)
                self.pod_manager.delete_pod(pod)
        return super().get_or_create_pod(pod_request_obj, context)

    def trigger_reentry(self, context: Any, event: dict[str, Any]) -> dict[str, Any]:
        """Take over from the triggerer: return the result of the pod that has ended, or raise its error."""
        with pod_end.api_errors():
            try:
                super().trigger_reentry(context, event)
            except PodNotFoundException:
                raise pod_end.gone(event["name"]) from None
            except AirflowException as error:
                # Waiting for a pod may fail where the pod did not.
                if self.pod is None or self.pod.status.phase != "Succeeded":
                    raise JobLost(f"Pod {event['name']} is lost: {error}") from error
        if self.pod is None:
            raise pod_end.gone(event["name"])
        return self._hand_over(context, self.pod)

    def cleanup(self, pod: k8s.V1Pod, remote_pod: k8s.V1Pod, xcom_result: Any = None, context: Any = None) -> None:
        """Delete the pod; one that has not succeeded raises what the step, or Kubernetes, says."""
        if remote_pod is not None and not pod_end.finished(remote_pod):
            remote_pod = self._now(remote_pod)
        try:
            super().cleanup(pod, remote_pod, xcom_result, context)
        except AirflowException:
            error = pod_end.error_of(remote_pod)
            if isinstance(error, OutOfMemory):
                error = self._out_of_memory(error, remote_pod, context)
            if isinstance(error, TimedOut):
                limit = "step" if pod_end.finished(remote_pod) else "task"
                stats.incr(f"marketday.{limit}_timeouts", tags={"step": self.step})
            if error.evidence:
                links.push_report(context, error.evidence)
            raise error from None

    def _class(self, context: Any) -> Size:
        """Return the resource class of this try: the step's own, or after it was too small, the next larger one."""
        larger = next_larger(self.size)
        if larger is None or context["task_state_store"].get(OUTGROWN) != self.size:
            return self.size
        self.log.info("The last try ran out of memory in class %s; this one gets class %s", self.size, larger)
        return larger

    def _out_of_memory(self, error: OutOfMemory, pod: k8s.V1Pod, context: Any) -> MarketdayError:
        state, larger = context["task_state_store"], next_larger(self.size)
        if larger and pod.metadata.labels[pod_spec.SIZE] == self.size:
            state.set(OUTGROWN, self.size)
            memory = settings.load().resource_classes[larger].memory_gib
            return OutOfMemory(
                f"{error.message}; the next try gets class {larger} with {memory:g} GiB",
                hint=f"Nothing at once. If it comes back every day, say `{larger}` for {self.step} in the retailer's "
                "`resources`.",
            )
        state.delete(OUTGROWN)
        return TooLarge(
            f"{error.message}, and no try in a larger class follows",
            hint="Make its blocks smaller with the retailer's `block_size`, or give it a class in `resources`.",
        )

    def _now(self, pod: k8s.V1Pod) -> k8s.V1Pod:
        try:
            return self.hook.get_pod(pod.metadata.name, pod.metadata.namespace)
        except ApiException as error:
            if error.status == 404:
                raise pod_end.gone(pod.metadata.name) from None
            raise

    def _hand_over(self, context: Any, pod: k8s.V1Pod) -> dict[str, Any]:
        self.result = pod_end.result_of(pod)
        context["task_state_store"].delete(OUTGROWN)
        for title, address in self.result.links.items():
            self.log.info("%s: %s", title, address)
            links.push_report(context, address)
        self.log.info("rows written: %s; facts: %s", self.result.rows, self.result.facts)
        data = returned(self.result)
        # By hand: with do_xcom_push, KubernetesPodOperator would want a sidecar to read the result from.
        context["ti"].xcom_push(BaseXCom.XCOM_RETURN_KEY, data)
        return data
