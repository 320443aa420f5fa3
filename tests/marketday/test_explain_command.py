"""What `marketday explain` promises, on two consecutive mornings that went through the real steps."""

import datetime as dt
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import typer
from small_shop import DAY, HISTORY, ORIGIN, change, facts
from typer.testing import CliRunner

from marketday import explanations, models, publishing, tables
from marketday.cli.console import ReadableErrors
from marketday.cli.explain import explain
from marketday.cli.status import status
from marketday.retailers import Training
from marketday.tables import EFFECTS, EXPLANATIONS, FORECASTS, RUN_DAY
from marketday.warehouse import Warehouse

NAME = "simulated"
NEXT = DAY + dt.timedelta(days=1)
CHEAPER = ORIGIN + dt.timedelta(days=3)
CORRECTED = ORIGIN - dt.timedelta(days=2)
BREAD = (pl.col("location_id") == "north") & (pl.col("product_id") == "bread")
MORNING = ("features", "predict", "calibrate", "orders", "publish")
SMALL = Training(rounds=60, leaves=8, history_days=120)

app = typer.Typer(cls=ReadableErrors)
for command in (explain, status):
    app.command()(command)


def marketday(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, ["explain", NAME, *(str(a) for a in arguments)], env={"COLUMNS": "200"})
    assert result.exit_code == code, result.output
    return result.output


@pytest.fixture
def shop(simulated):
    return simulated.model_copy(update={"training": SMALL})


@pytest.fixture
def morning(run_step, warehouse: Warehouse, shop) -> Callable[..., None]:
    """Run steps of a morning on what was delivered, and write what each returns."""

    def carry_out(day: dt.date, delivered: dict[str, pl.DataFrame], steps: tuple[str, ...] = MORNING) -> None:
        for name in steps:
            blocks = [None]
            if name == "predict":
                made = warehouse.scan(NAME, tables.FEATURES).filter(pl.col(RUN_DAY) == day).collect()
                blocks = sorted(made["block"].unique())
            for block in blocks:
                outputs = run_step(name, day, delivered, block=block, retailer=shop)
                delivered = {}
                for table, rows in outputs.tables.items():
                    warehouse.write(NAME, tables.get(table), rows, run_day=day, block=block)

    return carry_out


def first_delivery() -> dict[str, pl.DataFrame]:
    terms = {"supplier_id": "mill", "product_id": "bread", "cost": 0.5, "pack_size": 6.0, "minimum_packs": 0}
    offer = terms | {"day": ORIGIN - dt.timedelta(days=30), "lead_time": 1, "delivery_weekdays": ""}
    given = facts()
    given["products"] = change(given["products"], pl.col("product_id") == "bread", supplier_id=pl.lit("mill"))
    return {**given, "offers": pl.DataFrame([offer], schema_overrides={"minimum_packs": pl.Int32})}


def second_delivery() -> dict[str, pl.DataFrame]:
    """Bread sold three times as much as expected, a day was corrected, and its coming price is 1 instead of 3."""
    told = facts()
    fresh = pl.col("day") == DAY
    sold = facts(HISTORY, until=DAY)["sales"].filter(fresh)
    corrected = told["sales"].filter(BREAD, pl.col("day") == CORRECTED).with_columns(units=pl.lit(77.0))
    coming = told["prices"].filter(pl.col("day") == CHEAPER).with_columns(price=pl.lit(1.0))
    return {
        "sales": pl.concat([change(sold, BREAD, units=pl.lit(40.0)), corrected]),
        "stock": sold.drop("units").with_columns(
            on_hand=pl.lit(20.0), on_order=pl.lit(0.0), stockout_share=pl.lit(0.0)
        ),
        "prices": coming,
        **{name: told[name].filter(pl.col("day") >= NEXT) for name in ("weather", "promotions", "events")},
    }


@pytest.fixture
def two_mornings(morning) -> None:
    morning(DAY, first_delivery(), ("train", *MORNING))
    morning(NEXT, second_delivery())


def explained(warehouse: Warehouse, day: dt.date) -> pl.DataFrame:
    _, rows = publishing.read(warehouse, NAME, FORECASTS, day)
    return explanations.explain(warehouse, NAME, rows, day)


def test_every_published_mean_is_base_times_factors(two_mornings, warehouse: Warehouse) -> None:
    rows = explained(warehouse, NEXT)
    assert rows["model"].str.starts_with("gbm@").all()
    assert rows.height == warehouse.scan(NAME, EXPLANATIONS).filter(pl.col(RUN_DAY) == NEXT).collect().height == 12 * 14
    product = rows.select(pl.reduce(lambda a, b: a * b, [pl.col(n) for n in ("base", *explanations.FACTORS)]))
    np.testing.assert_allclose(product.to_series(), rows["mean"], rtol=1e-6)
    by_weekday = rows.group_by(pl.col("day").dt.weekday()).agg(pl.col("weekday").mean()).sort("day")
    assert by_weekday["weekday"].arg_max() == 5, "Saturdays sell most"
    assert by_weekday["weekday"].arg_min() == 6, "Sundays sell least"


def test_rows_in_any_order_keep_their_explanation(two_mornings, warehouse: Warehouse) -> None:
    features = warehouse.scan(NAME, tables.FEATURES).filter(pl.col(RUN_DAY) == DAY).drop(RUN_DAY).collect()
    row = warehouse.scan(NAME, tables.MODELS).collect().row(0, named=True)
    model = models.from_text(row["kind"], models.Text(row["parameters"], row["artefact"]))
    predicted, why = models.explain.predict(model, features.sample(fraction=1.0, shuffle=True, seed=3), ORIGIN)
    sorted_too = models.explain.predict(model, features, ORIGIN)
    for shuffled, given in zip((predicted, why), sorted_too, strict=True):
        assert shuffled.sort(*EXPLANATIONS.key).equals(given.sort(*EXPLANATIONS.key))
    assert predicted.equals(
        model.predict(
            predicted.select(*EXPLANATIONS.key).join(features, on=EXPLANATIONS.key, maintain_order="left"), ORIGIN
        )
    )


