"""The command line: help with examples, readable errors, deliveries to a real step service, a run as lines of a log."""

import datetime as dt
import io
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import typer
from typer.testing import CliRunner

from marketday import cli, deliveries
from marketday.cli import follow
from marketday.cli.airflow_api import Airflow, Task
from marketday.embedded import processes
from marketday.errors import ServiceUnavailable
from marketday.service import migrations, server
from marketday.settings import Settings

NAMES = [function.__name__ for functions in cli.COMMANDS.values() for function in functions]
MORNING = dt.date(2025, 3, 3)


@pytest.fixture
def command_line(settings: Settings, monkeypatch) -> CliRunner:
    monkeypatch.setenv("COLUMNS", "200")
    return CliRunner()


@pytest.fixture
def service(settings: Settings, tmp_path: Path, monkeypatch) -> Iterator[str]:
    """A step service in a process of its own."""
    with processes.held_port("http://127.0.0.1:8800") as port:
        url = f"http://127.0.0.1:{port}"
    monkeypatch.setenv("MARKETDAY_SERVICE_URL", url)
    migrations.migrate(settings.jobs_database)
    command = [sys.executable, "-m", "marketday.cli", "serve"]
    session = processes.launch("step-service", command, env=os.environ, log=tmp_path / "service.log")
    try:
        for _ in range(600):
            assert session.leads(), processes.tail(session.log)
            try:
                httpx.get(f"{url}/readyz", trust_env=False).raise_for_status()
                break
            except httpx.HTTPError:
                time.sleep(0.1)
        yield url
    finally:
        processes.stop([session])


