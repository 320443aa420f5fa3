"""What every child of StepOperator promises, with a fake step service, and in its own process on the small shop."""

import importlib
from pathlib import Path

import pytest
from airflow.sdk import DAG, BaseOperator
from airflow.sdk.exceptions import TaskDeferred
from airflow.serialization.serialized_objects import DagSerialization
from fake_service import FakeService, serving
from small_shop import DAY
from task_context import contexts

from conformance.morning import SHOP, Morning
from marketday import discovery, retailers, steps
from marketday.calls import Result
from operators import runbooks
from operators.pipeline import daily_pipeline, maintenance_pipeline, training_pipeline
from operators.step import StepOperator
from operators.triggers import JobTrigger

RETAILERS = Path(__file__).resolve().parents[2] / "include" / "retailers"


def children(kind: type[StepOperator]) -> list[type[StepOperator]]:
    """Return every child, grandchild, … of ``kind`` in the package `operators`."""
    found = [deep for child in kind.__subclasses__() for deep in (child, *children(child))]
    return [each for each in found if each.__module__.startswith("operators.")]


def compiled() -> set[tuple[type[StepOperator], str]]:
    """Return the operators of a retailer's DAGs, with the step of each."""
    retailer = retailers.load("simulated", RETAILERS)
    pipelines = (daily_pipeline, training_pipeline, maintenance_pipeline)
    tasks = [task for compiled in pipelines for task in compiled(retailer).tasks]
    made = {(task.operator_class, task.partial_kwargs.get("step", "")) for task in tasks if task.is_mapped}
    made |= {(type(task), getattr(task, "step", "")) for task in tasks if not task.is_mapped}
    return {(kind, step) for kind, step in made if issubclass(kind, StepOperator)}


for module in discovery.modules("operators"):
    importlib.import_module(module)
CHILDREN = children(StepOperator)
CASES = sorted({*compiled(), *((kind, kind.step) for kind in CHILDREN if kind.step)}, key=str)
every = pytest.mark.parametrize(("kind", "step"), CASES, ids=lambda each: getattr(each, "__name__", each))


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    """Defer at once, as a step of minutes does after seconds."""
    monkeypatch.setattr("operators.step.PATIENCE", 0.05)


@pytest.fixture
def service(monkeypatch):
    with serving(FakeService()) as fake:
        monkeypatch.setenv("MARKETDAY_SERVICE_URL", fake.url)
        yield fake


@pytest.fixture
def context():
    return contexts()


def task(kind: type[StepOperator], step: str, **options) -> StepOperator:
    """Make a task as the pipeline does: by the step's name."""
    return kind(task_id=step, step=step, **{"retailer": "simulated", **options})


def test_every_operator_is_asked():
    assert {kind for kind, _ in CASES} == set(CHILDREN)


@every
def test_an_operator_says_what_it_is_and_names_a_step_that_there_is(kind, step):
    assert kind.__doc__.split("\n")[0].endswith(".")
    assert steps.get(step).name == step
    assert kind.step in ("", step)


@every
def test_support_has_a_runbook_beside_the_task(kind, step):
    text = runbooks.of_task(step)
    assert "| what you see | what to do |" in text
    assert "**Clearing**" in text


@every
def test_a_task_is_the_same_at_every_parse_and_survives_airflows_database(kind, step):
    def parsed() -> dict:
        with DAG("any", schedule=None) as dag:
            task(kind, step, block="000", parameters={"rounds": 3})
        return DagSerialization.to_dict(dag)

    assert parsed() == parsed()
    back = DagSerialization.from_dict(parsed()).get_task(step)
    assert back.task_type == kind.__name__
    assert (back.block, back.parameters) == ("000", {"rounds": 3})


@every
def test_while_its_job_runs_a_task_waits_in_the_triggerer_and_killing_it_ends_the_job(kind, step, service, context):
    service.seconds = 30.0
    waiting = task(kind, step)
    with pytest.raises(TaskDeferred) as deferred:
        waiting.execute(context(waiting))
    assert isinstance(deferred.value.trigger, JobTrigger)
    [(call, _)] = service.calls
    assert (call.step, call.retailer) == (step, "simulated")
    waiting.on_kill()
    assert service.status(service.jobs["job0"])["status"] == "dismissed"


@every
def test_without_the_triggerer_a_task_waits_in_its_worker(kind, step, service, context):
    service.seconds = 0.2
    service.results[step] = Result(facts={"rows": 7})
    waiting = task(kind, step, deferrable=False)
    assert waiting.execute(context(waiting))["facts"] == {"rows": 7}


@every
def test_a_task_that_carries_its_step_out_itself_returns_what_the_step_does(
    kind, step, here: Morning, context, monkeypatch
):
    monkeypatch.setenv("MARKETDAY_HOME", str(here.settings.home))
    monkeypatch.setenv("MARKETDAY_RETAILERS", str(here.settings.retailers))
    for call, result in here.results(step):
        with DAG("any", schedule=None):
            own = task(kind, step, retailer=SHOP, runner="local", block=call.block, parameters=call.params)
            BaseOperator(task_id="before") >> own
        given = context(own, key=f"{SHOP}|{DAY}", returned={"before": [{"snapshots": call.inputs}]})
        done = own.execute(given)
        assert (set(done["facts"]), done["links"]) == (set(result.facts), result.links)
        # What looks after stored files says what it has done, and that is less the second time.
        assert steps.get(step).upkeep or done["facts"] == result.facts
        assert set(result.snapshots) <= set(done["snapshots"])
