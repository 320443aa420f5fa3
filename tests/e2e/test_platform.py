"""The embedded platform for real: Airflow and the step service start, are found by others, and leave nothing behind."""

from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from marketday import embedded
from marketday.cli.airflow_api import Airflow
from marketday.embedded import lifecycle
from marketday.settings import Settings

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A home of the module's own, so that Airflow starts only once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        patch.setenv("MARKETDAY_HOME", str(tmp_path_factory.mktemp("home")))
        yield Settings()


@pytest.fixture(scope="module")
def said() -> list[str]:
    return []


@pytest.fixture(scope="module")
def platform(settings: Settings, said: list[str]) -> Iterator[embedded.Platform]:
    with embedded.started(settings, lambda what, _: said.append(what)) as started:
        yield started
    family: set[psutil.Process] = set().union(*(session.family() for session in started.sessions))
    assert family == set()
    assert embedded.running(settings) is None


def test_the_start_says_what_it_waits_for(platform, said):
    assert "preparing Airflow's database" in said
    assert any(text.startswith("starting ") for text in said)


def test_it_is_found_and_used_instead_of_started_again(platform, settings):
    assert embedded.addresses(settings).airflow_url == platform.airflow_url
    with embedded.started(settings, lambda *_: pytest.fail("it started again")) as found:
        assert [session.pid for session in found.sessions] == [session.pid for session in platform.sessions]
        assert not found.ours
    assert embedded.running(settings) is not None


def test_every_retailer_has_its_dag_and_no_file_has_an_error(platform, settings):
    with Airflow(platform.airflow_url, *embedded.credentials(settings)) as airflow:
        for retailer in ("simulated", "m5", "freshretailnet"):
            airflow.wait_for_dag(f"daily__{retailer}")
        assert airflow.import_errors() == []


def test_its_memory_is_measured(platform):
    with embedded.Peak(platform) as peak:
        pass
    assert 2e8 < peak.bytes < 3e9


def test_nothing_listens_beyond_this_machine(platform):
    family = set().union(*(session.family() for session in platform.sessions))
    listening = [c.laddr for process in family for c in process.net_connections() if c.status == psutil.CONN_LISTEN]
    assert len(listening) >= 2
    assert {address.ip for address in listening} == {"127.0.0.1"}


def test_the_next_start_in_the_same_home_will_need_no_migration(platform, settings):
    assert lifecycle.airflow.is_migrated(settings.home.resolve() / "airflow")
