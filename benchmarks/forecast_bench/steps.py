"""This project: steps of one morning, in this process, on the facts that are in the warehouse of MARKETDAY_HOME.

    python steps.py RETAILER DAY OUT.json STEP ...

STEP is features, train, predict (block after block) or quantiles, which derives the nine quantiles of every row from
what `predict` left and writes them to HOME/forecasts, a file per block. OUT gets the seconds of each.
"""

import datetime as dt
import json
import sys
import time
from pathlib import Path

import dask
import polars as pl

from marketday import settings
from marketday.calls import Call
from marketday.distributions import with_quantiles
from marketday.settings import RESOURCE_CLASSES, Settings
from marketday.steps.execution import execute
from marketday.tables import FEATURES, PREDICTIONS, RUN_DAY
from marketday.warehouse import Warehouse


def run(step: str, retailer: str, day: dt.date, here: Settings) -> None:
    """Carry out one step, on every block if it works block by block."""
    if step == "predict":
        for block in blocks(retailer, day, here):
            execute(Call(step=step, retailer=retailer, day=day, block=block), here)
    elif step == "quantiles":
        quantiles(retailer, day, here)
    else:
        execute(Call(step=step, retailer=retailer, day=day), here)


def blocks(retailer: str, day: dt.date, here: Settings) -> list[str]:
    """Return the names of the blocks that have features on ``day``."""
    rows = Warehouse.from_settings(here).scan(retailer, FEATURES).filter(pl.col(RUN_DAY) == day)
    return rows.select(pl.col("block").unique().sort()).collect()["block"].to_list()


def quantiles(retailer: str, day: dt.date, here: Settings) -> None:
    """Write what was predicted, with its quantiles."""
    folder = here.home / "forecasts"
    folder.mkdir(exist_ok=True)
    predicted = Warehouse.from_settings(here).scan(retailer, PREDICTIONS).filter(pl.col(RUN_DAY) == day)
    for block in blocks(retailer, day, here):
        rows = predicted.filter(pl.col("block") == block).collect()
        with_quantiles(rows).write_parquet(folder / f"{block}.parquet")


def main() -> None:
    """Run the steps that are named and time each."""
    retailer, day, out, *steps = sys.argv[1:]
    here = settings.load()
    dask.config.set(num_workers=RESOURCE_CLASSES["M"].cores)  # as the step service does
    took = {}
    for step in steps:
        wall, cpu = time.perf_counter(), time.process_time()
        run(step, retailer, dt.date.fromisoformat(day), here)
        took[step] = {"seconds": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
    Path(out).write_text(json.dumps(took), encoding="utf-8")


if __name__ == "__main__":
    main()
