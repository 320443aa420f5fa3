"""One origin: the steps of the daily run, carried out in a throw-away warehouse on what was known that morning.

What is left, in one folder that appears as a whole: ``forecasts.parquet`` and ``baseline.parquet`` (see
:func:`marketday.backtest.rows.joined`), ``series.parquet`` (what scoring must know of each series), ``history.parquet``
(the last weeks, for charts) and ``result.json`` (key, sources, seconds and memory per step, the steps' own facts).
"""

import datetime as dt
import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from marketday import deliveries
from marketday.backtest import sources
from marketday.backtest.meter import Meter
from marketday.backtest.plan import Plan
from marketday.backtest.rows import KEY, PAIR, joined, revenue, scales, velocities, with_absent_days
from marketday.backtest.sources import Source
from marketday.calls import Call
from marketday.errors import StepError
from marketday.runners import local
from marketday.settings import Settings
from marketday.tables import FORECASTS, PREDICTIONS, PRICES, PRODUCTS, PROMOTIONS, RUN_DAY, SALES, STOCK, Table
from marketday.warehouse import Warehouse, as_known

STAGES = ("deliver", "ingest", "clean", "load", "features", "baseline", "train", "predict", "calibrate", "compare")
"""What a replay goes through, in order; `baseline` is `predict` while there is no model yet."""
RESULT = "result.json"
HISTORY_DAYS = 56
"""Days before the origin that the charts show."""

Tell = Callable[[str], None]


