"""Deliveries and warehouse at scale: a whole history, one morning of a chain, and a table of many versions.

    python benchmarks/warehouse.py [--rows 30000000] [--runs 3]

A history of M5's sample, repeated, goes through the delivery API of a step service into the warehouse, beside pyarrow
that reads the same file and writes it as another. A morning of 30,490 series is received, checked and loaded. A table
with 2,000 daily versions is opened, and 60 days of one block of it are read. Every run is a process of its own; memory
is the peak of the resident memory of its tree, service and jobs included. Ends with 1 if a promise is broken.
"""

import argparse
import json
import shutil
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from measuring import Cost, measured, settle, undisturbed
from rich.console import Console
from rich.table import Table
from warehouse_bench import given

from marketday import settings

HERE = Path(__file__).resolve().parent / "warehouse_bench"
SERIES, PAST_DAYS, MORNINGS, VERSIONS = 30_490, 91, 3, 2_000
TIMES, MEMORY, MORNING_SECONDS, READ_SECONDS = 4.0, 1.5 * 2**30, 3.0, 0.5


class Run(NamedTuple):
    """What one process said of itself, and what it took from outside."""

    said: dict[str, Any]
    cost: Cost


def main() -> int:
    """Print one table and what became of the promises."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=30_000_000, help="Least rows of the history.")
    parser.add_argument("--runs", type=int, default=3, help="Runs of each; their median is shown.")
    options = parser.parse_args()
    data, console = settings.load().data, Console(highlight=False)
    with tempfile.TemporaryDirectory(prefix="bench-warehouse-") as temporary:
        folder = Path(temporary)
        with console.status("the history is made …"):
            given.history(data, folder / "history", options.rows)
            given.mornings(data, folder / "mornings", series=SERIES, past=PAST_DAYS, days=MORNINGS)
        copies, loads = [], []
        for number in range(options.runs):
            with console.status(f"the history, run {number + 1} of {options.runs} …"):
                file = folder / "history" / "sales.parquet"
                copies.append(run(folder, "pyarrow_copy.py", file, folder / "copy.parquet"))
                loads.append(run(folder, "bulk.py", folder / "home", folder / "history"))
                shutil.rmtree(folder / "home")
        with console.status(f"{MORNINGS} mornings …"):
            daily = run(folder, "daily.py", folder / "chain", folder / "mornings")
        with console.status(f"{VERSIONS:,} versions …"):
            measured([sys.executable, HERE / "versions.py", folder / "daily", "write", str(VERSIONS)])
        reads = [run(folder, "versions.py", folder / "daily", "read") for _ in range(options.runs)]
    return show(console, copies, loads, daily, reads)


def run(folder: Path, script: str, *arguments: Path | str) -> Run:
    """Carry out one script to its end."""
    out = folder / "out.json"
    cost = measured([sys.executable, HERE / script, *arguments, out])
    return Run(json.loads(out.read_text(encoding="utf-8")), cost)


def show(console: Console, copies: list[Run], loads: list[Run], daily: Run, reads: list[Run]) -> int:
    """Print the table and the promises; returns 1 if one is broken."""
    copied, loaded, read = (statistics.median(each.said["seconds"] for each in runs) for runs in (copies, loads, reads))
    received = statistics.median(each.said["receive"] for each in loads)
    morning = statistics.median(daily.said["seconds"])
    rows, peak = loads[0].said["rows"], max(each.cost.memory for each in loads)
    table = Table("", "rows", "seconds", "rows/s", "peak MiB", title="Into the warehouse, and out of it")
    lines: list[tuple[str, int, float, list[Run]]] = [
        ("pyarrow, Parquet to Parquet", rows, copied, copies),
        ("a history: API to facts", rows, loaded, loads),
        ("  received and checked by the API", rows, received, []),
        ("  ingest, clean, load", rows, loaded - received, []),
        ("a morning: API to facts", 2 * daily.said["rows"], morning, [daily]),
        (f"60 days of a block, {VERSIONS:,} versions", reads[0].said["rows"], read, reads),
    ]
    for what, many, seconds, runs in lines:
        memory = f"{max(each.cost.memory for each in runs) / 2**20:,.0f}" if runs else ""
        table.add_row(what, f"{many:,}", f"{seconds:.2f}", f"{many / seconds:,.0f}", memory)
    console.print(table)
    promises = [
        # Of a service's jobs nobody tells the CPU seconds, so that only the runs in between can say who else was there.
        undisturbed([each.cost for each in copies]),
        (loaded <= TIMES * copied, f"a history takes {loaded / copied:.2f} x pyarrow's time ({TIMES:.2f})"),
        (peak < MEMORY, f"and {peak / 2**30:.2f} GiB at its peak (1.50)"),
        (morning < MORNING_SECONDS, f"a morning of {SERIES:,} series takes {morning:.2f} s ({MORNING_SECONDS:.2f})"),
        (read < READ_SECONDS, f"60 days of a block are read in {read:.2f} s ({READ_SECONDS:.2f})"),
    ]
    return settle(console, promises)


if __name__ == "__main__":
    sys.exit(main())
