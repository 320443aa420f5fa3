"""An old release of a step runs beside a new one: two real step services, one pipeline."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from marketday.errors import StepError
from marketday.retailers import Pin
from marketday.settings import Settings
from operators.pipeline import daily_pipeline

HERE = Path(__file__).resolve().parent
PROBES = HERE.parent / "marketday"


@pytest.fixture(scope="module")
def urls(tmp_path_factory) -> Iterator[tuple[str, str]]:
    """Run a service of release 1 and one of release 2, on one warehouse; return their addresses."""
    folder = tmp_path_factory.mktemp("releases")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(PROBES))
        from probe_service import running

        def serving(release: int):
            environment = {
                "RELEASE": str(release),
                "MARKETDAY_STEP_MODULES": "released_steps",
                "MARKETDAY_WAREHOUSE": str(folder / "warehouse"),
                "PYTHONPATH": f"{HERE}:{PROBES}",
            }
            home = Settings(home=folder / str(release), retailers=HERE.parents[1] / "include" / "retailers")
            return running(home, environment=environment)

        with serving(1) as own, serving(2) as other:
            yield own.url, other.url


@pytest.fixture
def other(urls, settings, monkeypatch) -> str:
    """Return the address of release 2; release 1 is the service of all steps that are not pinned."""
    monkeypatch.setenv("MARKETDAY_SERVICE_URL", urls[0])
    return urls[1]


def carried_out(dag, name: str, context) -> dict:
    task = dag.get_task(name)
    task.deferrable = False
    return task.execute(context(task))["facts"]


def test_one_pipeline_calls_two_releases(other, simulated, context):
    dag = daily_pipeline(simulated.model_copy(update={"pins": {"verify": Pin(version=2, service=other)}}))
    assert carried_out(dag, "publish", context) == {"release": 1}
    assert carried_out(dag, "verify", context) == {"release": 2}


def test_a_version_that_a_service_does_not_have_is_refused(other, simulated, context):
    dag = daily_pipeline(simulated.model_copy(update={"pins": {"verify": Pin(version=2)}}))
    with pytest.raises(StepError, match=r"verify is here in version 1, not 2\nWhat to do: Call verify@1"):
        carried_out(dag, "verify", context)


def test_latest_is_whichever_a_service_has(other, simulated, context):
    pins = {"verify": Pin(version="latest", service=other), "publish": Pin(version="latest")}
    dag = daily_pipeline(simulated.model_copy(update={"pins": pins}))
    assert (carried_out(dag, "publish", context), carried_out(dag, "verify", context)) == (
        {"release": 1},
        {"release": 2},
    )
