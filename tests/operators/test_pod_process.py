"""A step as a pod from end to end: the pod's command is a process of this machine."""

import asyncio
import json
import sys

import pytest
from airflow.sdk.module_loading import import_string
from pod_cases import ROOT, carried_out, deferred, step_task

from marketday.errors import StepError

pytest_plugins = ("pod_fixtures",)


@pytest.fixture
def real_processes(kubernetes, tmp_path):
    """Run what the pod's container runs, with the settings that its config map has."""

    def command_line(pod: dict) -> tuple[list[str], dict[str, str]]:
        command = pod["spec"]["containers"][0]["command"]
        assert command[0] == "marketday"
        folders = {"HOME": str(tmp_path), "MARKETDAY_HOME": str(tmp_path / "var")}
        config_map = {
            "MARKETDAY_RETAILERS": str(ROOT / "include" / "retailers"),
            "MARKETDAY_STEP_MODULES": "probe_steps",
            "PYTHONPATH": str(ROOT / "tests" / "marketday"),
        }
        only_probes = "import without_steps, marketday.cli; marketday.cli.app()"
        return [sys.executable, "-c", only_probes, *command[1:]], folders | config_map

    kubernetes.command_line = command_line
    return kubernetes


def test_a_step_in_a_process_hands_its_result_over(real_processes, given, capsys, caplog):
    context = given(step_task("probe", size="S"))
    result = carried_out(lambda **kwargs: step_task("probe", size="S", **kwargs), context)
    assert result["rows"] == {"events": 1}
    assert result["facts"] == {"day": "2025-03-03", "share": 0.25, "blocks": ["a", "b"]}
    # Airflow's logs go to stdout, or to Python's logging once something in this process has configured that.
    logged = capsys.readouterr().out + caplog.text
    said = next(line for line in logged.splitlines() if "the step says hello" in line)
    assert "retailer=simulated day=2025-03-03 step=probe" in said
    assert "run_id=run1" in said


def test_a_step_that_fails_in_a_process_fails_the_task_with_its_own_error(real_processes, given):
    context = given(step_task("fail"))
    with pytest.raises(StepError, match="cannot do it\nWhat to do: give it more\nEvidence: over there"):
        carried_out(lambda **kwargs: step_task("fail", **kwargs), context)


def test_a_killed_task_leaves_no_process(real_processes, given, tmp_path):
    pids = tmp_path / "pids"
    waiting = deferred(step_task("hang", parameters={"pids": str(pids)}), given(step_task("hang")))
    [(process, handed_over)] = real_processes.processes.values()
    while not pids.exists():
        assert process.poll() is None
    path, arguments = waiting.trigger.serialize()
    asyncio.run(import_string(path)(**arguments).on_kill())
    assert process.wait(60) == 143
    assert json.loads(handed_over.read_text())["error"]["type"] == "JobLost"
