"""A fake step service, and the context that Airflow gives to a task."""

from collections.abc import Callable, Iterator

import pytest
from fake_service import FakeService, serving
from task_context import contexts


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeService]:
    with serving(FakeService()) as service:
        monkeypatch.setenv("MARKETDAY_SERVICE_URL", service.url)
        yield service


@pytest.fixture(autouse=True)
def _no_scheduler_to_wait_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("operators.triggers.SETTLES", 0.0)


@pytest.fixture
def context() -> Callable[..., dict]:
    """Make the context of a task's try: ``context(task, returned={"upstream": [its return values]})``."""
    return contexts()