def test_a_series_is_explained_day_by_day_step_by_step_with_its_order(two_mornings, tmp_path: Path) -> None:
    page = tmp_path / "deep" / "why.html"
    output = marketday("--location", "north", "--product", "bread", "--html", page)
    assert "business day 2026-03-03: fresh" in output
    for day in range(3, 17):
        assert f" {day} Mar" in output
    for word in ("level", "weekday", "forecast", "median", "Why ", "on Tue 3 Mar?", "Order from mill: "):
        assert word in output
    html = page.read_text()
    assert "<svg" in html
    assert "on Tue 3 Mar?" in html
    assert "http" not in html.replace("http://www.w3.org", ""), "the page needs nothing from elsewhere"


def test_what_changed_is_said_with_its_causes(two_mornings, warehouse: Warehouse) -> None:
    output = marketday("--location", "north", "--product", "bread")
    assert "What changed since the forecast of 2026-03-02?" in output
    assert "by recent sales: 40 pieces sold on Mon 2 Mar, where" in output
    assert "Past data were corrected: Fri 27 Feb 77 pieces instead of 5" in output
    assert "Another model" not in output
    now, then = (explained(warehouse, day).filter(BREAD) for day in (NEXT, DAY))
    moved = explanations.changes(now, then)
    assert moved["day"].to_list() == [DAY + dt.timedelta(days=n) for n in range(1, 14)]
    assert moved["base"].sum() > 0.0
    np.testing.assert_allclose(
        moved.select(pl.sum_horizontal("base", *explanations.FACTORS)).to_series(), moved["after"] - moved["before"]
    )


def test_a_price_that_is_another_now_is_named(two_mornings, warehouse: Warehouse, shop) -> None:
    now, then = (explained(warehouse, day).filter(BREAD) for day in (NEXT, DAY))
    planned = explanations.since(warehouse, shop, explanations.Series("north", "bread"), now, then).planned
    prices = planned.filter(what="price").row(0, named=True)
    assert prices == {"day": CHEAPER, "what": "price", "before": "3.0", "after": "1.0"}


def test_the_baseline_is_level_times_weekday_and_has_nothing_to_compare_with_at_first(morning) -> None:
    morning(DAY, first_delivery())
    output = marketday("--location", "south", "--product", "cheese", "--of-day", ORIGIN + dt.timedelta(days=6))
    assert "fallback" in output
    assert "on Sat 7 Mar?" in output
    assert "weekday" in output
    assert "recent sales" not in output
    assert "no earlier forecast" in output


def test_another_model_is_named(morning) -> None:
    morning(DAY, first_delivery())
    morning(NEXT, {}, ("train", *MORNING))
    output = marketday("--location", "north", "--product", "bread")
    assert "No sales have become known since" in output
    assert "Another model is in force, gbm@" in output
    assert "instead of seasonal" in output


def test_an_older_day_is_explained_as_it_was_published(two_mornings) -> None:
    output = marketday("--location", "north", "--product", "bread", "--day", DAY)
    assert "on Mon 2 Mar?" in output
    assert "no earlier forecast" in output


def test_what_is_not_there_is_refused_with_what_is_like_it(morning, tmp_path: Path) -> None:
    morning(DAY, first_delivery())
    output = marketday("--location", "nort", "--product", "bread", code=1)
    assert "There is no location 'nort'" in output
    assert "north" in output
    assert "apples, bread, cheese, dates" in marketday("--location", "north", "--product", "zzz", code=1)
    assert "from 2026-03-02 to 2026-03-15" in marketday(
        *("--location", "north", "--product", "bread", "--of-day", "2026-05-01"), code=1
    )
    marketday("--location", "north", "--product", "bread", "--html", tmp_path / "why.pdf", code=2)


def test_an_explanation_of_another_run_than_the_published_one_is_refused(morning, warehouse: Warehouse) -> None:
    morning(DAY, first_delivery())
    morning(DAY, {"sales": first_delivery()["sales"].with_columns(pl.col("units") * 2)}, ("features", "predict"))
    output = marketday("--location", "north", "--product", "bread", code=1)
    assert "were not made by the run that explained that day last" in output
    assert f"marketday run {NAME} --day {DAY}" in output
    morning(NEXT, second_delivery())
    assert "What moved it is not known: The forecasts of 2026-03-02" in marketday(
        *("--location", "north", "--product", "bread")
    )


def test_every_factor_has_a_name_for_people() -> None:
    assert set(explanations.LABELS) == {"base", *explanations.FACTORS}
    assert set(EFFECTS) < set(explanations.FACTORS)


@pytest.mark.parametrize("factor", [0.0, 0.2, 1.0, 1.7])
def test_a_waterfall_ends_at_the_mean(factor: float) -> None:
    row = {"base": 4.0, **dict.fromkeys(explanations.FACTORS, 1.0), "weekday": factor, "price": 1.001}
    row["mean"] = row["base"] * factor * 1.001
    steps = explanations.waterfall(row)
    assert steps[0].end == 4.0
    assert steps[-1].end == row["mean"]
    assert steps[-2].end == pytest.approx(row["mean"], abs=0.03)
    assert "price" not in {step.label for step in steps}, "what hardly matters is not shown"
