"""What a rebuild promises: any past morning again, hash by hash, whatever was corrected, edited or run again since."""

import dataclasses
import datetime as dt
import json
from pathlib import Path

import polars as pl
import pytest
import typer
from past_mornings import DAY, DEFINITION, NAME, STEPS, STORES, Shops, corrected_sales
from typer.testing import CliRunner

from marketday import tables
from marketday.calls import Call
from marketday.cli.console import ReadableErrors
from marketday.cli.rebuild import rebuild
from marketday.errors import GateFailed, StepError, WarehouseError
from marketday.rebuilding.corrected import Corrected, corrected
from marketday.rebuilding.morning import Morning, recorded
from marketday.rebuilding.rebuild import ReadOnly, Rebuilt, publications, rebuilt
from marketday.steps import Outputs, contract

LATER = 3
FACTS = ("ingest", "clean", "load")
STOPPED = DAY + dt.timedelta(days=LATER + 1)

app = typer.Typer(cls=ReadableErrors)
app.command()(rebuild)
app.command("other")(rebuild)  # With two commands, typer asks for the name of the one that is meant.


def marketday(shops: Shops, *arguments: object, code: int = 0) -> str:
    home, retailers = str(shops.settings.home), str(shops.settings.retailers)
    env = {"MARKETDAY_HOME": home, "MARKETDAY_RETAILERS": retailers, "MARKETDAY_DASK_SCHEDULER": "synchronous"}
    result = CliRunner().invoke(app, ["rebuild", NAME, *map(str, arguments)], env={**env, "COLUMNS": "160"})
    assert result.exit_code == code, result.output
    return result.stdout


def again(shops: Shops, morning: Morning) -> list[Rebuilt]:
    return list(rebuilt(morning, shops.warehouse, shops.settings, lambda _: None))


def hindsight(shops: Shops, day: dt.date = DAY) -> Corrected:
    morning = recorded(shops.warehouse, NAME, day)
    return corrected(morning, shops.warehouse, shops.settings, lambda _: None)


def differences(found: list[Rebuilt]) -> list[str]:
    """Return all that is not the same."""
    outputs = [f"{each.execution.name}: {o.table} {o.differs}" for each in found for o in each.outputs if not o.same]
    links = [f"{each.execution.name} read another {o.table}" for each in found for o in each.links if not o.same]
    return outputs + links + [f"{each.execution.name}: {each.error}" for each in found if each.error]


def only(morning: Morning, *steps: str) -> Morning:
    """Return the morning with nothing but these steps, to carry out fewer of them."""
    return dataclasses.replace(morning, executions=tuple(each for each in morning.executions if each.step in steps))


@pytest.fixture(scope="module")
def later(tmp_path_factory: pytest.TempPathFactory) -> Shops:
    """DAY as published, and all that can come after it.

    Later deliveries correct its past, its own delivery is corrected and half of it is run again, and its definition is
    edited. A later morning is stopped by its gate.
    """
    shops = Shops(tmp_path_factory.mktemp("later"))
    shops.first_morning(contract.MORNING)
    for number in range(1, LATER + 1):
        wrong = DAY - dt.timedelta(days=number + 2)
        fixed = corrected_sales(shops.delivered(DAY, 20)["sales"], day=wrong, store=STORES[0])
        shops.next_morning(number, fixed, STEPS if number == LATER else FACTS)
    own = shops.delivered(DAY, 60)["sales"]
    shops.deliver(DAY, {"sales": own.with_columns(pl.col("units") * 2)}, "history")
    shops.run(DAY, (*FACTS, "train", "features", "predict", "calibrate"))
    shops.definition.write_text(DEFINITION.replace("0.95", "0.6").replace("horizon: 7", "horizon: 9"), encoding="utf-8")
    given = shops.delivered(STOPPED)
    shops.deliver(STOPPED, {**given, "sales": given["sales"].with_columns(pl.col("units") * 100)})
    with pytest.raises(GateFailed):
        shops.run(STOPPED, ("ingest", "clean", "gate_clean"))
    return shops


