"""Demand where stock ran out: this project beside LightGBM on the rows without stock-out, and against the truth.

    python benchmarks/stockouts.py

FreshRetailNet: 50,000 series of fresh food, 7 days after 2024-06-11, rows without stock-out. This project runs its
steps features, train and predict; the peer has the same inputs, but knows nothing of days with a stock-out. Simulator:
what is recovered on days with a stock-out beside the demand that was drawn. Ends with 1 if a promise is broken.
"""

import argparse
import datetime as dt
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from forecast_bench import poisson
from forecast_bench.warehouses import delivered, opened, variables
from measuring import measured, settle
from rich.console import Console
from rich.progress import track
from rich.table import Table

from marketday import retailers, settings
from marketday.adapters.freshretailnet import FreshRetailNet
from marketday.features.censoring import recover
from marketday.features.panel import Facts
from marketday.simulator import FIRST_DAY, conditions, demand, world
from marketday.steps.features import READS
from marketday.tables import PREDICTIONS
from marketday.warehouse import as_known

STEPS = Path(__file__).resolve().parent / "forecast_bench" / "steps.py"
RETAILER = "freshretailnet"
KEY = ["location_id", "product_id", "day"]
ORIGIN = dt.date(2024, 6, 11)
DAY = ORIGIN + dt.timedelta(days=1)
SEEDS = (7, 11, 12, 13)
"""Simulated worlds: the embedded retailer's own, and three on which no constant was set."""
SIMULATED_DAYS, LEARNING_DAYS = 520, 28
OURS, PEER = "this project", "LightGBM, Poisson, rows without stock-out"


class Score(NamedTuple):
    """Sum of absolute errors, and of errors, over the sum of sales."""

    wape: float
    bias: float


def scored(forecasts: pl.DataFrame, truth: pl.DataFrame) -> Score:
    """Score a forecast on rows of location_id, product_id, day, units; a row that nobody forecast counts as 0."""
    both = truth.join(forecasts.select(*KEY, "mean"), on=KEY, how="left").with_columns(pl.col("mean").fill_null(0.0))
    error = pl.col("mean") - pl.col("units")
    wape, bias = both.select(error.abs().sum().alias("wape"), error.sum().alias("bias")).row(0)
    units = both["units"].sum()
    return Score(wape / units, bias / units)


def fresh_food(console: Console) -> list[tuple[bool, str]]:
    """Compare on FreshRetailNet; returns the promises."""
    here = settings.load()
    retailer = retailers.load(RETAILER, here.retailers)
    customer = FreshRetailNet(here.data / RETAILER, retailer.horizon)
    after = customer.deliver(DAY + dt.timedelta(days=retailer.horizon), since=DAY)
    truth = after["sales"].join(after["stock"].filter(pl.col("stockout_share") == 0), on=KEY, how="semi")
    with tempfile.TemporaryDirectory() as temporary:
        home = Path(temporary)
        with console.status("facts …"):
            delivered(home, RETAILER, customer, DAY)
        with console.status(f"{OURS} …"):
            command = [sys.executable, STEPS, RETAILER, str(DAY), home / "out.json", "features", "train", "predict"]
            cost = measured(command, variables(home))
        warehouse = opened(home)
        found = {OURS: scored(warehouse.scan(RETAILER, PREDICTIONS).collect(), truth)}
        with console.status(f"{PEER} …"):
            facts = Facts(*(as_known(warehouse.scan(RETAILER, table), table, DAY) for table in READS))
            found[PEER] = scored(poisson.forecast(facts, retailer, ORIGIN), truth)
    table = Table(f"FreshRetailNet, {ORIGIN}, {retailer.horizon} days, {truth.height:,} rows", "WAPE", "bias")
    for name, score in found.items():
        table.add_row(name, f"{score.wape:.4f}", f"{100 * score.bias:+.2f} %")
    console.print(table)
    console.print("The weather of the coming days is what came, for both: the data have no forecasts of it.")
    console.print(f"{OURS}: {cost.seconds:.0f} s, CPU {cost.cpu:.0f} s, {cost.memory / 2**30:.2f} GiB")
    own, peer = found[OURS], found[PEER]
    return [
        (own.wape < peer.wape, f"WAPE {own.wape:.4f} against {peer.wape:.4f}"),
        (abs(own.bias) <= abs(peer.bias) / 2, f"bias {100 * own.bias:+.2f} % against {100 * peer.bias:+.2f} % (half)"),
    ]


def simulated(seed: int) -> tuple[float, float, int]:
    """Return recovered and observed over true demand, less 1, on a world's days with stock-outs, and their number."""
    grocers = world.build(seed)
    dates = [FIRST_DAY + dt.timedelta(days=n) for n in range(SIMULATED_DAYS)]
    closed = [demand.simulation(grocers).day(date) for date in dates]
    listed, sales, share, true = (
        np.array([getattr(day, name) for day in closed]).T for name in ("listed", "sales", "stockout_share", "demand")
    )
    found = recover(
        np.where(listed, sales, np.nan).astype(np.float32),
        share.astype(np.float32),
        group=grocers.department[grocers.product],
        promoted=np.array([conditions.shelf(grocers, date).promotion for date in dates]).T > 0,
        by_weight=grocers.by_weight,
    ).demand
    out = listed & (share > 0) & (np.arange(len(dates)) >= LEARNING_DAYS)
    return found[out].mean() / true[out].mean() - 1, sales[out].mean() / true[out].mean() - 1, int(out.sum())


def simulator(console: Console) -> list[tuple[bool, str]]:
    """Compare with the simulator's true demand; returns the promise."""
    table = Table("simulator, days with a stock-out", "days", "sales", "recovered")
    found = []
    for seed in track(SEEDS, "simulated worlds …", console=console, transient=True):
        recovered, sold, days = simulated(seed)
        table.add_row(f"world {seed}", f"{days:,}", f"{100 * sold:+.1f} %", f"{100 * recovered:+.2f} %")
        found.append(recovered)
    console.print(table)
    worst = max(found, key=abs)
    return [(abs(worst) <= 0.03, f"recovered demand is {100 * worst:+.2f} % off the true mean at worst (3)")]


def main() -> int:
    """Print the tables and what became of the promises."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    console = Console(highlight=False)
    data = settings.load().data
    if not (data / RETAILER).is_dir():
        console.print(f"There is no FreshRetailNet in {data}: set MARKETDAY_DATA to the folder of {RETAILER}/.")
        return 1
    return settle(console, [*fresh_food(console), *simulator(console)])


if __name__ == "__main__":
    sys.exit(main())
