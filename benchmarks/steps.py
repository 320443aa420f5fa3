"""Steps as managed services: what one costs as a task, what waiting costs, how fast a submission is answered.

    python benchmarks/steps.py [--tasks 20] [--seconds 60]

A no-op step through Airflow and the step service beside the same callable in a plain PythonOperator, in turn; 200 tasks
that wait in one triggerer for jobs of a real service; the submission of a recorded job beside an empty FastAPI route,
under the same load generator. Everything is started here, on embedded defaults, in a temporary folder. Ends with 1 if a
promise is broken.
"""

import argparse
import os
import statistics
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from measuring import settle
from rich.console import Console
from rich.table import Table
from steps_bench import tasks, throughput

from marketday import embedded, settings
from marketday.cli.airflow_api import Airflow

HERE = Path(__file__).resolve().parent
RUNS, JOBS = 10, 20
"""Runs that wait, and jobs that each waits for: 200 tasks, 20 jobs."""
MORE_SECONDS, TRIGGERER_SHARE, RATE_SHARE = 1.0, 0.20, 0.5


def main() -> int:
    """Print one table and what became of the promises."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=20, help="Tasks of either kind; their median is shown.")
    parser.add_argument("--seconds", type=float, default=60.0, help="How long the triggerer is watched.")
    options = parser.parse_args()
    console = Console(highlight=False)
    with tempfile.TemporaryDirectory(prefix="bench-steps-") as temporary:
        home = Path(temporary)
        os.environ.update(variables(home))
        here = settings.load()
        with console.status("submissions …"):
            loads = throughput.compared(home, seconds=5.0, runs=3)
        with ExitStack() as running:
            with console.status("the platform starts …"):
                platform = running.enter_context(embedded.started(here, lambda *_: None))
            airflow = running.enter_context(Airflow(platform.airflow_url, *embedded.credentials(here)))
            took = tasks.overheads(airflow, console, tasks=options.tasks)
            share = tasks.triggerer_share(airflow, platform, console, runs=RUNS, jobs=JOBS, seconds=options.seconds)
    return show(console, loads, took, share)


def variables(home: Path) -> dict[str, str]:
    """Return what the platform of the benchmark is to know from its environment."""
    return {
        "MARKETDAY_HOME": str(home / "var"),
        "MARKETDAY_RETAILERS": str(HERE.parent / "include" / "retailers"),
        "MARKETDAY_STEP_MODULES": "steps_bench.probes",
        "MARKETDAY_SERVICE_SLOTS": str(JOBS + 2),
        "PYTHONPATH": str(HERE),
        "BENCH_JOBS": str(JOBS),
        "AIRFLOW__CORE__DAGS_FOLDER": str(HERE / "steps_bench" / "dags"),
        "AIRFLOW__CORE__PARALLELISM": "8",
    }


def show(console: Console, loads: dict[str, throughput.Load], took: dict[str, list[float]], share: float) -> int:
    """Print the table and the promises; returns 1 if one is broken."""
    table = Table("", "median", "least", "most", title="Seconds from a run's trigger to the end of its one task")
    for name, label in (("plain", "PythonOperator"), ("step", "StepOperator, step service")):
        of = took[name]
        table.add_row(label, f"{statistics.median(of):.2f}", f"{min(of):.2f}", f"{max(of):.2f}")
    console.print(table)
    table = Table("", "requests/s", "p50 ms", "p99 ms", title=f"POST over {throughput.CONNECTIONS} connections")
    for name, label in (("empty", "an empty FastAPI route"), ("service", "submission of a recorded job")):
        load = loads[name]
        table.add_row(label, f"{load.rate:,.0f}", f"{load.p50 * 1e3:.1f}", f"{load.p99 * 1e3:.1f}")
    console.print(table)
    more = statistics.median(took["step"]) - statistics.median(took["plain"])
    part = loads["service"].rate / loads["empty"].rate
    promises = [
        (more <= MORE_SECONDS, f"a step takes {more:.2f} s more than the same callable as a plain task (1.0)"),
        (share < TRIGGERER_SHARE, f"{RUNS * JOBS} waiting tasks take {share:.1%} of a core in the triggerer (20 %)"),
        (part >= RATE_SHARE, f"a submission is answered {part:.2f} x as often as an empty route (0.50)"),
    ]
    return settle(console, promises)


if __name__ == "__main__":
    sys.exit(main())
