"""What every registered step promises, on the small shop's morning: see :mod:`conformance.morning`."""

import json
import re
import shutil
from pathlib import Path

import pytest
from small_shop import DAY

from conformance.morning import SHOP, Morning, outcome, versions
from marketday import steps, tables
from marketday.calls import Result
from marketday.client import MAX_WAIT, StepServiceClient
from marketday.errors import JobFailed
from marketday.runners import local
from marketday.settings import RESOURCE_CLASSES
from marketday.tables import RUNS
from marketday.warehouse import Warehouse, content_hash

NAMES = steps.names()
UPKEEP = [name for name in NAMES if steps.get(name).upkeep]
FROM_ROWS_TO_ROWS = [name for name in NAMES if name not in UPKEEP]
GIB = 1 << 30


@pytest.mark.parametrize("name", NAMES)
def test_a_step_says_what_it_is(name):
    step = steps.get(name)
    assert re.fullmatch(r"[a-z][a-z0-9_]*", name)
    assert step.description.endswith("."), "the first line of its docstring, in one sentence"
    assert step.version >= 1
    assert step.size in RESOURCE_CLASSES
    assert set(step.latest) <= set(step.reads)


@pytest.mark.parametrize("name", FROM_ROWS_TO_ROWS)
def test_a_second_execution_changes_nothing(name, here: Morning):
    for call, first in here.results(name):
        before = versions(here.settings)
        again = local.run(call, here.settings)
        assert again.hashes == first.hashes
        assert (again.rows, again.facts, again.links) == (first.rows, first.facts, first.links)
        assert versions(here.settings) == before


@pytest.mark.parametrize("name", UPKEEP)
def test_a_step_that_looks_after_what_is_stored_changes_no_row(name, here: Morning):
    def rows():
        warehouse = Warehouse.from_settings(here.settings)
        stored = {table: warehouse.scan(SHOP, table).collect() for table in tables.ALL.values() if table is not RUNS}
        return {table.name: content_hash(all_rows, table) for table, all_rows in stored.items()}

    step = steps.get(name)
    assert (step.reads, step.writes, step.repeatable) == ((), (), False)
    before = rows()
    for call, _ in here.results(name):
        local.run(call, here.settings)
    assert rows() == before


@pytest.mark.parametrize("name", FROM_ROWS_TO_ROWS)
def test_a_step_reads_and_writes_only_what_it_declares(name, here: Morning, tmp_path, monkeypatch):
    """Carried out where there is nothing else, it leaves the same; only the steps up to `clean` see deliveries."""
    step = steps.get(name)
    assert here.changed[name] <= {table.name for table in step.writes}
    home, folder = tmp_path / "home", tmp_path / "folder"
    for table in step.reads:
        of_before = here.settings.home / "warehouse" / SHOP / table.name
        if of_before.exists():
            shutil.copytree(of_before, home / "warehouse" / SHOP / table.name)
    if name in ("ingest", "replay", "clean"):
        shutil.copytree(here.settings.deliveries_url, home / "deliveries")
    folder.mkdir()
    monkeypatch.chdir(folder)
    settings = here.settings.model_copy(update={"home": home})
    given = files(home)
    for call, first in here.results(name):
        again = local.run(call, settings)
        assert (again.hashes, again.facts) == (first.hashes, first.facts)
    allowed = [f"warehouse/{SHOP}/{table.name}/" for table in (*step.writes, RUNS)]
    allowed.append(f"reports/{SHOP}/{DAY}/{name}/")
    assert [path for path in files(home) - given if not path.startswith(tuple(allowed))] == []
    assert files(folder) == set()


@pytest.mark.parametrize("name", NAMES)
def test_a_step_comes_to_the_same_as_a_job_of_the_service(name, here: Morning, as_jobs: Morning):
    def came_to(morning):
        results = [(call, result.model_dump_json()) for call, result in morning.results(name)]
        # Its pages are where its service shows them.
        return [(call, json.loads(text.replace(morning.settings.service_url, "http://it"))) for call, text in results]

    assert came_to(as_jobs) == came_to(here)


@pytest.mark.parametrize("name", NAMES)
def test_a_step_keeps_within_its_resource_class(name, as_jobs: Morning):
    limit = RESOURCE_CLASSES[steps.get(name).size]
    with StepServiceClient(as_jobs.settings.service_url) as client:
        for call, _ in as_jobs.results(name):
            job = client.submit(call)
            while not job.final:
                job = client.status(job.job_id, wait=MAX_WAIT)
            assert job.started
            assert job.finished
            assert (job.finished - job.started).total_seconds() < limit.seconds
            assert job.peak_memory < limit.memory_gib * GIB


@pytest.mark.parametrize("name", NAMES)
def test_where_there_is_nothing_a_step_ends_well_or_says_what_to_do(name, here: Morning, tmp_path):
    settings = here.settings.model_copy(update={"home": tmp_path})
    for call, _ in here.results(name):
        came_to = outcome(local.run, call.model_copy(update={"inputs": {}}), settings)
        assert not isinstance(came_to, JobFailed), came_to
        assert isinstance(came_to, Result) or came_to.hint


def test_every_step_has_taken_part(here: Morning):
    assert list(here.outcomes) == NAMES


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