def test_help_needs_no_heavy_library():
    heavy = ["polars", "pyarrow", "deltalake", "dask", "lightgbm", "airflow", "great_expectations", "fastapi", "altair"]
    heavy += ["mlflow", "distributed", "numpy", "scipy"]
    program = f"import sys, marketday.cli; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_help_lists_every_command(command_line):
    shown = command_line.invoke(cli.app, ["--help"]).output
    assert {"backtest", "checks", "fsck", "rebuild"} <= set(NAMES)
    assert len(NAMES) == 18
    assert all(name in shown for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_help_of_a_command_has_an_example_that_parses(command_line, name):
    shown = command_line.invoke(cli.app, [name, "--help"]).output
    example = next(line for line in shown.splitlines() if "Example: marketday " in line).split("marketday ", 1)[1]
    words = example.split()
    assert words[0] == name
    command = typer.main.get_command(cli.app).commands[name]
    command.make_context(name, words[1:])


def test_a_wrong_retailer_is_answered_with_the_right_ones_and_no_traceback(command_line):
    done = command_line.invoke(cli.app, ["run", "simulatd"])
    assert done.exit_code == 1
    assert "There is no retailer 'simulatd'" in done.stderr
    assert "What to do: Use one of: freshretailnet, m5, simulated." in done.stderr
    assert "Traceback" not in done.output


@pytest.mark.parametrize(("option", "level"), [(["--debug"], "INFO"), ([], "DEBUG"), ([], "debug")])
def test_debugging_shows_the_traceback(command_line, monkeypatch, option, level):
    monkeypatch.setenv("MARKETDAY_LOG_LEVEL", level)
    done = command_line.invoke(cli.app, [*option, "run", "simulatd"])
    assert done.exit_code == 1
    assert type(done.exception).__name__ == "RetailerError"


def test_a_day_that_is_none_is_refused_with_an_example(command_line):
    done = command_line.invoke(cli.app, ["deliver", "simulated", "--day", "03.03.2025"])
    assert done.exit_code == 2
    assert "is not a day such as 2026-03-02" in done.stderr


def test_retailers_shows_a_wrong_definition_beside_the_right_ones(command_line, tmp_path, monkeypatch):
    (tmp_path / "good.yaml").write_text("title: Good\ntime_zone: Europe/Berlin\n")
    (tmp_path / "bad.yaml").write_text("title: Bad\ntime_zone: Europe/Berlin\nhorizn: 7\n")
    monkeypatch.setenv("MARKETDAY_RETAILERS", str(tmp_path))
    done = command_line.invoke(cli.app, ["retailers"])
    assert done.exit_code == 1
    assert "Good" in done.stdout
    assert "bad.yaml:3: horizn: there is no such key; did you mean `horizon`?" in done.stderr


@pytest.mark.parametrize("command", ["run", "simulate", "deliver"])
def test_where_no_platform_is_up_nobody_elses_is_used(command_line, settings, command):
    done = command_line.invoke(cli.app, [command, "simulated", "--day", f"{MORNING}"])
    assert done.exit_code == 1
    assert f"No platform is up in {settings.home}" in done.stderr
    assert "What to do: Start one with `marketday up`" in done.stderr


@pytest.mark.parametrize(
    ("given", "url", "port", "links"),
    [
        ([], "http://127.0.0.1:9600", 9600, "http://127.0.0.1:9600"),
        (["--port", "9601"], "http://127.0.0.1:9600", 9601, "http://127.0.0.1:9601"),
        (["--port", "9601"], None, 9601, "http://127.0.0.1:9601"),
        ([], None, 8600, "http://127.0.0.1:8600"),
        ([], "https://steps.example", 8600, "https://steps.example"),
        (["--port", "9601"], "https://steps.example", 9601, "https://steps.example"),
    ],
)
def test_the_service_listens_where_its_address_says_and_links_to_where_it_listens(
    command_line, monkeypatch, *, given, url, port, links
):
    served = {}
    monkeypatch.setattr(server, "serve", lambda settings, host, port: served.update(s=settings, host=host, port=port))
    if url:
        monkeypatch.setenv("MARKETDAY_SERVICE_URL", url)
    done = command_line.invoke(cli.app, ["serve", *given])
    assert done.exit_code == 0, done.output
    assert (served["host"], served["port"]) == ("127.0.0.1", port)
    assert served["s"].reports_url == f"{links}/reports"


def test_a_service_that_does_not_run_is_said_with_how_to_start_it(command_line, monkeypatch):
    with processes.held_port("http://127.0.0.1:8900") as port:
        pass
    monkeypatch.setenv("MARKETDAY_SERVICE_URL", f"http://127.0.0.1:{port}")
    done = command_line.invoke(cli.app, ["deliver", "simulated"])
    assert done.exit_code == 1
    assert f"http://127.0.0.1:{port} does not answer" in done.stderr
    assert "What to do: Start it" in done.stderr


def test_an_airflow_that_does_not_run_is_said_with_how_to_start_it():
    with (
        processes.held_port("http://127.0.0.1:8950") as port,
        pytest.raises(ServiceUnavailable, match="does not answer") as caught,
    ):
        Airflow(f"http://127.0.0.1:{port}", "admin", "")
    assert "marketday up" in caught.value.hint


def test_the_first_delivery_is_the_history_and_the_next_brings_what_was_missed(
    command_line, service, settings, tmp_path
):
    first = command_line.invoke(cli.app, ["deliver", "simulated", "--day", f"{MORNING}"])
    assert first.exit_code == 0, first.output
    third = command_line.invoke(cli.app, ["deliver", "simulated", "--day", f"{MORNING + dt.timedelta(2)}"])
    assert third.exit_code == 0, third.output

    history, daily = (
        deliveries.latest(settings.deliveries_url, "simulated", MORNING + dt.timedelta(n)) for n in (0, 2)
    )
    assert history is not None
    assert daily is not None
    assert (history.kind, daily.kind) == ("history", "daily")
    assert history.id in first.output
    days = deliveries.scan(settings.deliveries_url, daily, "sales").collect()["day"].unique().sort().to_list()
    assert days == [MORNING, MORNING + dt.timedelta(1)]

    folder = tmp_path / "own"
    folder.mkdir()
    sales = deliveries.scan(settings.deliveries_url, daily, "sales").collect().head(3)
    sales.write_parquet(folder / "sales.parquet")
    day = MORNING + dt.timedelta(3)
    own = command_line.invoke(cli.app, ["deliver", "simulated", "--day", f"{day}", "--from", str(folder)])
    assert own.exit_code == 0, own.output
    receipt = deliveries.latest(settings.deliveries_url, "simulated", day)
    assert receipt is not None
    assert deliveries.scan(settings.deliveries_url, receipt, "sales").collect().equals(sales)


def test_the_day_of_the_history_delivered_again_is_a_history_again(command_line, service, settings, tmp_path):
    first = command_line.invoke(cli.app, ["deliver", "simulated", "--day", f"{MORNING}"])
    assert first.exit_code == 0, first.output
    history = deliveries.latest(settings.deliveries_url, "simulated", MORNING)
    assert history is not None
    _backfill(settings.deliveries_url, history, MORNING - dt.timedelta(1))
    again = command_line.invoke(cli.app, ["deliver", "simulated", "--day", f"{MORNING}"])
    assert again.exit_code == 0, again.output
    assert deliveries.latest(settings.deliveries_url, "simulated", MORNING) == history, "and the whole of it"


def _backfill(root: str, history: deliveries.Receipt, day: dt.date) -> None:
    """Accept a daily delivery for a day before the history's."""
    sales = io.BytesIO()
    deliveries.scan(root, history, "sales").collect().write_parquet(sales)
    deliveries.put_table(root, "simulated", day, "sales", sales.getvalue())
    deliveries.complete(root, "simulated", day, "daily", dt.datetime(2025, 3, 2, tzinfo=dt.UTC))


def test_a_delivery_that_the_service_turns_away_is_explained(command_line, service):
    done = command_line.invoke(cli.app, ["deliver", "simulated", "--day", f"{MORNING}", "--fault", "missing_column"])
    assert done.exit_code == 1
    assert "sales: columns missing: units" in done.stderr
    assert "What to do: Deliver exactly:" in done.stderr


def test_an_empty_folder_is_no_delivery(command_line, service, tmp_path):
    done = command_line.invoke(cli.app, ["deliver", "simulated", "--from", str(tmp_path)])
    assert done.exit_code == 1
    assert "There is no table in" in done.stderr


def _task(name: str, state: str | None, *, block: int = -1, started: int | None = 0, ended: int | None = None) -> Task:
    def at(second: int | None) -> dt.datetime | None:
        return None if second is None else dt.datetime(2025, 3, 3, 4, 0, second, tzinfo=dt.UTC)

    return Task(task_id=name, map_index=block, state=state, try_number=1, start_date=at(started), end_date=at(ended))


def test_blocks_are_one_line_that_shows_the_state_to_look_at():
    now = dt.datetime(2025, 3, 3, 4, 0, 30, tzinfo=dt.UTC)
    tasks = [
        _task("features", "success", started=0, ended=4),
        _task("predict", "success", block=0, started=5, ended=8),
        _task("predict", "failed", block=1, started=5, ended=9),
        _task("predict", "running", block=2, started=6),
        _task("calibrate", None, started=None),
    ]
    assert follow.lines(tasks, now) == [
        follow.Line("features", "success", 4.0, ""),
        follow.Line("predict", "failed", 25.0, "1 of 3 blocks"),
        follow.Line("calibrate", "waiting", 0.0, ""),
    ]


def test_a_log_has_one_line_per_task_however_often_it_is_looked_at(capsys):
    log = follow._Log()
    for _ in range(3):
        log.update(
            [follow.Line("features", "success", 4.0, ""), follow.Line("predict", "running", 2.0, "1 of 3 blocks")]
        )
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1
    assert lines[0].split()[1:] == ["features", "success", "4.0", "s"]