@pytest.fixture(scope="module")
def published(later: Shops) -> Morning:
    return recorded(later.warehouse, NAME, DAY)


@pytest.fixture(scope="module")
def found(later: Shops, published: Morning) -> list[Rebuilt]:
    before, found = later.versions(), again(later, published)
    assert later.versions() == before, "a rebuild writes nothing"
    return found


def test_a_published_morning_is_the_same_again_whatever_came_after_it(
    later: Shops, published: Morning, found: list[Rebuilt]
) -> None:
    latest = later.warehouse.scan(NAME, tables.RUNS).filter(run_day=DAY, block="calibrate").collect()
    calibrate = published.execution("calibrate")
    assert calibrate is not None
    assert dict(calibrate.hashes) != json.loads(latest["outputs"].item()), "it was run again, with another result"
    assert calibrate.retailer.horizon == 7, "the definition as it was"
    assert {each.step for each in published.executions} == set(contract.MORNING) - {"verify"}, "as of its publication"
    assert differences(found) == []
    assert all(link.same for link in publications(published, later.warehouse))


def test_every_step_read_what_the_steps_before_it_wrote(found: list[Rebuilt]) -> None:
    read = {(each.execution.step, link.table) for each in found for link in each.links if link.same}
    assert {("clean", "ingested"), ("load", "staged_sales"), ("features", "sales"), ("predict", "models")} <= read
    assert {("calibrate", "predictions"), ("orders", "forecasts"), ("publish", "orders")} <= read
    blocks = {link.block for each in found for link in each.links if link.table == "predictions"}
    assert blocks == {"000", "001"}


def test_a_morning_that_its_gate_stopped_is_the_same_again_too(later: Shops) -> None:
    morning = recorded(later.warehouse, NAME, STOPPED)
    assert [each.step for each in morning.executions if each.failed] == ["gate_clean"]
    assert morning.published.is_empty()
    printed = marketday(later, "--day", STOPPED)
    assert "The same." in printed
    assert "Nothing of this day was published by its own run." in printed


def test_a_step_that_works_differently_now_is_found_with_the_rows_that_differ(
    later: Shops, published: Morning, monkeypatch: pytest.MonkeyPatch
) -> None:
    genuine = contract.get("orders")

    def generous(context: contract.Context) -> Outputs:
        rows = genuine.function(context).tables["orders"]
        assert isinstance(rows, pl.DataFrame)
        first = pl.int_range(pl.len()) == 0
        return Outputs(tables={"orders": rows.with_columns(packs=pl.col("packs") + first.cast(pl.Int32))})

    changed = dataclasses.replace(genuine, function=generous, version=2)
    monkeypatch.setitem(contract._REGISTRY, "orders", changed)
    by_step = {each.execution.step: each for each in again(later, only(published, "calibrate", "orders", "publish"))}
    assert [step for step, each in by_step.items() if not each.same] == ["orders"]
    [output] = by_step["orders"].outputs
    assert output.differs.startswith("1 of ")
    assert "differ in packs: S01 " in output.differs
    assert by_step["orders"].notes == ("made by version 1 of the step; here is version 2",)


def test_a_file_that_is_gone_is_told_and_the_other_steps_go_on(later: Shops) -> None:
    version = later.warehouse.version(NAME, tables.STAGED["sales"])
    [gone] = later.warehouse.stored_day(NAME, tables.STAGED["sales"], STOPPED, version).files
    file = Path(later.warehouse.folder(NAME, "staged_sales").url) / gone.path
    aside = file.rename(file.with_suffix(".aside"))
    try:
        printed = marketday(later, "--day", STOPPED, code=1)
    finally:
        aside.rename(file)
    assert "something that is stored of" in printed
    assert f"marketday fsck {NAME} --deep" in printed
    assert "clean@1" in printed


