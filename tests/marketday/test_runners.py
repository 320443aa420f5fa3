"""Conformance of the runners: the same call gives the same result, or the same error, on each of them."""

import datetime as dt
import importlib
import os
import signal
import sys
import threading
import time
from pathlib import Path

import probe_service
import pytest

from marketday.calls import Call, Result
from marketday.client import StepServiceClient
from marketday.errors import JobFailed, MarketdayError, RetailerError, StepError
from marketday.runners import local
from marketday.runners import service as by_service
from marketday.settings import Settings
from marketday.steps import contract

ROOT = Path(__file__).resolve().parents[2]
DAY = dt.date(2026, 3, 2)


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    plain = Settings(home=tmp_path_factory.mktemp("runners"), retailers=ROOT / "include" / "retailers")
    with probe_service.running(plain) as service:
        yield plain.model_copy(update={"service_url": service.url, "step_modules": "probe_steps"})


@pytest.fixture(autouse=True)
def only_probe_steps(monkeypatch):
    """Register the probe steps, and no others, in this process for the length of a test."""
    monkeypatch.setattr(contract, "_MODULES", ())
    monkeypatch.setattr(contract, "_REGISTRY", {})
    monkeypatch.delitem(sys.modules, "probe_steps", raising=False)
    importlib.import_module("probe_steps")


def outcome(runner, call, settings):
    """Return the result, or what the error says."""
    try:
        return runner.run(call, settings)
    except MarketdayError as error:
        return type(error), error.message, error.hint


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"step": "probe"}, Result),
        ({"step": "probe", "block": "north"}, Result),
        ({"step": "fail"}, StepError),
        ({"step": "fail", "params": {"kind": "bug"}}, JobFailed),
        ({"step": "nothing"}, StepError),
        ({"step": "probe", "version": 7}, StepError),
        ({"step": "probe", "retailer": "nobody"}, RetailerError),
    ],
    ids=str,
)
def test_the_same_call_ends_the_same_on_both_runners(settings, fields, expected):
    call = Call(**({"retailer": "simulated", "day": DAY} | fields))
    here, there = outcome(local, call, settings), outcome(by_service, call, settings)
    assert here == there
    assert (type(here) if isinstance(here, Result) else here[0]) is expected


def test_an_interrupt_cancels_the_job(settings, tmp_path):
    pids = tmp_path / "pids"
    call = Call(step="hang", retailer="simulated", day=DAY, params={"pids": str(pids)})

    def interrupt_when_running():
        while not pids.exists():
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt_when_running).start()
    with pytest.raises(KeyboardInterrupt):
        by_service.run(call, settings)
    with StepServiceClient(settings.service_url) as client:
        again = client.submit(call)
        client.cancel(again.job_id)
    assert again.attempt == 2, "the first job would have been joined if it were still there"
