"""A past morning on the facts as they are known today: what later corrections would have changed.

Of the days up to the origin, the facts are those of the latest version; from the business day on, prices, promotions,
events and weather stay as they were planned then, and so do products, locations and past forecasts. The steps from
`train` to `orders` are carried out on that, in memory. Gates are not asked: they judge, and change no number.
"""

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import polars as pl

from marketday import publishing
from marketday.errors import StepError, listed
from marketday.rebuilding import damage
from marketday.rebuilding.morning import Execution, Morning
from marketday.rebuilding.rebuild import ReadOnly
from marketday.settings import Settings
from marketday.steps import contract
from marketday.steps.execution import context_of
from marketday.tables import DELIVERED, FORECASTS, ORDERS, RUN_DAY, Table
from marketday.warehouse import NOTHING_YET, Rows, Warehouse, as_known, empty, known_at
from marketday.warehouse.content import conformed

AGAIN = ("train", "features", "predict", "calibrate", "orders")
"""Steps that make the forecasts and orders of a morning from its facts."""
PAIR = ("location_id", "product_id")
_FACTS = tuple(table for table in DELIVERED if table.kind == "fact")


class Hindsight(ReadOnly):
    """The warehouse on the morning of ``day``, but with the facts of the days before as they are known now."""

    def __init__(self, warehouse: Warehouse, retailer: str, day: dt.date) -> None:
        super().__init__(warehouse.url, warehouse.storage_options)
        self.day = day
        self.latest = {table.name: warehouse.version(retailer, table) for table in _FACTS}
        self._made: dict[str, list[pl.DataFrame]] = {}

    def scan(self, retailer: str, table: Table, *, version: int | None = None) -> pl.LazyFrame:
        """Return the rows of ``version``, with what is known of the past now and with what was made here today."""
        if table.name in self.latest:
            return self._known_now(retailer, table, version)
        rows = super().scan(retailer, table, version=version)
        if table.name in self._made:
            earlier = rows.filter(pl.col(RUN_DAY) != self.day)
            return pl.concat([earlier, *(made.lazy() for made in self._made[table.name])])
        return rows

    def put(self, table: Table, rows: Rows) -> None:
        """Let ``rows`` (of one block, where the table has blocks) take the place of what the day's own run wrote."""
        made = self._made.setdefault(table.name, [])
        made.extend(conformed([rows] if isinstance(rows, pl.DataFrame) else rows, table, self.day))

    def made(self, table: Table) -> pl.DataFrame:
        """Return what was put into the table."""
        return pl.concat([empty(table), *self._made[table.name]])

    def _known_now(self, retailer: str, table: Table, version: int | None) -> pl.LazyFrame:
        past, business_day = pl.col("day") < self.day, pl.lit(self.day)
        now = super().scan(retailer, table, version=self.latest[table.name]).filter(past)
        learned = as_known(now.filter(pl.col(RUN_DAY) >= business_day), table, dt.date.max)
        then = super().scan(retailer, table, version=version).filter(~past, pl.col(RUN_DAY) <= business_day)
        return pl.concat(
            [now.filter(pl.col(RUN_DAY) < business_day), learned.with_columns(business_day.alias(RUN_DAY)), then]
        )


@dataclass(frozen=True, kw_only=True)
class Corrected:
    """What later corrections would have changed."""

    morning: Morning
    learned: pl.DataFrame
    """A row per table of facts: rows ``new``, ``changed`` and ``gone``, of the days ``first`` to ``last``."""
    forecasts: pl.DataFrame
    """Published and corrected mean demand (``published``, ``corrected``) per location, product and day."""
    series: pl.DataFrame
    """A row per location and product that would have changed, largest change of the forecast first; see
    :func:`by_series`."""
    totals: Mapping[str, tuple[float, float]]
    """What there was in all, published and corrected: expected demand, packs and value ordered."""
    models: tuple[str, str]
    """The models that forecast, published and corrected: one that was trained that morning is trained again."""


def corrected(
    morning: Morning, warehouse: Warehouse, settings: Settings, begun: Callable[[Execution], None]
) -> Corrected:
    """Make the morning's forecasts and orders from what is known today, and compare them with the published ones.

    Raises:
        StepError: nothing of that day was published, or a step cannot do its work with what is known now.

    """
    if morning.published.is_empty():
        raise StepError(
            f"Nothing of {morning.day} was published for {morning.retailer}, so there is nothing to compare with",
            hint=f"`marketday rebuild {morning.retailer} --day {morning.day}` shows which step stopped it.",
        )
    contract.load_all(settings.step_modules.split())
    hindsight = Hindsight(warehouse, morning.retailer, morning.day)
    executions = [each for each in morning.executions if each.step in AGAIN]
    for execution in executions:
        begun(execution)
        step = contract.get(execution.step)
        context = context_of(execution.call, execution.retailer, hindsight, execution.read, settings)
        with damage.told(morning.retailer):
            outputs = step.function(context)
        for table in step.writes:
            if table.name in outputs.tables:
                hindsight.put(table, outputs.tables[table.name])
    published = {
        row["table"]: publishing.rows_of(
            warehouse, morning.retailer, publishing.PUBLISHED[row["table"]], of_day=morning.day, version=row["version"]
        )
        for row in morning.published.iter_rows(named=True)
    }
    forecasts = _forecasts(published[FORECASTS.name], hindsight.made(FORECASTS), morning.day)
    orders = None
    if ORDERS.name in published:
        orders = _orders(published[ORDERS.name], hindsight.made(ORDERS))
    return Corrected(
        morning=morning,
        learned=_learned(executions, warehouse, hindsight),
        forecasts=forecasts,
        series=by_series(forecasts, orders),
        totals=_totals(forecasts, orders),
        models=(_models(published[FORECASTS.name]), _models(hindsight.made(FORECASTS))),
    )


