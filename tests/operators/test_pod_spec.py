"""What a step's pod looks like: valid, restricted, with what its class says, and as the documentation shows it."""

import json
import re

import kubernetes_validate
import pytest
from hypothesis import given as for_all
from hypothesis import strategies as st
from kubernetes.client import ApiClient
from pod_cases import DAY, IMAGE, deferred, documented, step_task

from marketday.calls import Call
from marketday.errors import SettingsError
from marketday.settings import RESOURCE_CLASSES, Settings
from operators import pod_spec
from operators.releases import STEPS

pytest_plugins = ("pod_fixtures",)

LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
VERSIONS = [f"1.{minor}" for minor in range(25, 38)]


def manifest(pod) -> dict:
    return ApiClient().sanitize_for_serialization(pod)


@pytest.fixture
def pod_request(kubernetes, given):
    """Build what Airflow asks Kubernetes for, for a step in a class."""

    def build(step: str, size: str, **kwargs) -> dict:
        task = step_task(step, size=size, **kwargs)
        context = given(task)
        deferred(task, context)
        kubernetes.pods.clear()
        return kubernetes.created[-1]

    return build


@pytest.mark.parametrize("step", STEPS)
def test_every_steps_pod_is_valid_for_every_kubernetes_and_fits_the_restricted_standard(pod_request, step):
    for size in RESOURCE_CLASSES:
        pod = pod_request(step, size, block="south/2 (new)" if step == "predict" else None)
        for version in VERSIONS:
            kubernetes_validate.validate(pod, version, strict=True)
        assert violations(pod["spec"]) == []
        assert all(LABEL_VALUE.fullmatch(value) for value in pod["metadata"]["labels"].values())


def violations(spec: dict) -> list[str]:
    """Return what the Pod Security Standard "restricted" objects to."""
    pod, [container] = spec["securityContext"], spec["containers"]
    own = container["securityContext"]
    allowed = {
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "persistentVolumeClaim",
        "projected",
        "secret",
    }
    rules = {
        "host namespaces": not any(spec.get(f"host{kind}") for kind in ("Network", "PID", "IPC")),
        "privileged": not own.get("privileged"),
        "capabilities": own["capabilities"] == {"drop": ["ALL"]},
        "volume types": all(set(volume) - {"name"} <= allowed for volume in spec["volumes"]),
        "host ports": not any("hostPort" in port for port in container.get("ports", ())),
        "privilege escalation": own["allowPrivilegeEscalation"] is False,
        "non-root": pod["runAsNonRoot"] is True and pod["runAsUser"] > 0,
        "seccomp": pod["seccompProfile"] == {"type": "RuntimeDefault"},
    }
    return [rule for rule, kept in rules.items() if not kept]


def test_a_pod_gets_what_its_resource_class_says(pod_request):
    for size, limit in RESOURCE_CLASSES.items():
        spec = pod_request("clean", size)["spec"]
        resources = spec["containers"][0]["resources"]
        assert resources["requests"] == resources["limits"]
        assert resources["limits"] == {"cpu": str(limit.cores), "memory": f"{int(limit.memory_gib * 1024)}Mi"}
        assert spec["activeDeadlineSeconds"] == limit.seconds
        assert spec["containers"][0]["command"][3:5] == ["--size", size]


def test_a_pod_can_write_only_where_it_must_and_knows_no_secret(pod_request, monkeypatch):
    monkeypatch.setenv("MARKETDAY_SERVICE_TOKEN", "do-not-tell")
    pod = pod_request("clean", "M")
    [container] = pod["spec"]["containers"]
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert {mount["mountPath"] for mount in container["volumeMounts"]} == {
        "/tmp",  # noqa: S108  the pod's own
        "/home/marketday",
        "/var/lib/marketday",
    }
    assert pod["spec"]["automountServiceAccountToken"] is False
    assert "do-not-tell" not in json.dumps(pod)
    assert {"secretRef": {"name": "marketday", "optional": True}} in container["envFrom"]


def test_the_documentation_shows_the_pod_as_it_is():
    settings = Settings(image=IMAGE, namespace="forecasts", stage="production")
    call = Call(step="clean", retailer="simulated", day=DAY, inputs={"ingested": 12})
    run_id = "scheduled__2025-03-03T03:00:00+00:00"
    pod = pod_spec.pod_of(call, settings, size="M", run_id=run_id, granted=3)
    assert documented("Pod") == {"apiVersion": "v1", "kind": "Pod"} | manifest(pod)


@pytest.mark.parametrize("kind", ["ConfigMap", "PersistentVolumeClaim", "ServiceAccount", "Role", "RoleBinding", "Pod"])
def test_the_documentations_objects_are_valid(kind):
    for version in VERSIONS:
        kubernetes_validate.validate(documented(kind), version, strict=True)


@for_all(block=st.text(max_size=90), run_id=st.text(min_size=1, max_size=90))
def test_labels_are_valid_whatever_blocks_and_runs_are_called(block, run_id):
    call = Call(step="predict", retailer="simulated", day=DAY, block=block)
    for value in pod_spec.labels(call, size="M", run_id=run_id, granted=0).values():
        assert LABEL_VALUE.fullmatch(value)


def test_the_pod_is_given_the_call_word_for_word(pod_request):
    odd = {"text": "$(HOME) $$ “quoted”", "rounds": 3}
    [container] = pod_request("train", "L", parameters=odd)["spec"]["containers"]
    [text] = [each["value"] for each in container["env"] if each["name"] == "MARKETDAY_CALL"]
    assert "$" not in text, "Kubernetes would replace what it takes for a variable"
    assert Call.model_validate_json(text) == Call(step="train", retailer="simulated", day=DAY, params=odd)


def test_the_pods_span_hangs_below_the_tasks(pod_request, monkeypatch):
    parent = f"00-{'4' * 32}-{'5' * 16}-01"
    monkeypatch.setattr("marketday.telemetry.tracing.headers", lambda: {"traceparent": parent})
    [container] = pod_request("clean", "M")["spec"]["containers"]
    assert {"name": "TRACEPARENT", "value": parent} in container["env"]


def test_kubernetes_replaces_nothing_in_the_name_of_a_run():
    call = Call(step="clean", retailer="simulated", day=DAY)
    pod = pod_spec.pod_of(call, Settings(image=IMAGE), size="M", run_id="$(HOME)", granted=0)
    assert {"name": "MARKETDAY_RUN_ID", "value": "$$(HOME)"} in manifest(pod)["spec"]["containers"][0]["env"]


@pytest.mark.parametrize(
    ("image", "stage", "says"),
    [
        ("", "staging", "MARKETDAY_IMAGE is not set"),
        ("registry.example:5000/marketday", "production", "only in staging"),
        ("marketday:latest", "development", "only in staging"),
    ],
)
def test_an_image_that_is_no_release_is_refused_with_what_to_set(image, stage, says):
    with pytest.raises(SettingsError, match=says) as raised:
        pod_spec.release(Settings(image=image, stage=stage))
    assert "registry.example/marketday:1.4.2" in raised.value.hint


@pytest.mark.parametrize(
    ("image", "stage"),
    [(IMAGE, "production"), ("r:5000/m@sha256:" + 64 * "0", "production"), ("marketday:latest", "staging")],
)
def test_a_release_may_run(image, stage):
    assert pod_spec.release(Settings(image=image, stage=stage)) == image
