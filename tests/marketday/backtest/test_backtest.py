"""The command as a user runs it: real steps on the simulator, two origins, a few series; then what may go wrong."""

import datetime as dt
import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import psutil
import pytest
from mlflow import MlflowClient
from typer.testing import CliRunner, Result

from marketday.backtest import plan as plans
from marketday.backtest import pool, run
from marketday.backtest.folders import Folders
from marketday.cli import app
from marketday.distributions import QUANTILE_LEVELS
from marketday.errors import JobFailed, JobLost
from marketday.settings import Settings

DEFINITIONS = Path(__file__).resolve().parents[3] / "include" / "retailers"
ORIGINS = (dt.date(2024, 9, 1), dt.date(2024, 9, 29))
CHANGES = {"training.rounds": 60, "training.learning_rate": 0.1, "training.leaves": 15}
QUICK = ["--series", "40", "--horizon", "7", *(part for k, v in CHANGES.items() for part in ("--set", f"{k}={v}"))]


def backtest(out: Path, *more: str, origins: tuple[dt.date, ...] = ORIGINS) -> Result:
    days = ",".join(map(str, origins))
    return CliRunner().invoke(app, ["backtest", "simulated", "--origins", days, "--out", str(out), *QUICK, *more])


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(autouse=True)
def environment(home: Path, monkeypatch) -> None:
    monkeypatch.setenv("MARKETDAY_HOME", str(home))
    monkeypatch.setenv("MARKETDAY_RETAILERS", str(DEFINITIONS))
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture(scope="module")
def done(home: Path, tmp_path_factory) -> tuple[Path, Result]:
    """One backtest that has run to its end, two origins at a time, and what it printed."""
    out = tmp_path_factory.mktemp("backtest")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MARKETDAY_HOME", str(home))
        patch.setenv("MARKETDAY_RETAILERS", str(DEFINITIONS))
        patch.setenv("COLUMNS", "200")
        result = backtest(out, "--jobs", "2")
    assert result.exit_code == 0, result.output
    return out, result


def test_every_origin_is_forecast_by_a_model_of_its_own_morning(done):
    out, _ = done
    forecasts = pl.read_parquet(out / "forecasts.parquet")
    fresh = forecasts.filter(mode="fresh")
    assert fresh["origin"].unique().sort().to_list() == list(ORIGINS)
    assert (fresh["day"] > fresh["origin"]).all()
    assert fresh["horizon"].unique().sort().to_list() == list(range(1, 8))
    assert fresh["model"].n_unique() == 2, "the second origin has learnt more"
    assert fresh.select(*QUANTILE_LEVELS, "mean", "dispersion", "units").null_count().sum_horizontal().item() == 0
    assert fresh.group_by("origin").agg(pl.struct("location_id", "product_id").n_unique())["location_id"].max() <= 40


def test_an_origins_file_has_every_pair_on_every_day_for_an_outside_scorer(done):
    out, _ = done
    rows = pl.read_parquet(out / "forecasts" / str(ORIGINS[0]) / "forecasts.parquet")
    assert rows.group_by("location_id", "product_id").len()["len"].unique().to_list() == [7]
    assert not rows.select("location_id", "product_id", "day").is_duplicated().any()


def test_scores_are_written_for_the_model_and_the_baseline_by_segment_and_in_the_mean(done):
    out, _ = done
    scored = pl.read_parquet(out / "scores.parquet")
    assert set(scored["system"]) == {"model", "seasonal baseline"}
    assert set(scored["origin"]) == {None, *ORIGINS}
    assert set(scored["by"]) == {"all", "velocity", "horizon", "category", "promotion", "weekday", "location_id"}
    headline = json.loads((out / "scores.json").read_text())["scores"]["without stock-out"]["model"]
    each = [headline[str(origin)]["wspl"] for origin in ORIGINS]
    assert headline["mean"]["wspl"] == pytest.approx(sum(each) / 2)
    assert all(0.05 < wspl < 0.6 for wspl in each)


