"""Forecast M5 at some origins with this project's own steps and print the competition's scores and the time taken.

    python benchmarks/score_m5.py --scorer PATH/score.py 2016-01-31 2016-02-28 2016-03-27 [--scheme direct]

The data are read from MARKETDAY_DATA, the steps run in this process in a throw-away warehouse. The scorer is an
outside program: it takes a Parquet file of forecasts, ``--actuals FOLDER`` and ``--origin DAY``, and prints JSON.
"""

import argparse
import datetime as dt
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import polars as pl
import yaml

from marketday import settings, tables
from marketday.adapters.m5 import M5
from marketday.calls import Call
from marketday.distributions import QUANTILE_LEVELS, with_quantiles
from marketday.steps.execution import execute
from marketday.warehouse import Warehouse, empty

RETAILER = "m5"
HORIZON = 28


def prepare(home: Path, scheme: str) -> settings.Settings:
    """Return settings of a throw-away home whose M5 definition has the scheme that is asked for."""
    here = settings.load()
    definition = yaml.safe_load((here.retailers / f"{RETAILER}.yaml").read_text(encoding="utf-8"))
    definition["training"]["scheme"] = scheme
    (home / "retailers").mkdir()
    (home / "retailers" / f"{RETAILER}.yaml").write_text(yaml.safe_dump(definition), encoding="utf-8")
    return here.model_copy(update={"home": home, "warehouse": "", "retailers": home / "retailers"})


def load_facts(warehouse: Warehouse, data: Path, day: dt.date) -> None:
    """Write what M5's customer delivers by the morning of ``day`` straight into the facts and dimensions."""
    for name, rows in M5(data / "m5", horizon=HORIZON).deliver(day, since=None).items():
        table = tables.get(name)
        whole = pl.concat([empty(table).drop("run_day"), rows], how="diagonal_relaxed")
        warehouse.write(RETAILER, table, whole, run_day=day)


def forecast(here: settings.Settings, day: dt.date) -> tuple[pl.DataFrame, dict[str, float]]:
    """Run features, train and predict; return the forecasts and each step's seconds."""
    seconds = {}

    def run(step: str, block: str | None = None) -> dict[str, object]:
        started = time.perf_counter()
        facts = execute(Call(step=step, retailer=RETAILER, day=day, block=block), here).facts
        seconds[step] = seconds.get(step, 0.0) + time.perf_counter() - started
        return facts

    blocks = run("features")["blocks"]
    run("train")
    for block in blocks:
        run("predict", block)
    rows = Warehouse.from_settings(here).scan(RETAILER, tables.PREDICTIONS).collect()
    return with_quantiles(rows.filter(pl.col("mode") == "fresh")), seconds


def completed(rows: pl.DataFrame, data: Path, origin: dt.date) -> pl.DataFrame:
    """Add what the scorer asks for and no retailer would: zero for days before a product is on sale."""
    series = pl.read_parquet(data / "m5" / "series_manifest.parquet").select(
        location_id="store_id", product_id="item_id"
    )
    days = pl.DataFrame({"day": [origin + dt.timedelta(days=h) for h in range(1, HORIZON + 1)]})
    figures = ["mean", *QUANTILE_LEVELS]
    return (
        series.join(days, how="cross")
        .join(
            rows.select("location_id", "product_id", "day", *figures),
            on=["location_id", "product_id", "day"],
            how="left",
        )
        .with_columns(pl.col(figures).fill_null(0.0))
    )


def main() -> None:
    """Print one line of figures per origin."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("origins", nargs="+", type=dt.date.fromisoformat)
    parser.add_argument("--scorer", type=Path, required=True)
    parser.add_argument("--scheme", choices=("recursive", "direct"), default="recursive")
    options = parser.parse_args()
    data = settings.load().data
    print("origin      WRMSSE  WSPL    WAPE    bias     features  train  predict  peak GB")
    for origin in options.origins:
        day = origin + dt.timedelta(days=1)
        with tempfile.TemporaryDirectory() as folder:
            here = prepare(Path(folder), options.scheme)
            load_facts(Warehouse.from_settings(here), data, day)
            rows, seconds = forecast(here, day)
            file = Path(folder) / "forecasts.parquet"
            completed(rows, data, origin).write_parquet(file)
            command = [
                sys.executable,
                str(options.scorer),
                str(file),
                "--actuals",
                str(data / "m5"),
                "--origin",
                str(origin),
            ]
            score = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        print(
            f"{origin}  {score['wrmsse']:.4f}  {score['wspl']:.4f}  {score['wape']:.4f}  {score['bias']:+.4f}"
            f"  {seconds['features']:6.1f} s {seconds['train']:5.1f} s {seconds['predict']:5.1f} s"
            f"  {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
