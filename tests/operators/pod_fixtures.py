"""Fixtures of tests of steps as pods: an API server, and the context of a task's try."""

import datetime as dt
import json
from types import SimpleNamespace

import pytest
import yaml
from fake_kubernetes import FakeKubernetes, serving
from pod_cases import IMAGE, documented


@pytest.fixture
def kubernetes(tmp_path, monkeypatch):
    """An API server that allows what the documentation says it must, and the way to it."""
    rights = {
        (resource, verb)
        for rule in documented("Role")["rules"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    with serving(FakeKubernetes(rights)) as kubernetes:
        way = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "fake",
            "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "airflow"}}],
            "clusters": [{"name": "fake", "cluster": {"server": kubernetes.url}}],
            "users": [{"name": "airflow", "user": {"token": "any"}}],
        }
        file = tmp_path / "kubeconfig"
        file.write_text(yaml.safe_dump(way))
        connection = {"conn_type": "kubernetes", "extra": {"kube_config_path": str(file)}}
        monkeypatch.setenv("AIRFLOW_CONN_KUBERNETES_DEFAULT", json.dumps(connection))
        monkeypatch.setenv("MARKETDAY_NAMESPACE", "forecasts")
        monkeypatch.setenv("MARKETDAY_IMAGE", IMAGE)
        yield kubernetes


@pytest.fixture
def given(context):
    """Make the context of a task's try, with what Kubernetes' operator wants to know of it."""

    def make(task, *, try_number=1, **kwargs) -> dict:
        made = context(task, **kwargs) | {"dag": SimpleNamespace()}
        about = {"dag_id": "daily__simulated", "task_id": task.task_id, "run_id": "run1", "map_index": -1}
        started = {"try_number": try_number, "start_date": dt.datetime.now(dt.UTC)}
        for name, value in (about | started).items():
            setattr(made["ti"], name, value)
        return made

    return make