def test_the_cost_of_every_step_is_kept(done):
    out, _ = done
    result = json.loads((out / "forecasts" / str(ORIGINS[0]) / "result.json").read_text())
    steps = {cost["step"]: cost for cost in result["steps"]}
    assert list(steps) == ["deliver", "ingest", "clean", "load", "features", "baseline", "train", "predict",
                           "calibrate", "compare"]  # fmt: skip
    assert all(cost["seconds"] > 0 and cost["peak_mib"] > 50 for cost in steps.values())
    assert result["facts"]["train"]["trained_to"] == str(ORIGINS[0])


def test_the_report_is_one_page_that_fetches_nothing(done):
    out, _ = done
    page = (out / "report.html").read_text(encoding="utf-8")
    assert not re.findall(r"(?:src|href)=[\"'](?!data:)", page)
    assert "http" not in page
    assert page.count("<img") >= 10
    for heading in ("By origin", "Best, median and worst series", "Is the distribution right?", "What was run"):
        assert f"<h2>{heading}</h2>" in page
    assert "training:\n" in page, "the definition is there"


def test_nothing_but_results_is_left(done):
    out, _ = done
    assert not list((out / "work").iterdir())
    assert not list(out.rglob("*.part"))


def test_the_terminal_shows_stages_figures_and_where_the_report_is(done):
    out, result = done
    assert f"{ORIGINS[0]}  train" in result.output
    assert "seasonal baseline" in result.output
    assert f"Report: {out / 'report.html'}" in result.output


def test_mlflow_has_a_run_with_a_nested_run_per_origin_and_the_report(done, home: Path):
    client = MlflowClient(tracking_uri=f"sqlite:///{home / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("backtest simulated")
    runs = client.search_runs([experiment.experiment_id])
    nested = [run for run in runs if "mlflow.parentRunId" in run.data.tags]
    (parent,) = [run for run in runs if run not in nested]
    assert {run.data.params["origin"] for run in nested} == set(map(str, ORIGINS))
    assert parent.data.metrics["wspl"] == pytest.approx(sum(run.data.metrics["wspl"] for run in nested) / 2)
    assert {"baseline_wape", "wape_all_rows", "coverage_95", "seconds_train", "peak_mib"} <= set(parent.data.metrics)
    assert parent.data.params["training.rounds"] == "60"
    assert parent.info.status == "FINISHED"
    names = {file.path for file in client.list_artifacts(parent.info.run_id)}
    assert names == {"report.html", "scores.json", "scores.parquet", "simulated.yaml"}


def test_what_is_done_is_not_done_again(done):
    out, _ = done
    before = {path: path.stat().st_mtime_ns for path in out.rglob("result.json")}
    result = backtest(out, "--no-mlflow")
    assert result.exit_code == 0
    assert "2 done before" in result.output
    assert {path: path.stat().st_mtime_ns for path in out.rglob("result.json")} == before


def test_another_definition_number_of_series_or_code_is_another_result(done):
    out, _ = done
    folders, settings = Folders(out), Settings()
    same = {"horizon": 7, "series": 40, "changes": CHANGES}

    def missing(**options: object) -> int:
        plan = plans.make("simulated", settings, out / "other", origins=ORIGINS, **{**same, **options})
        return len(run.missing(plan, settings, folders))

    assert missing() == 0
    assert missing(horizon=6) == 2
    assert missing(series=41) == 2
    assert missing(changes={**CHANGES, "training.rounds": 61}) == 2
    plan = plans.make("simulated", settings, out / "other", origins=ORIGINS, **same)
    newer = plan.model_copy(update={"versions": {**plan.versions, "code": "changed"}})
    assert len(run.missing(newer, settings, folders)) == 2


def test_one_origin_that_fails_loses_no_other(tmp_path: Path):
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / str(ORIGINS[0])).write_text("in the way")
    result = backtest(tmp_path, "--no-mlflow")
    assert result.exit_code == 1
    assert f"1 of 2 origins failed and are not in the figures: {ORIGINS[0]}" in result.stderr
    assert pl.read_parquet(tmp_path / "forecasts.parquet")["origin"].unique().to_list() == [ORIGINS[1]]
    assert "could not be replayed" in (tmp_path / "report.html").read_text(encoding="utf-8")


def prepared(folder: Path) -> tuple[plans.Plan, Settings, Folders]:
    settings, folders = Settings(), Folders(folder)
    return plans.make("simulated", settings, folders.definitions, origins=ORIGINS, horizon=7), settings, folders


