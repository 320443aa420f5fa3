"""`marketday step`: the steps that there are, and one carried out by hand or as in a pod."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import probe_service
import psutil
import pytest
import typer
from typer.testing import CliRunner

from marketday import cli, steps
from marketday.calls import Call, Result
from marketday.errors import JobLost, SettingsError, StepError
from marketday.runners import pod

HERE = Path(__file__).resolve().parent
CALL = {"step": "probe", "retailer": "simulated", "day": "2026-03-02"}
ONLY_PROBES = "import without_steps, marketday.cli; marketday.cli.app()"


@pytest.fixture
def command_line(settings, monkeypatch):
    """Call the command in this process, up to where a step would be carried out."""
    monkeypatch.delenv("MARKETDAY_CALL", raising=False)
    return lambda *words, given=None: CliRunner().invoke(cli.app, ["step", *words], input=given)


@pytest.fixture
def called(command_line, monkeypatch):
    """Return the call that words of the command line make."""
    calls = []
    monkeypatch.setattr(pod, "run", lambda call, *_, **__: calls.append(call) or Result())

    def run(*words, given=None) -> Call:
        done = command_line("run", *words, given=given)
        assert done.exit_code == 0, done.output
        return calls[-1]

    return run


@pytest.fixture
def process(settings, tmp_path):
    """Start the command as a process of its own, in which the probe steps are the only ones."""
    started = []

    def start(*words: str, **variables: str) -> subprocess.Popen:
        ours = {"MARKETDAY_STEP_MODULES": "probe_steps busy_step", "PYTHONPATH": str(HERE)}
        command = [sys.executable, "-c", ONLY_PROBES, "step", "run", *words]
        output = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        started.append(subprocess.Popen(command, env={**os.environ, **ours, **variables}, text=True, **output))
        return started[-1]

    yield start
    for each in started:
        if each.poll() is None:
            each.kill()
            each.wait()
        each.stdout.close()
        each.stderr.close()


def told(report: Path) -> object:
    return pod.read(report.read_text())


def test_every_step_is_listed_with_what_it_reads_and_writes(command_line):
    shown = " ".join(command_line("list").output.split())
    assert all(name in shown for name in steps.names())
    clean = steps.get("clean")
    assert all(table.name in shown for table in (*clean.reads, *clean.writes))
    assert "M: 2 cores, 6 GiB, 900 s" in shown


@pytest.mark.parametrize("name", ["list", "run"])
def test_help_has_examples_that_parse(command_line, name):
    shown = command_line(name, "--help").output
    examples = [line.split("marketday step ", 1)[1].split() for line in shown.splitlines() if "Example: " in line]
    assert examples
    commands = typer.main.get_command(cli.app).commands["step"].commands
    for words in examples:
        commands[words[0]].make_context(name, words[1:])


def test_a_call_may_be_given_in_any_way(called, tmp_path, monkeypatch):
    text = json.dumps(CALL | {"inputs": {"sales": 3}})
    file = tmp_path / "call.json"
    file.write_text(text)
    monkeypatch.setenv("MARKETDAY_CALL", text)
    calls = [called(text), called(str(file)), called("-", given=text), called()]
    assert calls == 4 * [Call(**CALL, inputs={"sales": 3})]


def test_a_call_may_be_given_in_words(called):
    words = ["predict@2", "simulated", "--day", "2026-03-02", "--block", "b1", "--param", "rounds=50", "--param", "a=b"]
    expected = CALL | {"step": "predict", "version": 2, "block": "b1", "params": {"rounds": 50, "a": "b"}}
    assert called(*words) == Call(**expected)


def test_without_a_day_it_is_the_samples(called):
    assert called("clean", "simulated").day.isoformat() == "2025-03-03"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["{"], "Not a call, in the argument: Invalid JSON"),
        (['{"step": "clean"}'], "Not a call, in the argument: retailer: Field required"),
        (["clean"], "There is no file clean What to do: For a step of that name, give a retailer too"),
        ([], "no argument is given, and MARKETDAY_CALL is not set"),
        (["clean@new", "simulated"], "Not a call, in the command line: version"),
        (["clean", "nobody"], "There is no retailer 'nobody'"),
    ],
    ids=str,
)
def test_what_is_no_call_says_what_one_is(command_line, tmp_path, words, says):
    report = tmp_path / "report.json"
    done = command_line("run", *words, "--result", str(report))
    assert done.exit_code == 1
    assert says in " ".join(done.stderr.split())
    assert isinstance(told(report), StepError | SettingsError) or "retailer" in told(report).message


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["clean", "simulated", "--param", "rounds"], "'rounds' is not KEY=VALUE"),
        (["{}", "--day", "2026-03-02"], "a call has them in it"),
        (["clean", "simulated", "--runner", "service", "--size", "S"], "they are for a step that runs here"),
    ],
    ids=str,
)
def test_options_that_do_not_fit_are_refused(command_line, words, says):
    done = command_line("run", *words)
    assert done.exit_code == 2
    assert says in done.stderr


def test_a_step_by_hand_logs_what_it_does_and_says_what_it_left_behind(process):
    output, errors = process("probe", "simulated", "--day", "2026-03-02").communicate()
    *log, row, day, share, blocks, page = output.splitlines()
    assert any("the step says hello" in line and "retailer=simulated day=2026-03-02 step=probe" in line for line in log)
    assert row == "events @ version 1: 1 rows"
    assert (day, share, blocks) == ("day: 2026-03-02", "share: 0.25", "blocks: ['a', 'b']")
    assert page == "Page: page.html"
    assert errors == ""


def test_a_step_that_fails_by_hand_says_what_to_do(process):
    failing = process("fail", "simulated", "--day", "2026-03-02")
    _, errors = failing.communicate()
    assert failing.returncode == 1
    assert errors == "Error: cannot do it\nWhat to do: give it more\nEvidence: over there\n"


def test_as_in_a_pod_the_result_is_reported_and_all_else_is_log(process, tmp_path):
    report = tmp_path / "report"
    variables = {"MARKETDAY_CALL": json.dumps(CALL), "MARKETDAY_RUN_ID": "run1", "MARKETDAY_JOB_ID": "pod1"}
    variables["TRACEPARENT"] = f"00-{'4' * 32}-{'5' * 16}-01"
    output, errors = process("--result", str(report), **variables).communicate()
    result = told(report)
    assert (result.rows, result.facts["share"]) == ({"events": 1}, 0.25)
    context = "run_id=run1 retailer=simulated day=2026-03-02 step=probe job_id=pod1"
    assert all(context in line and f"trace_id={'4' * 32}" in line for line in output.splitlines())
    assert errors == ""


def test_as_in_a_pod_an_error_is_reported_without_secrets_and_logged_once(process, tmp_path):
    report = tmp_path / "report"
    call = json.dumps(CALL | {"step": "fail"})
    failing = process("--result", str(report), MARKETDAY_CALL=call, MARKETDAY_SERVICE_TOKEN="give it more")
    output, errors = failing.communicate()
    error = told(report)
    assert (failing.returncode, errors) == (1, "")
    assert isinstance(error, StepError)
    assert (error.message, error.hint, error.evidence) == ("cannot do it", "***", "over there")
    assert sum("msg=failed" in line for line in output.splitlines()) == 1


def test_a_class_bounds_the_threads_of_every_library(process, tmp_path):
    report = tmp_path / "report"
    program = "import polars, pyarrow; print(polars.thread_pool_size(), pyarrow.cpu_count())"
    environment = {**os.environ, **pod.threads(3)}
    shown = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert shown.stdout == "3 3\n"
    heavy = process("--size", "S", "--result", str(report), MARKETDAY_CALL=json.dumps(CALL | {"step": "heavy"}))
    heavy.communicate()
    assert told(report).facts["dask_workers"] == 1


def test_sigterm_ends_a_step_as_lost_with_all_that_it_has_started(process, tmp_path):
    report, pids = tmp_path / "report", tmp_path / "pids"
    call = json.dumps(CALL | {"step": "hang", "params": {"pids": str(pids)}})
    hanging = process(call, "--result", str(report))
    until(pids.exists)
    hanging.send_signal(signal.SIGTERM)
    assert hanging.wait(60) == 143
    assert isinstance(told(report), JobLost)
    assert probe_service.all_gone([int(pid) for pid in pids.read_text().split()])


def test_sigterm_ends_a_step_that_is_in_native_code_too(process, tmp_path):
    """Python would call a handler only after the native call."""
    report, call = tmp_path / "report", json.dumps(CALL | {"step": "busy", "params": {"file": str(tmp_path / "on")}})
    busy = process(call, "--result", str(report))
    until((tmp_path / "on").exists)
    busy.send_signal(signal.SIGTERM)
    assert busy.wait(60) == 143
    assert isinstance(told(report), JobLost)


def test_another_signal_does_not_end_it_as_lost(process, tmp_path):
    report, pids = tmp_path / "report", tmp_path / "pids"
    hanging = process(json.dumps(CALL | {"step": "hang", "params": {"pids": str(pids)}}), "--result", str(report))
    until(pids.exists)
    hanging.send_signal(signal.SIGINT)
    assert hanging.wait(60) == 130
    assert not report.exists()
    for pid in pids.read_text().split()[1:]:
        psutil.Process(int(pid)).kill()


def test_the_step_service_can_do_it_instead(settings):
    with probe_service.running(settings) as service:
        words = ["step", "run", "probe", "simulated", "--day", "2026-03-02", "--runner", "service"]
        variables = {"MARKETDAY_SERVICE_URL": service.url, "PYTHONPATH": str(HERE)}
        command = [sys.executable, "-m", "marketday.cli", *words]
        environment = {**os.environ, **variables}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=120)
    assert "share: 0.25" in done.stdout


# --- the report


def test_a_result_that_is_too_large_goes_without_what_nobody_reads(tmp_path):
    result = Result(
        snapshots={"sales": 7},
        hashes={f"t{n}": "0" * 64 for n in range(60)},
        rows={"sales": 9},
        facts={"blocks": ["a"]},
    )
    read = pod.read(pod._result(result).decode())
    assert (read.snapshots, read.hashes, read.rows, read.facts) == ({"sales": 7}, {}, {"sales": 9}, {"blocks": ["a"]})


def test_a_result_that_cannot_be_handed_over_says_so():
    with pytest.raises(StepError, match=r"has \d+ bytes; a pod can hand over 4096"):
        pod._result(Result(facts={"blocks": [f"block {n}" for n in range(1000)]}))


@pytest.mark.parametrize("letter", ["x", "ü", "\N{GRINNING FACE}", "\ud800"])
def test_an_error_fits_however_long_it_is(letter):
    report = pod._error(StepError(5000 * letter, hint=5000 * letter, evidence="over there"))
    assert len(report) <= 4096
    error = pod.read(report.decode())
    assert isinstance(error, StepError)
    assert error.evidence == "over there"


@pytest.mark.parametrize("text", ["", "Killed", "123", "[]", "{}", '{"error": "x"}', '{"result": {"rows": 1}}', "null"])
def test_what_is_no_report_is_none(text):
    assert pod.read(text) is None


def until(condition, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
