"""Configuration is the environment, and a wrong value says which variable it is."""

import itertools
from pathlib import Path

import pytest

from marketday import settings
from marketday.errors import SettingsError


def test_the_defaults_need_no_server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MARKETDAY_HOME", raising=False)
    loaded = settings.load()
    assert loaded.warehouse_url == str(tmp_path / "var" / "warehouse")
    assert loaded.jobs_database == f"sqlite:///{tmp_path}/var/jobs.db"
    assert loaded.mlflow_url == f"sqlite:///{tmp_path}/var/mlflow.db"


def test_backing_services_are_attached_by_url(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MARKETDAY_WAREHOUSE", "s3://bucket/tables")
    monkeypatch.setenv("MARKETDAY_JOBS_URL", "postgresql://jobs")
    monkeypatch.setenv("MARKETDAY_MLFLOW", "https://mlflow.example")
    loaded = settings.load()
    assert loaded.warehouse_url == "s3://bucket/tables"
    assert loaded.jobs_database == "postgresql://jobs"
    assert loaded.mlflow_url == "https://mlflow.example"


def test_a_wrong_value_names_its_variable_and_what_it_means(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MARKETDAY_SERVICE_SLOTS", "many")
    with pytest.raises(SettingsError, match=r"MARKETDAY_SERVICE_SLOTS='many'.*\n.*Jobs that one step service runs"):
        settings.load()


def test_the_log_level_may_be_in_small_letters(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MARKETDAY_LOG_LEVEL", "debug")
    assert settings.load().log_level == "DEBUG"


def test_a_log_level_that_is_none_is_answered_with_the_right_ones(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MARKETDAY_LOG_LEVEL", "loud")
    with pytest.raises(SettingsError, match="MARKETDAY_LOG_LEVEL is: DEBUG, INFO, WARNING or ERROR"):
        settings.load()


def test_resource_classes_may_be_others_and_what_is_left_out_stays(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MARKETDAY_RESOURCE_CLASSES", '{"S": {"memory_gib": 0.5, "seconds": 9}}')
    classes = settings.load().resource_classes
    assert classes["S"] == settings.ResourceClass(cores=1, memory_gib=0.5, seconds=9)
    assert list(classes) == ["S", "M", "L", "XL"]
    assert classes["M"] == settings.RESOURCE_CLASSES["M"]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("[]", "not a JSON object of objects"),
        ('{"S": 4}', "not a JSON object of objects"),
        ("S=4", "Expecting value"),
        ('{"XS": {}}', "there is no class XS; the classes are S, M, L, XL"),
        ('{"S": {"seconds": "many"}}', r"\[S\]\[seconds\]='many': .* valid integer"),
        ('{"S": {"hours": 1}}', r"\[S\]\[hours\]=1: Extra inputs are not permitted"),
        ('{"S": {"cores": 0}}', "class S has .* each figure must be above 0"),
        ('{"S": {"memory_gib": 6}}', "class M has 6 GiB, and must have more than class S with 6 GiB"),
    ],
)
def test_resource_classes_that_cannot_be_are_refused(monkeypatch: pytest.MonkeyPatch, given: str, says: str):
    monkeypatch.setenv("MARKETDAY_RESOURCE_CLASSES", given)
    with pytest.raises(SettingsError, match=rf"(?s)MARKETDAY_RESOURCE_CLASSES.*{says}"):
        settings.load()


def test_larger_classes_are_larger_in_every_way():
    classes = [settings.RESOURCE_CLASSES[size] for size in ("S", "M", "L", "XL")]
    for small, large in itertools.pairwise(classes):
        assert all(a <= b for a, b in zip(small, large, strict=True))
        assert small.memory_gib < large.memory_gib
