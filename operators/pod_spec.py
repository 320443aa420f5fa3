"""What a step's pod looks like: everything in it follows from the call, the resource class and the settings."""

import hashlib
import re
from collections.abc import Mapping

from kubernetes.client import models as k8s

from marketday.calls import Call
from marketday.errors import SettingsError
from marketday.settings import ResourceClass, Settings, Size

NAME = "marketday"
"""What the pods' config map, secret, volume claim and service account are called, in the namespace of the pods."""

CONTAINER = "step"
"""Name of the only container."""

USER = 10001
"""User and group of the process: the image's own."""

DATA = "/var/lib/marketday"
"""Where the volume claim is mounted: what the step service and the pods share, MARKETDAY_HOME of both."""

HOME = "/home/marketday"
"""Where libraries may keep what they like; gone with the pod, as /tmp is."""

REPORT = "/dev/termination-log"
"""Where the process reports its end: a file that Kubernetes mounts, and of which it keeps 4096 bytes."""

GRACE = 10
"""Seconds from SIGTERM to SIGKILL; the process needs a moment of them to report that the step is lost."""

RETAILER, DAY, STEP, BLOCK, RUN, KEY, SIZE, GRANTED = (
    f"{NAME}/{label}" for label in ("retailer", "day", "step", "block", "run", "key", "size", "granted")
)
"""Labels of a pod; GRANTED is how many tries Airflow had granted the task, which clearing makes more."""

_LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")
"""What Kubernetes takes for the value of a label."""

_KEY_LENGTH = 32
"""Characters of a call's key in a label, which may have 63; the key has 64."""


def pod_of(
    call: Call, settings: Settings, *, size: Size, run_id: str, granted: int, traceparent: str = ""
) -> k8s.V1Pod:
    """Return the pod that carries out ``call`` in resource class ``size``; Airflow completes its name.

    ``granted`` is how many tries Airflow grants the task, ``traceparent`` the span above the step's. The pod fits the
    Pod Security Standard "restricted".

    Raises:
        SettingsError: MARKETDAY_IMAGE names no release.

    """
    limit = settings.resource_classes[size]
    about = {"MARKETDAY_RUN_ID": run_id, "TRACEPARENT": traceparent}
    return k8s.V1Pod(
        metadata=k8s.V1ObjectMeta(
            name=f"{NAME}-{call.step}-{call.retailer}".replace("_", "-"),
            namespace=settings.namespace,
            labels=labels(call, size=size, run_id=run_id, granted=granted),
        ),
        spec=k8s.V1PodSpec(
            containers=[_container(call, release(settings), size, limit, about)],
            restart_policy="Never",
            active_deadline_seconds=limit.seconds,
            termination_grace_period_seconds=GRACE,
            service_account_name=NAME,
            automount_service_account_token=False,
            enable_service_links=False,  # a service called marketday would set variables that look like settings
            security_context=k8s.V1PodSecurityContext(
                run_as_non_root=True,
                run_as_user=USER,
                run_as_group=USER,
                fs_group=USER,
                fs_group_change_policy="OnRootMismatch",
                seccomp_profile=k8s.V1SeccompProfile(type="RuntimeDefault"),
            ),
            volumes=[
                k8s.V1Volume(name="tmp", empty_dir=k8s.V1EmptyDirVolumeSource()),
                k8s.V1Volume(name="home", empty_dir=k8s.V1EmptyDirVolumeSource()),
                k8s.V1Volume(
                    name="data", persistent_volume_claim=k8s.V1PersistentVolumeClaimVolumeSource(claim_name=NAME)
                ),
            ],
        ),
    )


def release(settings: Settings) -> str:
    """Return the image of this release.

    Raises:
        SettingsError: there is none, or it may be another one tomorrow; says what to set.

    """
    image = settings.image
    if not image:
        raise SettingsError(
            "Steps cannot run as pods: MARKETDAY_IMAGE is not set",
            hint="Set it, where Airflow runs, to the image of this release, such as registry.example/marketday:1.4.2.",
        )
    name, _, digest = image.partition("@")
    tag = name.rpartition("/")[2].partition(":")[2]
    if not digest and tag in {"", "latest"} and settings.stage != "staging":
        raise SettingsError(
            f"MARKETDAY_IMAGE={image} may be another image tomorrow; that is allowed only in staging, and this is "
            f"{settings.stage}",
            hint="Name the release's tag or digest: registry.example/marketday:1.4.2 or …/marketday@sha256:….",
        )
    return image


def labels(call: Call, *, size: Size, run_id: str, granted: int) -> dict[str, str]:
    """Return the labels by which a step's pods are found: ``kubectl get pods -l marketday/retailer=…``."""
    values = {
        "app.kubernetes.io/name": NAME,
        "app.kubernetes.io/component": CONTAINER,
        RETAILER: call.retailer,
        DAY: call.day.isoformat(),
        STEP: call.step,
        BLOCK: call.block,
        RUN: run_id,
        KEY: call.key[:_KEY_LENGTH],
        SIZE: size,
        GRANTED: str(granted),
    }
    return {name: _label(value) for name, value in values.items() if value}


def _label(text: str) -> str:
    """Return a text as the value of a label; one that cannot be one as it is gets a hash that tells it from others."""
    if _LABEL.fullmatch(text):
        return text
    words = re.sub(r"[^A-Za-z0-9]+", "-", text)[:40].strip("-")
    return "-".join(filter(None, (words, hashlib.sha256(text.encode(errors="replace")).hexdigest()[:12])))


def _container(call: Call, image: str, size: Size, limit: ResourceClass, about: Mapping[str, str]) -> k8s.V1Container:
    # The same requests as limits: such a pod is the last to be evicted when its node runs short.
    resources = {"cpu": str(limit.cores), "memory": f"{round(limit.memory_gib * 1024)}Mi"}
    return k8s.V1Container(
        name=CONTAINER,
        image=image,
        command=["marketday", "step", "run", "--size", size, "--result", REPORT],
        env_from=[
            k8s.V1EnvFromSource(config_map_ref=k8s.V1ConfigMapEnvSource(name=NAME)),
            k8s.V1EnvFromSource(secret_ref=k8s.V1SecretEnvSource(name=NAME, optional=True)),
        ],
        env=[
            k8s.V1EnvVar(name="HOME", value=HOME),
            k8s.V1EnvVar(name="MARKETDAY_HOME", value=DATA),
            # Kubernetes would replace $(…) in it; JSON has another way to write the character.
            k8s.V1EnvVar(name="MARKETDAY_CALL", value=call.model_dump_json().replace("$", r"\u0024")),
            *(k8s.V1EnvVar(name=name, value=text.replace("$", "$$")) for name, text in about.items() if text),
            k8s.V1EnvVar(
                name="MARKETDAY_JOB_ID",
                value_from=k8s.V1EnvVarSource(field_ref=k8s.V1ObjectFieldSelector(field_path="metadata.name")),
            ),
        ],
        resources=k8s.V1ResourceRequirements(requests=resources, limits=resources),
        security_context=k8s.V1SecurityContext(
            allow_privilege_escalation=False,
            read_only_root_filesystem=True,
            capabilities=k8s.V1Capabilities(drop=["ALL"]),
        ),
        termination_message_path=REPORT,
        # Of a process that died without a report, the last lines of its log.
        termination_message_policy="FallbackToLogsOnError",
        volume_mounts=[
            k8s.V1VolumeMount(name="tmp", mount_path="/tmp"),  # noqa: S108  the pod's own
            k8s.V1VolumeMount(name="home", mount_path=HOME),
            k8s.V1VolumeMount(name="data", mount_path=DATA),
        ],
    )
