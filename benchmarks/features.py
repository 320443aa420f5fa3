"""Features of M5: this project beside mlforecast, polars and the floor; time, memory, and the same values.

    python benchmarks/features.py [--runs 3]

6.06 million rows, 33 columns. Every run is a process of its own; imports and the start of the workers are not counted.
Memory is the peak of the resident memory of its process tree. mlforecast lives in an environment of its own, which uv
makes on the first run. Ends with 1 if a promise is broken.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import psutil
from feature_bench.oracle import oracle
from rich.console import Console
from rich.table import Table

from marketday import settings

HERE = Path(__file__).resolve().parent / "feature_bench"
TOLERANCE = 1e-5
"""Relative and absolute: pandas itself leaves up to 2e-6 as the standard deviation of equal values."""
SAMPLES = 20
"""Series that are compared: two of each store."""
MEMORY_LIMIT = 1.5 * 2**30
OURS, COPIED, WRITTEN = "this project", "  each column an array of its own", "  written as Parquet"
PEER, NUMBERED, PYARROW = "mlforecast", "  its series given as numbers", "pyarrow, writing alone"


class Run(NamedTuple):
    """What one process took; ``memory`` in bytes, ``cpu`` in seconds of all threads."""

    seconds: float
    cpu: float
    memory: int
    columns: int


def environment(home: Path) -> Path:
    """Return the Python of mlforecast's environment; makes it from its pinned requirements if it is not there."""
    folder = home / "bench-features"
    python = folder / "bin" / "python"
    done = folder / "requirements.txt"
    wanted = (HERE / "requirements.txt").read_text(encoding="utf-8")
    if not done.exists() or done.read_text(encoding="utf-8") != wanted:
        uv = Path(sys.executable).with_name("uv")
        subprocess.run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, folder], check=True)
        install = [uv, "pip", "install", "--quiet", "--require-hashes", "--python", python, "-r"]
        subprocess.run([*install, HERE / "requirements.txt"], check=True)
        done.write_text(wanted, encoding="utf-8")
    return python


def measured(command: list[str | Path], out: Path) -> Run:
    """Run a command to its end and watch its memory."""
    process = subprocess.Popen([*command, out])
    memory = 0
    tree = psutil.Process(process.pid)
    while process.poll() is None:
        try:
            family = [tree, *tree.children(recursive=True)]
            memory = max(memory, sum(one.memory_info().rss for one in family))
        except psutil.NoSuchProcess:  # ended between two looks
            continue
        time.sleep(0.01)
    if process.returncode:
        raise SystemExit(f"{' '.join(map(str, command))} ended with {process.returncode}")
    said = json.loads(out.read_text(encoding="utf-8"))
    return Run(said["seconds"], said["cpu"], memory, said["columns"])


def wrong(out: Path, truth: dict[str, dict[str, np.ndarray]]) -> list[str]:
    """Return the series and columns whose values differ from the oracle's on the days that a candidate has."""
    found = np.load(out.with_suffix(".npz"))
    different = []
    for key in found.files:
        series, column = key.split("|")
        values = found[key].astype(float)
        expected = truth[series][column][: len(values)]
        if not np.allclose(values, expected, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True):
            different.append(key)
    return different


def candidates(data: Path, python: Path, folder: Path) -> dict[str, list[str | Path]]:
    """Return the command of each candidate, in the order in which they run."""
    (folder / "matrix").mkdir()
    return {
        OURS: [sys.executable, HERE / "ours.py", data, "views", folder],
        COPIED: [sys.executable, HERE / "ours.py", data, "copies", folder],
        WRITTEN: [sys.executable, HERE / "ours.py", data, "files", folder / "matrix"],
        PYARROW: [sys.executable, HERE / "pyarrow_write.py", folder / "matrix", folder],
        PEER: [python, "-W", "ignore", HERE / "mlforecast_22.py", data, "names"],
        NUMBERED: [python, "-W", "ignore", HERE / "mlforecast_22.py", data, "numbers"],
        "floor: read + coreforecast": [python, "-W", "ignore", HERE / "floor.py", data],
        "polars": [sys.executable, HERE / "with_polars.py", data],
    }


def main() -> int:
    """Print one table and what became of the promises."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3, help="Runs of each; their medians are shown.")
    options = parser.parse_args()
    here, console = settings.load(), Console(highlight=False)
    if not (here.data / "m5").is_dir():
        console.print(f"There is no M5 in {here.data}: set MARKETDAY_DATA to the folder of m5/.")
        return 1
    python = environment(here.home)
    truth = oracle(here.data / "m5")
    runs: dict[str, list[Run]] = {}
    differing: dict[str, list[str]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        commands = candidates(here.data, python, folder)
        # Round by round and not one after the other, so that a busy minute of the machine falls on all of them.
        for _ in range(options.runs):
            for name, command in commands.items():
                with console.status(f"{name} …"):
                    runs.setdefault(name, []).append(measured(command, folder / "out.json"))
                differing[name] = wrong(folder / "out.json", truth)
    return show(console, runs, differing)


def show(console: Console, runs: dict[str, list[Run]], differing: dict[str, list[str]]) -> int:
    """Print the table and the promises; returns 1 if one is broken."""
    median = {name: statistics.median(run.seconds for run in some) for name, some in runs.items()}
    peak = {name: max(run.memory for run in some) for name, some in runs.items()}
    table = Table("6.06 million rows", "columns", "seconds", "all runs", "CPU s", "peak GiB", "values")
    for name, some in runs.items():
        values = (
            f"{len(differing[name])} of {SAMPLES * some[0].columns} differ" if differing[name] else "equal to pandas"
        )
        table.add_row(
            name,
            str(some[0].columns),
            f"{median[name]:.2f}",
            " ".join(f"{run.seconds:.2f}" for run in some),
            f"{statistics.median(run.cpu for run in some):.1f}",
            f"{peak[name] / 2**30:.2f}",
            "" if name in (WRITTEN, PYARROW) else values,
        )
    console.print(table)
    in_memory, written = median[OURS] / median[PEER], median[WRITTEN] / median[PYARROW]
    most = max(peak[OURS], peak[COPIED], peak[WRITTEN])
    promises = [
        (in_memory <= 0.4, f"the matrix in memory takes {in_memory:.2f} x mlforecast's time for fewer columns (0.40)"),
        (written <= 1.0, f"the matrix as Parquet takes {written:.2f} x what pyarrow takes to write it (1.00)"),
        (most <= MEMORY_LIMIT, f"peak memory is {most / 2**30:.2f} GiB (1.50)"),
        (not differing[OURS] and not differing[COPIED], "all 33 columns have the oracle's values"),
    ]
    console.print(f"with its series given as numbers: {median[OURS] / median[NUMBERED]:.2f} x")
    for kept, promise in promises:
        console.print(f"{'[green]kept  [/]' if kept else '[red]broken[/]'} {promise}")
    return 0 if all(kept for kept, _ in promises) else 1


if __name__ == "__main__":
    sys.exit(main())
