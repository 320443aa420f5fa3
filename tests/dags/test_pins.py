"""A pipeline may call other releases of its steps than its own; what cannot be is refused before anything runs."""

import shutil
from pathlib import Path

import pytest
from airflow.dag_processing.dagbag import DagBag

from marketday.retailers import Pin
from operators.pipeline import daily_pipeline
from operators.releases import STEPS

ROOT = Path(__file__).resolve().parents[2]
CORNER = "title: Corner shop\ntime_zone: Europe/Berlin\n"


@pytest.fixture
def parsed(tmp_path, monkeypatch):
    """Parse the folder `dags` as Airflow does, with one more definition."""
    folder = Path(shutil.copytree(ROOT / "include" / "retailers", tmp_path / "retailers"))
    monkeypatch.setenv("MARKETDAY_RETAILERS", str(folder))

    def parse(more: str) -> DagBag:
        (folder / "corner.yaml").write_text(CORNER + more, encoding="utf-8")
        return DagBag(ROOT / "dags", safe_mode=True, bundle_path=ROOT / "dags")

    return parse


def refused(bag: DagBag) -> str:
    """Return why the definition was refused; the other retailers' DAGs stand."""
    assert {"daily__simulated", "training__simulated"} <= set(bag.dag_ids)
    assert "daily__corner" not in bag.dag_ids
    return bag.import_errors["definitions.py"]


def test_a_pin_overrides_version_and_service_of_one_step(simulated):
    pins = {"features": Pin(version=2, service="http://old.example")}
    dag = daily_pipeline(simulated.model_copy(update={"pins": pins}))
    assert (dag.get_task("features").version, dag.get_task("features").service) == (2, "http://old.example")
    assert (dag.get_task("clean").version, dag.get_task("clean").service) == (STEPS["clean"].version, "")


def test_a_mapped_step_can_be_pinned_too(simulated):
    dag = daily_pipeline(simulated.model_copy(update={"pins": {"predict": Pin(version=3)}}))
    assert dag.get_task("predict").partial_kwargs["version"] == 3


@pytest.mark.parametrize("stage", ["development", "production"])
def test_latest_is_refused_outside_staging(parsed, monkeypatch, stage):
    monkeypatch.setenv("MARKETDAY_STAGE", stage)
    told = refused(parsed("pins:\n  features: {version: latest}\n"))
    assert "corner.yaml: pins.features.version: latest is allowed only in staging" in told
    assert f"this is {stage}" in told


def test_latest_is_taken_in_staging(parsed, monkeypatch):
    monkeypatch.setenv("MARKETDAY_STAGE", "staging")
    bag = parsed("pins:\n  features: {version: latest}\n")
    assert bag.import_errors == {}
    assert bag.dags["daily__corner"].get_task("features").version == "latest"


@pytest.mark.parametrize(
    ("section", "entry"), [("pins", "featurs: {version: 1}"), ("resources", "featurs: XL")], ids=["pins", "resources"]
)
def test_a_step_that_is_in_no_pipeline_is_refused_with_the_allowed_names(parsed, section, entry):
    told = refused(parsed(f"{section}:\n  {entry}\n"))
    assert f"corner.yaml: {section}.featurs: there is no such step; did you mean `features`?" in told
    assert f"Allowed: {', '.join(STEPS)}" in told


@pytest.mark.parametrize("runner", ["local", "pod"])
def test_a_service_that_would_never_be_asked_is_refused(parsed, runner):
    told = refused(parsed(f'runner: {runner}\npins:\n  features: {{version: 2, service: "http://old.example"}}\n'))
    assert f"pins.features.service: http://old.example would never be asked, because `runner` is {runner}" in told


def test_every_mistake_is_told_at_once(parsed):
    told = refused(parsed("pins:\n  features: {version: latest}\n  clan: {version: 1}\n"))
    assert "pins.features.version" in told
    assert "pins.clan" in told