def test_a_step_that_cannot_be_carried_out_any_more_is_a_difference_and_the_others_go_on(
    later: Shops, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_context: contract.Context) -> Outputs:
        raise StepError("no such thing any more")

    monkeypatch.setitem(contract._REGISTRY, "clean", dataclasses.replace(contract.get("clean"), function=broken))
    printed = marketday(later, "--day", STOPPED, code=1)
    assert "Not the same." in printed
    assert "clean@1: no such thing any more" in printed
    assert "gate_clean@1" in printed


def test_rows_that_the_step_before_did_not_write_are_found(later: Shops, published: Morning) -> None:
    latest = later.warehouse.version(NAME, tables.FEATURES)
    [features, *predict] = only(published, "features", "predict").executions
    other = [dataclasses.replace(each, read={**each.read, "features": latest}) for each in predict]
    found = again(later, dataclasses.replace(published, executions=(features, *other)))
    links = {(each.execution.step, link.table) for each in found for link in each.links if not link.same}
    assert links == {("predict", "features")}


def test_no_step_can_write_while_it_is_rebuilt(later: Shops) -> None:
    reader = ReadOnly(later.warehouse.url, later.warehouse.storage_options)
    with pytest.raises(StepError, match="wrote to the warehouse itself"):
        reader.write(NAME, tables.SALES, pl.DataFrame(), run_day=DAY)


def test_a_day_without_a_recorded_morning_is_said_to_have_none(later: Shops) -> None:
    with pytest.raises(WarehouseError, match="No morning of corner is recorded for 2025-02-01") as raised:
        recorded(later.warehouse, NAME, dt.date(2025, 2, 1))
    assert raised.value.hint == f"Mornings are recorded from {DAY} to {STOPPED}."
    with pytest.raises(WarehouseError, match="No morning of nobody is recorded"):
        recorded(later.warehouse, "nobody", DAY)


def test_a_definition_that_this_release_cannot_read_names_the_release_that_can(tmp_path: Path) -> None:
    shops = Shops(tmp_path)
    row = {"step": "ingest@1", "state": "successful", "key": "k", "message": "", "release": "marketday 0.0.9"}
    row |= {"call": Call(step="ingest", retailer=NAME, day=DAY).model_dump_json(), "definition": '{"shape": "round"}'}
    row |= {"inputs": "{}", "outputs": "{}", "written": "{}", "seconds": 1.0, "block": "ingest"}
    row |= {"started": dt.datetime(2025, 3, 3, tzinfo=dt.UTC)}
    shops.warehouse.write(NAME, tables.RUNS, pl.DataFrame([row]), run_day=DAY, block="ingest")
    with pytest.raises(WarehouseError, match="ingest@1 of 2025-03-03 was called in a way that") as raised:
        recorded(shops.warehouse, NAME, DAY)
    assert raised.value.hint == "Rebuild that morning with the release that made it: marketday 0.0.9."


def test_the_command_tells_every_hash(later: Shops) -> None:
    told = json.loads(marketday(later, "--day", DAY, "--json"))
    assert told["same"]
    outputs = [output for step in told["steps"] for output in step["outputs"]]
    assert len(outputs) > 30
    assert all(output["recorded"] == output["rebuilt"] and len(output["recorded"]) == 64 for output in outputs)
    assert {each["table"] for each in told["published"]} == {"forecasts", "orders"}
    assert "marketday 0." in told["steps"][0]["release"]


def test_only_a_page_of_corrections_can_be_asked_for(later: Shops) -> None:
    marketday(later, "--day", DAY, "--out", "a.html", code=2)
    marketday(later, "--day", DAY, "--corrected", "--out", "a.pdf", code=2)


@pytest.fixture(scope="module")
def seen(later: Shops) -> Corrected:
    return hindsight(later)


