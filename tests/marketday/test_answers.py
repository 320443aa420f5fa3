"""Answers that are remembered: exactly as long as asking again would give the same."""

import asyncio
import datetime as dt
import importlib
import shutil
import sys
import threading

import pytest

from marketday import retailers
from marketday.calls import Call
from marketday.client import JobStatus
from marketday.errors import ServiceUnavailable
from marketday.service import migrations, recorded
from marketday.service.answers import Answers
from marketday.service.slots import Slots
from marketday.service.store import Ended, JobStore
from marketday.steps import contract, get
from marketday.telemetry.metrics import Metrics

DAY = dt.date(2026, 3, 2)
ELSEWHERE = "another replica"


@pytest.fixture(autouse=True)
def only_probe_steps(monkeypatch):
    """Register the probe steps, and no others, in this process for the length of a test."""
    monkeypatch.setattr(contract, "_MODULES", ())
    monkeypatch.setattr(contract, "_REGISTRY", {})
    monkeypatch.delitem(sys.modules, "probe_steps", raising=False)
    importlib.import_module("probe_steps")


@pytest.fixture
def store(settings):
    migrations.migrate(settings.jobs_database)
    store = JobStore(settings.jobs_database)
    yield store
    store.close()


@pytest.fixture
def slots(settings, store, tmp_path):
    """Slots that are not started: whatever is not known is refused."""
    shutil.copytree(settings.retailers, tmp_path / "retailers")
    own = settings.model_copy(update={"retailers": tmp_path / "retailers"})
    metrics = Metrics(stage="development", steps=(), recorded=store.for_metrics)
    return Slots(own, store, metrics, service="me", hurry=threading.Event())


@pytest.fixture
def ask(slots, monkeypatch):
    """Return a function that submits a call as the route does, and says whether the answer was remembered."""
    answers = Answers(slots)

    def submit(call: Call, *, force: bool = False) -> tuple[str, bool]:
        body = call.model_dump_json().encode()
        if known := answers.standing(call.step, body, force=force):
            assert JobStatus.model_validate_json(known.response.body) == known.job
            return known.job.job_id, True
        job, new = asyncio.run(answers.submit(call, body, force=force, run_id=""))
        assert not new
        return job.job_id, False

    return submit


def call(step="volatile", **params):
    return Call(step=step, retailer="simulated", day=DAY, params=params)


def running(store, slots, call, service=ELSEWHERE):
    retailer = retailers.load(call.retailer, slots.settings.retailers)
    definition = recorded.definition(get(call.step), retailer)
    return store.create(call, definition=definition, size="S", service=service, lease=60)[0].job_id


def successful(store, slots, call):
    job_id = running(store, slots, call)
    store.end(job_id, Ended("successful", result={}))
    return job_id


def test_a_running_job_is_joined_without_asking_until_the_store_changes(store, slots, ask):
    job_id = running(store, slots, call())
    assert ask(call()) == (job_id, False)
    assert ask(call()) == (job_id, True)
    store.create(call(n=1), definition="d", size="S", service=ELSEWHERE, lease=60)
    assert ask(call()) == (job_id, False)
    assert ask(call()) == (job_id, True)


def test_a_job_that_was_cancelled_through_another_replica_is_not_joined(settings, store, slots, ask):
    job_id = running(store, slots, call())
    assert [ask(call()), ask(call())] == [(job_id, False), (job_id, True)]
    replica = JobStore(settings.jobs_database)
    replica.end(job_id, Ended("dismissed"))
    again = running(replica, slots, call())
    replica.close()
    assert ask(call()) == (again, False)


def test_a_job_of_ours_that_holds_no_slot_is_not_joined(store, slots, ask, monkeypatch):
    job_id = running(store, slots, call(), service=slots.service)
    monkeypatch.setitem(slots._running, job_id, None)
    assert [ask(call()), ask(call())] == [(job_id, False), (job_id, True)]
    monkeypatch.delitem(slots._running, job_id)
    with pytest.raises(ServiceUnavailable, match="starting or stopping"):
        ask(call())
    assert store.get(job_id).error["type"] == "JobLost"


def test_a_recorded_result_stands_until_the_retailers_definition_changes(store, slots, ask):
    done = successful(store, slots, call("hang"))
    assert [ask(call("hang")), ask(call("hang"))] == [(done, False), (done, True)]
    definition = slots.settings.retailers / "simulated.yaml"
    definition.write_text(definition.read_text().replace("horizon: 14", "horizon: 21"))
    with pytest.raises(ServiceUnavailable, match="starting or stopping"):
        ask(call("hang"))


def test_a_call_that_is_forced_is_another_request(store, slots, ask):
    done = successful(store, slots, call("hang"))
    assert [ask(call("hang")), ask(call("hang"))] == [(done, False), (done, True)]
    with pytest.raises(ServiceUnavailable, match="starting or stopping"):
        ask(call("hang"), force=True)


def test_a_recorded_result_that_depends_on_tables_is_looked_at_each_time(store, slots, ask):
    done = successful(store, slots, call("newest"))
    assert [ask(call("newest")), ask(call("newest"))] == [(done, False)] * 2


def test_a_store_that_cannot_tell_of_changes_at_once_is_asked_each_time(store, slots, ask, monkeypatch):
    monkeypatch.setattr(store, "revision", lambda: None)
    job_id = running(store, slots, call())
    assert [ask(call()), ask(call())] == [(job_id, False)] * 2
