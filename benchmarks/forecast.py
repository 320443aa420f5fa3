"""The forecast of M5: this project beside mlforecast with LightGBM, then ten times as large.

    python benchmarks/forecast.py [--part sample|tiles] [--runs 3] [--large] [--origins [DAY ...]] [--sizes 1 3 10]

Sample: 3,080 series, 28 days from an origin, nine quantiles. This project runs its steps features, train and predict on
facts that lie in its warehouse; mlforecast starts from Parquet files. Both are whole processes, their imports included.
Tiles: the sample's locations again and again, up to 30,490 series of 1,941 days; training and the daily forecast are a
process each. Memory is the peak of the resident memory of the process tree. mlforecast lives in an environment of its
own, which uv makes on the first run. Ends with 1 if a promise is broken.
"""

import argparse
import datetime as dt
import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
from forecast_bench.scores import HORIZON, Scores, scored
from forecast_bench.warehouses import delivered, tiled, variables
from measuring import Cost, environment, measured, settle, undisturbed
from rich.console import Console
from rich.table import Table

from marketday import settings
from marketday.adapters.m5 import M5

HERE = Path(__file__).resolve().parent
REQUIREMENTS = [HERE / "feature_bench" / "requirements.txt", HERE / "forecast_bench" / "requirements.txt"]
RETAILER = "m5"
ORIGIN = dt.date(2016, 4, 24)
EARLIER = [dt.date(2016, 1, 31), dt.date(2016, 2, 28), dt.date(2016, 3, 27)]
"""The origins on which the recipe was chosen."""
LARGE = Scores(0.758, 0.208, float("nan"))
"""mlforecast's with 730 days and the item id at ORIGIN, measured once: it takes five minutes."""
SERIES = {1: 3_080, 3: 9_240, 10: 30_490}
"""By size; 30,490 are all series of M5, of which the sample is a tenth."""
GIB = 2**30
OURS, SMALL, BIG = "this project", "mlforecast, small", "mlforecast, large"

Steps = dict[str, dict[str, float]]


class Run(NamedTuple):
    """One process: what it took in all and by step, and how good its forecasts are."""

    cost: Cost
    steps: Steps
    scores: Scores


class Bench:
    """Runs candidates and shows what is going on."""

    def __init__(self, console: Console) -> None:
        here = settings.load()
        self.console, self.data = console, here.data / "m5"
        self.customer = M5(self.data, HORIZON)
        with console.status("mlforecast's environment …"):
            self.python = environment(here.home / "bench-forecast", REQUIREMENTS)

    def run(self, name: str, origin: dt.date) -> Run:
        """Forecast the days after an origin."""
        with tempfile.TemporaryDirectory() as temporary:
            home, day = Path(temporary), origin + dt.timedelta(days=1)
            out, forecasts = home / "out.json", home / "forecasts"
            if name == OURS:
                with self.console.status(f"{origin} facts …"):
                    delivered(home, RETAILER, self.customer, day)
                steps = ("features", "train", "predict", "quantiles")
                command = [sys.executable, HERE / "forecast_bench" / "steps.py", RETAILER, str(day), out, *steps]
            else:
                forecasts.mkdir()
                job = HERE / "forecast_bench" / "mlforecast_job.py"
                size = "small" if name == SMALL else "large"
                command = [
                    self.python,
                    "-W",
                    "ignore",
                    job,
                    self.data,
                    str(origin),
                    size,
                    forecasts / "all.parquet",
                    out,
                ]
            with self.console.status(f"{origin} {name} …"):
                cost = measured(command, variables(home))
            rows = pl.read_parquet(forecasts / "*.parquet")
            run = Run(cost, json.loads(out.read_text(encoding="utf-8")), scored(rows, self.data, origin))
        self.console.print(f"{origin} {name}: {cost.seconds:.0f} s, CPU {cost.cpu:.0f} s, {_scores(run.scores)}")
        return run

    def tile(self, size: int) -> dict[str, tuple[Cost, Steps]]:
        """Train, then forecast a day, each in a process of its own, on so many times the sample."""
        day = M5.last_day + dt.timedelta(days=1)
        found = {}
        with tempfile.TemporaryDirectory() as temporary:
            home = Path(temporary)
            with self.console.status(f"{size} x facts …"):
                tiled(home, RETAILER, self.customer, day, SERIES[size])
            for name, steps in (("training", ["train"]), ("daily", ["features", "predict", "quantiles"])):
                command = [sys.executable, HERE / "forecast_bench" / "steps.py", RETAILER, str(day), home / "out.json"]
                with self.console.status(f"{size} x {name} …"):
                    cost = measured([*command, *steps], variables(home))
                found[name] = cost, json.loads((home / "out.json").read_text(encoding="utf-8"))
                self.console.print(f"{size} x {name}: {cost.seconds:.0f} s, {cost.memory / GIB:.2f} GiB")
        return found


