"""Makes the other tests' parts importable, and gives the small shop's morning, on the local runner and as jobs."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / folder) for folder in ("marketday", "operators")]

import probe_service  # noqa: E402  needs the path above

from conformance import morning  # noqa: E402
from conformance.morning import Morning  # noqa: E402
from marketday.runners import local, service  # noqa: E402


@pytest.fixture(scope="session")
def here(tmp_path_factory: pytest.TempPathFactory) -> Morning:
    """The small shop's morning in this process."""
    return morning.carried_out(morning.prepared(tmp_path_factory.mktemp("here")), local.run)


@pytest.fixture(scope="session")
def as_jobs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Morning]:
    """The same morning as jobs of a step service in a process of its own."""
    plain = morning.prepared(tmp_path_factory.mktemp("jobs"))
    # The project's own steps and no others, also where the project is another than the installed one.
    variables = {"MARKETDAY_STEP_MODULES": "", "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    with probe_service.running(plain, full=True, environment=variables) as running:
        settings = plain.model_copy(update={"service_url": running.url})
        yield morning.carried_out(settings, service.run)