def test_an_origin_whose_process_is_killed_says_so_and_leaves_nothing(tmp_path: Path):
    plan, settings, folders = prepared(tmp_path)

    def kill(origin: dt.date, stage: str) -> None:
        if stage == "ingest":
            for child in psutil.Process().children():
                if "spawn_main" in " ".join(child.cmdline()):
                    child.kill()

    todo = {ORIGINS[0]: run.missing(plan, settings, folders)[ORIGINS[0]]}
    ended = pool.replay_all(plan, todo, settings, folders, jobs=1, keep=False, tell=kill)
    assert isinstance(ended[ORIGINS[0]], JobLost)
    assert "ended with -9" in ended[ORIGINS[0]].message
    assert str(tmp_path / "logs") in ended[ORIGINS[0]].evidence
    assert not list((tmp_path / "work").iterdir())


def test_a_step_that_raises_is_reported_with_its_own_error(tmp_path: Path):
    plan, settings, folders = prepared(tmp_path)
    todo = run.missing(plan, settings, folders)
    broken = plan.model_copy(update={"definition": "title: nothing else\n"})
    ended = pool.replay_all(
        broken, {ORIGINS[0]: todo[ORIGINS[0]]}, settings, folders, jobs=1, keep=False, tell=lambda *_: None
    )
    assert ended[ORIGINS[0]] is not None
    assert not isinstance(ended[ORIGINS[0]], JobFailed)
    assert "time_zone" in ended[ORIGINS[0]].message


def test_ctrl_c_ends_every_process_and_keeps_what_is_done(tmp_path: Path, home: Path):
    command = [sys.executable, "-m", "marketday.cli", "backtest", "simulated", "--origins",
               ",".join(map(str, ORIGINS)), "--out", str(tmp_path), "--no-mlflow",
               "--series", "8", "--set", "training.rounds=5"]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    seen = ""
    while "done" not in seen:
        seen += process.stdout.readline()
    while f"{ORIGINS[1]}  deliver" not in seen:
        seen += process.stdout.readline()
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Finished origins are kept" in output
    assert "Traceback" not in output
    assert not psutil.wait_procs(children, timeout=10)[1]
    assert [path.name for path in (tmp_path / "forecasts").iterdir()] == [str(ORIGINS[0])]
    assert not list((tmp_path / "work").iterdir())


def test_a_killed_backtest_takes_its_children_with_it(tmp_path: Path):
    command = [sys.executable, "-m", "marketday.cli", "backtest", "simulated", "--origins", str(ORIGINS[0]), "--out",
               str(tmp_path), "--no-mlflow"]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    while "ingest" not in process.stdout.readline():
        pass
    children = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.wait()
    deadline = time.monotonic() + 20
    while any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children):
        assert time.monotonic() < deadline, "a child goes on"
        time.sleep(0.1)
    assert not (tmp_path / "forecasts" / str(ORIGINS[0])).exists()


def test_a_second_backtest_in_the_same_folder_is_refused(tmp_path: Path):
    with run.alone(tmp_path):
        result = backtest(tmp_path, "--no-mlflow")
    assert result.exit_code == 1
    assert "Another backtest is running" in result.stderr


def test_an_mlflow_that_does_not_answer_is_said_before_any_work(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("MARKETDAY_MLFLOW", "http://127.0.0.1:9")
    result = backtest(tmp_path / "out")
    assert result.exit_code == 1
    assert "MLflow at http://127.0.0.1:9 does not take the backtest" in result.stderr
    assert "--no-mlflow" in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--set", "training.rouds=50"], "did you mean `rounds`"),
        (["--set", "training"], "not KEY=VALUE"),
        (["--locations", "S01,S99"], "has no location S99"),
    ],
)
def test_what_cannot_be_is_answered_with_what_can(tmp_path: Path, options: list[str], message: str):
    result = backtest(tmp_path, "--no-mlflow", *options, origins=ORIGINS[:1])
    assert result.exit_code == 1
    assert message in result.stderr


def test_an_origin_outside_the_known_sales_names_the_span(tmp_path: Path):
    result = backtest(tmp_path, "--no-mlflow", origins=(dt.date(1999, 1, 1),))
    assert result.exit_code == 1
    assert "is not inside the known sales" in result.stderr
    assert "Choose origins from 2024-01-02 on" in result.stderr