class Replay:
    """The morning after one origin."""

    def __init__(
        self, plan: Plan, origin: dt.date, *, source: Source, settings: Settings, home: Path, tell: Tell
    ) -> None:
        """``home`` is the throw-away folder, with the definition of the plan in `retailers/`."""
        self.plan, self.origin, self.source, self.given = plan, origin, source, settings
        self.day = origin + dt.timedelta(days=1)
        self.settings = settings.model_copy(
            update={"home": home, "warehouse": "", "deliveries": "", "reports": None, "retailers": home / "retailers"}
        )
        self.warehouse = Warehouse.from_settings(self.settings)
        self.costs: list[dict[str, Any]] = []
        self.facts: dict[str, dict[str, Any]] = {}
        self._tell = tell

    def run(self, part: Path, target: Path) -> None:
        """Replay the morning, write its result into the folder ``part`` and rename that to ``target`` at the end.

        Raises:
            MarketdayError: what a step raised.

        """
        self._measured("deliver", self._deliver)
        for step in ("ingest", "clean", "load"):
            self._measured(step, partial(self._step, step))
        self._measured("features", partial(self._step, "features"))
        self._measured("baseline", partial(self._predict, "baseline"))
        baseline = self._made(PREDICTIONS)
        self._measured("train", partial(self._step, "train", params={"only_if_missing": True}))
        self._measured("predict", partial(self._predict, "predict"))
        self._measured("calibrate", partial(self._step, "calibrate"))
        part.mkdir(parents=True)
        self._measured("compare", partial(self._compare, baseline, part))
        result = {
            "key": self.plan.key(self.origin, self.source.data),
            "origin": self.origin.isoformat(),
            "source": self.source._asdict(),
            "versions": self.plan.versions,
            "steps": self.costs,
            "facts": self.facts,
        }
        (part / RESULT).write_text(json.dumps(result, indent=1, default=str), encoding="utf-8")
        shutil.rmtree(target, ignore_errors=True)
        part.rename(target)

    def _measured(self, stage: str, work: Callable[[], None]) -> None:
        self._tell(stage)
        with Meter() as meter:
            work()
        cost = {"step": stage, "seconds": meter.seconds, "cpu_seconds": meter.cpu_seconds}
        self.costs.append({**cost, "peak_mib": meter.peak_bytes / 2**20})

    def _step(self, step: str, **more: Any) -> None:
        call = Call(step=step, retailer=self.plan.retailer.name, day=self.day, **more)
        self.facts[step] = local.run(call, self.settings).facts

    def _deliver(self) -> None:
        root, name = self.settings.deliveries_url, self.plan.retailer.name
        tables = sources.morning(self.plan, self.given, self.origin, self.source)
        if tables["sales"].is_empty():
            raise StepError(f"No sales of {name} are left to replay at {self.origin}", hint="Ask for more of them.")
        folder = self.settings.home / "delivered"
        folder.mkdir()
        for table, rows in tables.items():
            file = folder / f"{table}.parquet"
            rows.write_parquet(file)
            deliveries.put_table(root, name, self.day, table, file)
        shutil.rmtree(folder)
        deliveries.complete(root, name, self.day, "history", dt.datetime.combine(self.day, dt.time(), tzinfo=dt.UTC))

    def _predict(self, stage: str) -> None:
        blocks = self.facts["features"]["blocks"]
        for number, block in enumerate(blocks, start=1):
            if len(blocks) > 1:
                self._tell(f"{stage} {number}/{len(blocks)}")
            self._step("predict", block=block)

    def _made(self, table: Table) -> pl.DataFrame:
        return self.warehouse.scan(self.plan.retailer.name, table).filter(pl.col(RUN_DAY) == self.day).collect()

    def _known(self, table: Table) -> pl.DataFrame:
        return as_known(self.warehouse.scan(self.plan.retailer.name, table), table, self.day).collect()

    def _compare(self, baseline: pl.DataFrame, part: Path) -> None:
        sales, stock = sources.outcome(self.plan, self.given, self.origin, self.source)
        pairs = sources.later_pairs(self.plan, self.given, self.source)
        forecasts = self._made(FORECASTS)
        if self.plan.series is not None or self.plan.locations:
            asked = self._known(SALES).select(PAIR).unique()
            sales, stock, pairs = (rows.join(asked, on=PAIR, how="semi") for rows in (sales, stock, pairs))
        promoted = self._known(PROMOTIONS).select(*KEY, pl.lit(value=True).alias("promotion"))
        for name, predicted in (("forecasts", forecasts), ("baseline", baseline)):
            rows = joined(
                predicted.drop("block", RUN_DAY, strict=False),
                sales,
                stock,
                origin=self.origin,
                horizon=self.plan.retailer.horizon,
                pairs=pairs,
                absent_is_zero=self.plan.retailer.absent_sales == "zero",
            )
            rows = rows.join(promoted, on=KEY, how="left", maintain_order="left")
            rows.with_columns(pl.col("promotion").fill_null(value=False)).write_parquet(part / f"{name}.parquet")
        self._series(forecasts).write_parquet(part / "series.parquet")
        self._history().write_parquet(part / "history.parquet")

    def _series(self, forecasts: pl.DataFrame) -> pl.DataFrame:
        history = self._known(SALES).select(*KEY, "units").filter(pl.col("day") <= self.origin)
        if self.plan.retailer.absent_sales == "zero":
            history = with_absent_days(history, self.origin)
        products = self._known(PRODUCTS).select("product_id", "name", "category", "department", "unit")
        return (
            pl.concat([history.select(PAIR), forecasts.select(PAIR)])
            .unique()
            .join(products, on="product_id", how="left")
            .join(scales(history), on=PAIR, how="left")
            .join(revenue(history, self._known(PRICES), self.origin), on=PAIR, how="left")
            .join(velocities(history, self.origin), on=PAIR, how="left")
            .with_columns(pl.col("weight").fill_null(0.0), pl.col("velocity").fill_null("new"))
            .sort(PAIR)
        )

    def _history(self) -> pl.DataFrame:
        recent = pl.col("day").is_between(self.origin - dt.timedelta(days=HISTORY_DAYS - 1), self.origin)
        stock = self._known(STOCK).filter(recent).select(*KEY, "stockout_share")
        sold = self._known(SALES).filter(recent).select(*KEY, "units")
        return sold.join(stock, on=KEY, how="left").sort(KEY)