def sample(bench: Bench, options: argparse.Namespace) -> list[tuple[bool, str]]:
    """Compare on the sample; returns the promises."""
    names = [OURS, SMALL, *([BIG] if options.large else [])]
    runs: dict[str, list[Run]] = {}
    # Round by round and not one after the other, so that a busy minute of the machine falls on all of them.
    for number in range(options.runs):
        for name in names if number == 0 else names[:2]:
            runs.setdefault(name, []).append(bench.run(name, ORIGIN))
    figures = ("seconds", "CPU s", "all runs", "others", "peak GiB", "CPU s by step", "scores")
    table = Table(f"3,080 series, origin {ORIGIN}", *figures)
    for name, some in runs.items():
        table.add_row(
            name,
            f"{statistics.median(run.cost.seconds for run in some):.1f}",
            f"{statistics.median(run.cost.cpu for run in some):.1f}",
            " ".join(f"{run.cost.cpu:.0f}" for run in some),
            " ".join(f"{run.cost.others:.0f}" for run in some),
            f"{max(run.cost.memory for run in some) / GIB:.2f}",
            _by_step(some[0].steps, "cpu"),
            _scores(some[0].scores),
        )
    bench.console.print(table)
    earlier(bench, options.origins)
    ratio = _median_cpu(runs[OURS]) / _median_cpu(runs[SMALL])
    large = runs[BIG][0].scores if BIG in runs else LARGE
    own = runs[OURS][0].scores
    memory = max(run.cost.memory for run in runs[OURS])
    return [
        undisturbed([run.cost for some in runs.values() for run in some]),
        (ratio <= 2.0, f"takes {ratio:.2f} x the CPU seconds of mlforecast's small configuration (2.00)"),
        (own.wrmsse < large.wrmsse, f"WRMSSE {own.wrmsse:.4f} against {large.wrmsse:.3f} of its large one"),
        (own.wspl < large.wspl, f"WSPL {own.wspl:.4f} against {large.wspl:.3f} of its large one"),
        (memory < 3 * GIB, f"peak memory is {memory / GIB:.2f} GiB (3.00)"),
    ]


def earlier(bench: Bench, origins: list[dt.date] | None) -> None:
    """Show the scores of several origins and their mean, if they are asked for."""
    if origins is None:
        return
    table = Table("scores", *(str(origin) for origin in origins or EARLIER), "mean")
    for name in (OURS, SMALL):
        found = [bench.run(name, origin).scores for origin in origins or EARLIER]
        mean = Scores(*(statistics.mean(values) for values in zip(*found, strict=True)))
        table.add_row(name, *(_scores(one) for one in [*found, mean]))
    bench.console.print(table)


def tiles(bench: Bench, sizes: list[int]) -> list[tuple[bool, str]]:
    """Measure how time and memory grow; returns the promises."""
    found = {size: bench.tile(size) for size in sorted(sizes)}
    table = Table("", "series", "", "seconds", "CPU s", "others", "peak GiB", "seconds by step")
    for name in ("training", "daily"):
        for size, costs in found.items():
            cost, steps = costs[name]
            figures = (f"{value:.0f}" for value in (cost.seconds, cost.cpu, cost.others))
            memory, by_step = f"{cost.memory / GIB:.2f}", _by_step(steps, "seconds")
            table.add_row(f"{size} x", f"{SERIES[size]:,}", name, *figures, memory, by_step)
    bench.console.print(table)
    promises = [undisturbed([cost for costs in found.values() for cost, _ in costs.values()])]
    least, most = min(found), max(found)
    for name, seconds, memory in (("training", 1800, 8), ("daily", 180, 4)):
        cost, first = found[most][name][0], found[least][name][0]
        linear = SERIES[most] / SERIES[least]
        slower, larger = cost.seconds / first.seconds, cost.memory / first.memory
        promises += [
            (cost.seconds < seconds, f"{name} at {most} x takes {cost.seconds:.0f} s ({seconds})"),
            (cost.memory < memory * GIB, f"{name} at {most} x peaks at {cost.memory / GIB:.2f} GiB ({memory:.2f})"),
            (slower <= linear, f"{name} takes {slower:.1f} x the time at {most} x of that at {least} x ({linear:.1f})"),
            (
                larger <= linear,
                f"{name} takes {larger:.1f} x the memory at {most} x of that at {least} x ({linear:.1f})",
            ),
        ]
    return promises


def _median_cpu(runs: list[Run]) -> float:
    return statistics.median(run.cost.cpu for run in runs)


def _by_step(steps: Steps, what: str) -> str:
    return ", ".join(f"{name} {took[what]:.1f}" for name, took in steps.items())


def _scores(scores: Scores) -> str:
    return f"WRMSSE {scores.wrmsse:.4f} WSPL {scores.wspl:.4f} bias {100 * scores.bias:+.1f} %"


def main() -> int:
    """Print the tables and what became of the promises."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=("sample", "tiles"), help="Run only this part.")
    parser.add_argument("--runs", type=int, default=3, help="Runs of the sample; medians of their times are shown.")
    parser.add_argument("--large", action="store_true", help="Measure mlforecast's large configuration too.")
    origins: dict[str, Any] = {"nargs": "*", "type": dt.date.fromisoformat}
    parser.add_argument("--origins", **origins, help="Show the scores at these origins too; default: the earlier ones.")
    parser.add_argument("--sizes", nargs="+", type=int, choices=tuple(SERIES), default=list(SERIES))
    options = parser.parse_args()
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 180)
    if not (settings.load().data / "m5").is_dir():
        console.print(f"There is no M5 in {settings.load().data}: set MARKETDAY_DATA to the folder of m5/.")
        return 1
    bench = Bench(console)
    promises = []
    if options.part != "tiles":
        promises += sample(bench, options)
    if options.part != "sample":
        promises += tiles(bench, options.sizes)
    return settle(console, promises)


if __name__ == "__main__":
    sys.exit(main())