def test_hindsight_counts_what_was_learned_of_the_days_before(later: Shops, seen: Corrected) -> None:
    # The correction of DAY's own delivery brought twice as much of its 60 last days, in the place of all its sales.
    features = seen.morning.execution("features")
    assert features is not None
    known = later.warehouse.scan(NAME, tables.SALES, version=features.read["sales"]).collect()
    kept = known.filter(pl.col("day") >= DAY - dt.timedelta(days=60))
    unchanged = kept.filter(pl.col("units") == 0)
    [row] = seen.learned.rows(named=True)
    assert row["table"] == "sales"
    assert (row["new"], row["gone"]) == (0, known.height - kept.height)
    assert row["changed"] == kept.height - unchanged.height
    assert (row["first"], row["last"]) == (known["day"].min(), DAY - dt.timedelta(days=1))


def test_hindsight_shows_which_forecasts_and_orders_would_have_been_others(later: Shops, seen: Corrected) -> None:
    assert seen.series["change"].abs().is_sorted(descending=True)
    for name in ("published", "corrected"):
        assert seen.forecasts[name].sum() == pytest.approx(seen.totals["expected demand"][name == "corrected"])
    published, wanted = seen.totals["expected demand"]
    assert 1.5 * published < wanted < 2.5 * published, "twice as much was sold"
    assert seen.totals["packs ordered"][1] > 2 * seen.totals["packs ordered"][0]
    moved = seen.series.select((pl.col("corrected") - pl.col("published")).sum()).item()
    assert moved == pytest.approx(wanted - published), "what is left out has not changed"


def test_hindsight_changes_nothing_and_is_written_as_a_page_and_as_json(later: Shops, tmp_path: Path) -> None:
    last, before, out = DAY + dt.timedelta(days=LATER), later.versions(), tmp_path / "page.html"
    told = json.loads(marketday(later, "--day", last, "--corrected", "--json", "--out", out))
    assert later.versions() == before
    page = out.read_text(encoding="utf-8")
    assert page.count("<svg") == 2
    assert f"business day {last}: what later corrections would have changed" in page
    first = told["series"][0]
    assert f"<td>{first['location_id']}</td><td>{first['product_id']}</td>" in page
    assert told["page"] == str(out)
    assert told["totals"]["expected demand"]["corrected"] > told["totals"]["expected demand"]["published"]
    assert told["models"]["published"] == told["models"]["corrected"], "that morning trained none"


def test_there_is_no_hindsight_of_a_morning_that_was_not_published(later: Shops) -> None:
    with pytest.raises(StepError, match=f"Nothing of {STOPPED} was published"):
        hindsight(later, STOPPED)


@pytest.mark.slow
def test_after_thirty_later_mornings_with_twenty_corrections_every_morning_is_the_same_again(tmp_path: Path) -> None:
    shops = Shops(tmp_path)
    shops.first_morning(contract.MORNING)
    sales = shops.delivered(DAY, 40)["sales"]
    corrections = {}
    for number in range(1, 31):
        wrong = DAY - dt.timedelta(days=number)
        fixed = corrected_sales(sales, day=wrong, store=STORES[number % 2], factor=1.5) if number <= 20 else None
        corrections[wrong] = fixed
        shops.next_morning(number, fixed)
    for number in (0, 1, 15, 30):
        day = DAY + dt.timedelta(days=number)
        morning = recorded(shops.warehouse, NAME, day)
        assert differences(again(shops, morning)) == []
        assert all(link.same for link in publications(morning, shops.warehouse))
    found = hindsight(shops)
    changed = sum(fixed.filter(pl.col("units") > 0).height for fixed in corrections.values() if fixed is not None)
    [row] = found.learned.rows(named=True)
    assert (row["table"], row["new"], row["gone"]) == ("sales", 0, 0)
    assert 0.8 * changed < row["changed"] <= 1.2 * changed
    assert (row["first"], row["last"]) == (DAY - dt.timedelta(days=20), DAY - dt.timedelta(days=1))
    published, wanted = found.totals["expected demand"]
    assert wanted > 1.05 * published
    assert found.series.height > 50