def by_series(forecasts: pl.DataFrame, orders: pl.DataFrame | None) -> pl.DataFrame:
    """Return the series whose forecast or order differs, largest change of the forecast first.

    Columns: location_id, product_id; expected demand over the horizon ``published`` and ``corrected`` with their
    ``change``; and, with orders, ``quantity``, ``packs`` and ``value`` of them, each also as ``…_corrected``.
    """
    sums = forecasts.group_by(PAIR).agg(pl.col("published", "corrected").sum(), _moved().any().alias("moved"))
    rows = sums.with_columns(change=pl.col("corrected") - pl.col("published"))
    if orders is not None:
        lines = orders.group_by(PAIR).agg(pl.exclude("supplier_id").sum())
        rows = rows.join(lines, on=PAIR, how="full", coalesce=True).with_columns(
            pl.col("moved").fill_null(value=False), pl.col(pl.Float64, pl.Int64).fill_null(0)
        )
        differ = [pl.col(name) != pl.col(f"{name}_corrected") for name in ("packs", "value")]
        rows = rows.with_columns(moved=pl.any_horizontal("moved", *differ))
    return rows.filter("moved").drop("moved").sort(pl.col("change").abs(), *PAIR, descending=[True, False, False])


def _moved() -> pl.Expr:
    return pl.col("published") != pl.col("corrected")


def _forecasts(published: pl.DataFrame, corrected: pl.DataFrame, day: dt.date) -> pl.DataFrame:
    key = list(FORECASTS.key)
    before = published.filter(pl.col("day") >= day).select(*key, published="mean")
    after = corrected.filter(pl.col("day") >= day).select(*key, corrected="mean")
    both = before.join(after, on=key, how="full", coalesce=True)
    return both.with_columns(pl.col("published", "corrected").fill_null(0.0)).sort(key)


def _orders(published: pl.DataFrame, corrected: pl.DataFrame) -> pl.DataFrame:
    key, figures = list(ORDERS.key), pl.col("quantity", "packs", "value")
    before = published.select(*key, figures)
    after = corrected.select(*key, figures.name.suffix("_corrected"))
    both = before.join(after, on=key, how="full", coalesce=True).fill_null(0)
    return both.with_columns(pl.col("packs", "packs_corrected").cast(pl.Int64)).sort(key)


def _totals(forecasts: pl.DataFrame, orders: pl.DataFrame | None) -> dict[str, tuple[float, float]]:
    totals = {"expected demand": (_sum(forecasts, "published"), _sum(forecasts, "corrected"))}
    if orders is not None:
        totals |= {
            f"{name} ordered": (_sum(orders, name), _sum(orders, f"{name}_corrected")) for name in ("packs", "value")
        }
    return totals


def _models(forecasts: pl.DataFrame) -> str:
    return listed(forecasts["model"].unique().sort())


def _sum(rows: pl.DataFrame, column: str) -> float:
    return float(rows.select(pl.col(column).sum()).item())


def _learned(executions: list[Execution], warehouse: Warehouse, hindsight: Hindsight) -> pl.DataFrame:
    """Count per table of facts what is known of the days before the morning that was not known then."""
    found = []
    for table in _FACTS:
        versions = [each.read[table.name] for each in executions if table.name in each.read]
        if versions:
            found.append(_learned_of(table, versions[-1], executions[-1].call.retailer, warehouse, hindsight))
    counts = pl.concat(found)
    return counts.filter(pl.sum_horizontal("new", "changed", "gone") > 0)


def _learned_of(table: Table, then: int, retailer: str, warehouse: Warehouse, hindsight: Hindsight) -> pl.DataFrame:
    day, latest, key = hindsight.day, hindsight.latest[table.name], list(table.key)
    past = pl.col("day") < day
    # Only the run days that were written since can tell anything else: the history need not be compared as a whole.
    since = known_at.entries(warehouse, retailer, table, range(then + 1, latest + 1))
    run_days = {dt.date.fromisoformat(each.metadata["run_day"]) for each in since if "run_day" in each.metadata}
    written = pl.col(RUN_DAY).is_in(sorted(run_days))
    scans = [
        warehouse.scan(retailer, table, version=then).filter(pl.col(RUN_DAY) <= day),
        hindsight.scan(retailer, table, version=then),
    ]
    now = warehouse.scan(retailer, table, version=latest if latest != NOTHING_YET else None)
    touched = pl.concat([rows.filter(written, past).select(key) for rows in (scans[0], now)]).unique().collect()
    days = touched["day"].unique().implode()
    before, after = (
        as_known(rows if table.planned else rows.filter(pl.col("day").is_in(days)), table, day)
        .drop(RUN_DAY)
        .join(touched.lazy(), on=key, how="semi")
        .collect()
        for rows in scans
    )
    gone, new = (a.join(b, on=key, how="anti") for a, b in ((before, after), (after, before)))
    same = after.join(before, on=before.columns, how="semi", nulls_equal=True).height
    differing = pl.concat([gone, after.join(before, on=before.columns, how="anti", nulls_equal=True)])["day"]
    return pl.DataFrame(
        {
            "table": [table.name],
            "new": [new.height],
            "changed": [after.height - new.height - same],
            "gone": [gone.height],
            "first": [differing.min()],
            "last": [differing.max()],
        },
        schema_overrides={"first": pl.Date, "last": pl.Date},
    )
