"""The embedded platform's parts: processes that end together, ports, secrets, what is found and cleared away."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from marketday import embedded
from marketday.embedded import airflow, lifecycle, processes
from marketday.embedded.platform import health_of, record
from marketday.embedded.processes import Session
from marketday.errors import ServiceError, SettingsError
from marketday.service import migrations
from marketday.settings import Settings

# A program that starts a child which ignores TERM, and one that has left for a session of its own.
_FAMILY = """
import signal, subprocess, sys, time
wait = "print('ready', flush=True); import time; time.sleep(60)"
stubborn = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + wait
subprocess.Popen([sys.executable, "-c", stubborn])
subprocess.Popen([sys.executable, "-c", wait], start_new_session=True)
time.sleep(60)
"""
_ORPHANS = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])"


@pytest.fixture
def launched(tmp_path: Path) -> Iterator[Callable[[str], Session]]:
    sessions: list[Session] = []

    def launch(program: str) -> Session:
        command = [sys.executable, "-c", program]
        log = tmp_path / "logs" / "program.log"
        sessions.append(processes.launch("program", command, env=os.environ, log=log, patience=0.5))
        return sessions[-1]

    yield launch
    processes.stop(sessions)


def _until(condition: Callable[[], bool], seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.05)


def test_stopping_ends_children_that_ignore_the_signal_and_those_that_left_the_session(launched):
    session = launched(_FAMILY)
    _until(lambda: session.log.read_text().count("ready") == 2)
    family = session.family()
    assert len(family) == 3
    assert len(session.members()) == 2

    processes.stop([session])

    assert not any(processes._lives(process) for process in family)


def test_a_session_outlives_its_leader_until_it_is_stopped(launched):
    session = launched(_ORPHANS)
    _until(lambda: not session.leads())
    assert len(session.members()) == 1
    processes.stop([session])
    assert session.members() == set()


def test_a_later_process_with_the_same_id_is_not_taken_for_ours(launched):
    session = launched("print('ready', flush=True); import time; time.sleep(60)")
    _until(lambda: "ready" in session.log.read_text())
    assert len(session.members()) == 1
    assert replace(session, created=session.created - 1e6).members() == set()


def test_memory_counts_what_the_session_holds(launched):
    session = launched("data = bytearray(50_000_000); print('ready', flush=True); import time; time.sleep(60)")
    _until(lambda: "ready" in session.log.read_text())
    assert 50e6 < processes.memory([session]) < 150e6


def test_a_taken_port_gives_way_to_the_next_free_one():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with processes.held_port(f"http://127.0.0.1:{port}") as held:
            assert port < held <= port + 99


def test_two_starts_at_the_same_time_get_two_ports_and_give_them_back():
    url = "http://127.0.0.1:8650"
    with processes.held_port(url) as first:
        with processes.held_port(url) as second:
            assert second > first
        with socket.create_server(("127.0.0.1", first)):  # what was told the port can listen on it
            pass
    with processes.held_port(url) as again:
        assert again == first


def test_an_address_without_a_port_is_refused_with_an_example():
    with pytest.raises(SettingsError, match="names no port") as caught, processes.held_port("http://airflow.example"):
        pytest.fail("it has a port")
    assert "http://127.0.0.1:8080" in caught.value.hint


def test_the_end_of_a_log_is_shown_with_its_place(tmp_path):
    log = tmp_path / "program.log"
    log.write_text("\n".join(f"line {n}" for n in range(100)))
    shown = processes.tail(log)
    assert str(log) in shown
    assert "line 99" in shown
    assert "line 80" in shown
    assert "line 79" not in shown


def test_secrets_are_made_once_and_are_their_owners_only(tmp_path, monkeypatch):
    monkeypatch.chdir(Path(__file__).parents[2])
    home = tmp_path / "airflow"
    first, second = (airflow.environment(home, url="http://127.0.0.1:8080", service_url="http://x:1") for _ in range(2))
    for name in ("AIRFLOW__CORE__FERNET_KEY", "AIRFLOW__API_AUTH__JWT_SECRET", "AIRFLOW__API__SECRET_KEY"):
        assert first[name] == second[name]
    assert len(first["AIRFLOW__API_AUTH__JWT_SECRET"]) >= 64
    assert airflow.password(home) == airflow.password(home) != ""
    files = [path for path in home.iterdir() if path.is_file()]
    assert len(files) == 4
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}


def test_airflow_settings_from_outside_win_except_for_addresses(tmp_path, monkeypatch):
    monkeypatch.chdir(Path(__file__).parents[2])
    monkeypatch.setenv("AIRFLOW__CORE__PARALLELISM", "9")
    monkeypatch.setenv("AIRFLOW_HOME", "/somewhere/else")
    env = airflow.environment(tmp_path, url="http://127.0.0.1:8081", service_url="http://127.0.0.1:8601")
    assert env["AIRFLOW__CORE__PARALLELISM"] == "9"
    assert env["AIRFLOW_HOME"] == str(tmp_path)
    assert env["AIRFLOW__API__PORT"] == "8081"
    assert env["AIRFLOW_CONN_MARKETDAY_SERVICE"] == "http://127.0.0.1:8601"


def test_jobs_get_a_short_grace_period_unless_the_environment_says_another(settings: Settings, monkeypatch):
    monkeypatch.chdir(Path(__file__).parents[2])
    platform = embedded.Platform(airflow_url="http://127.0.0.1:9", service_url="http://127.0.0.1:9", sessions=())
    assert float(lifecycle._environment(settings, platform)["MARKETDAY_SERVICE_GRACE"]) < processes.PATIENCE / 2
    monkeypatch.setenv("MARKETDAY_SERVICE_GRACE", "60")
    assert lifecycle._environment(settings, platform)["MARKETDAY_SERVICE_GRACE"] == "60"


def test_without_a_folder_of_dags_nothing_is_started(settings: Settings, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingsError, match="no folder of DAGs") as caught, embedded.started(settings, lambda *_: None):
        pytest.fail("it started")
    assert "project's folder" in caught.value.hint


def test_two_owners_of_one_home_are_refused(settings: Settings):
    with (
        lifecycle._lock(settings.home),
        pytest.raises(SettingsError, match="Another process"),
        embedded.started(settings, lambda *_: None),
    ):
        pytest.fail("it started")


def test_nothing_runs_in_a_fresh_home(settings: Settings):
    assert embedded.running(settings) is None


def test_where_nothing_runs_the_default_ports_are_taken_for_somebody_elses(settings: Settings):
    with pytest.raises(ServiceError, match="No platform is up in") as caught:
        embedded.addresses(settings)
    assert str(settings.home) in caught.value.message
    assert "marketday up" in caught.value.hint
    assert "MARKETDAY_SERVICE_URL" in caught.value.hint


def test_where_nothing_runs_the_environment_may_say_where_to_go(settings: Settings, monkeypatch):
    monkeypatch.setenv("MARKETDAY_SERVICE_URL", "http://127.0.0.1:8600")
    chosen = Settings()
    assert embedded.addresses(chosen) == chosen
    with pytest.raises(ServiceError, match="No platform is up in") as caught:
        embedded.require(chosen, "service_url", "airflow_url")
    assert "MARKETDAY_SERVICE_URL and MARKETDAY_AIRFLOW_URL" in caught.value.hint


def test_what_a_killed_owner_left_behind_is_neither_used_nor_left(settings: Settings, launched, tmp_path, monkeypatch):
    leftover = launched("import time; time.sleep(60)")
    platform = embedded.Platform(airflow_url="http://127.0.0.1:9", service_url="http://127.0.0.1:9", sessions=())
    settings.home.mkdir(parents=True)
    record(settings.home, platform, [leftover])
    assert embedded.running(settings) is None

    monkeypatch.chdir(tmp_path)  # no DAGs here, so the start ends right after the clearing away
    with pytest.raises(SettingsError), embedded.started(settings, lambda *_: None):
        pytest.fail("it started")

    assert leftover.members() == set()


def test_a_part_that_ends_is_reported_with_its_log(launched):
    session = launched("print('no more disk space')")
    _until(lambda: not session.leads())
    platform = embedded.Platform(airflow_url="", service_url="", sessions=(session,))
    with pytest.raises(ServiceError, match="program has ended unexpectedly") as caught:
        platform.check()
    assert "no more disk space" in caught.value.evidence


class _Healthy(BaseHTTPRequestHandler):
    """Says that everything is in order, as another platform on our ports would."""

    def do_GET(self) -> None:
        parts = ("metadatabase", "scheduler", "dag_processor", "triggerer")
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({part: {"status": "healthy"} for part in parts}).encode())


def test_somebody_elses_good_health_is_not_taken_for_ours(launched):
    session = launched("print('address already in use')")
    _until(lambda: not session.leads())
    with ThreadingHTTPServer(("127.0.0.1", 0), _Healthy) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{other.server_port}"
        platform = embedded.Platform(airflow_url=url, service_url=url, sessions=(session,))
        assert platform.missing() == []
        with pytest.raises(ServiceError, match="has ended unexpectedly") as caught:
            lifecycle._wait_for_health(platform, time.monotonic(), lambda *_: None)
        other.shutdown()
    assert "address already in use" in caught.value.evidence


def test_the_step_service_answers_and_is_gone_after_the_stop(settings: Settings, tmp_path):
    with processes.held_port("http://127.0.0.1:8700") as port:
        migrations.migrate(settings.jobs_database)
        command = [sys.executable, "-m", "marketday.cli", "serve", "--port", str(port)]
        session = processes.launch("step-service", command, env=os.environ, log=tmp_path / "service.log")
    try:
        ready = f"http://127.0.0.1:{port}/readyz"
        _until(lambda: not session.leads() or health_of(ready, 5) is not None, seconds=60)
        assert session.leads(), processes.tail(session.log)
        assert len(httpx.get(f"http://127.0.0.1:{port}/processes", trust_env=False).json()["processes"]) > 1
    finally:
        processes.stop([session])
    assert session.process is not None
    assert session.process.wait(timeout=1) is not None
    assert session.family() == set()
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.1:{port}/readyz", trust_env=False)


_GUARDED = """
import signal, time
from marketday.embedded import lifecycle
with lifecycle._signals(lifecycle._interrupt, signal.SIGTERM):
    try:
        print("ready", flush=True)
        time.sleep(60)
    finally:
        print("cleaned up", flush=True)
"""


def test_a_termination_takes_the_same_way_out_as_ctrl_c():
    with subprocess.Popen(
        [sys.executable, "-c", _GUARDED], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        assert process.communicate(timeout=20)[0] == "cleaned up\n"
