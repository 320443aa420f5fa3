"""`marketday fsck` and the step `fsck` say what is wrong with stored files, and delete nothing but old leftovers."""

import datetime as dt
import io
import json
import os
from pathlib import Path

import pytest
from mornings import FIRST, SHOP, morning, row
from typer.testing import CliRunner

from marketday import deliveries, steps
from marketday.calls import Call
from marketday.cli import app
from marketday.deliveries import integrity as delivered
from marketday.errors import StepError
from marketday.settings import Settings
from marketday.steps.execution import execute
from marketday.tables import SALES
from marketday.warehouse import Warehouse

NOW = dt.datetime(2025, 1, 20, 4, tzinfo=dt.UTC)


@pytest.fixture
def shop(settings: Settings) -> Path:
    """The home of a shop with two mornings and two deliveries, the second of them a correction."""
    warehouse = Warehouse.from_settings(settings)
    for day in (FIRST, FIRST + dt.timedelta(days=1)):
        morning(warehouse, day)
    for units in (1.0, 2.0):
        deliver(settings, units)
        deliveries.complete(settings.deliveries_url, SHOP, FIRST, "daily", NOW)
    return settings.home


def deliver(settings: Settings, units: float) -> None:
    content = io.BytesIO()
    row(SALES, location_id="s1", product_id="a", day=FIRST, units=units).write_parquet(content)
    deliveries.put_table(settings.deliveries_url, SHOP, FIRST, "sales", content.getvalue())


def fsck(*arguments: str) -> tuple[int, dict]:
    done = CliRunner().invoke(app, ["fsck", *arguments, "--json"])
    return done.exit_code, json.loads(done.stdout)


def kinds(document: dict) -> list[tuple[str, str]]:
    return [(found["kind"], found["place"]) for found in document["retailers"][SHOP]["findings"]]


def test_all_is_well_and_every_retailer_with_files_is_looked_at(shop):
    code, document = fsck("--deep")
    assert (code, document["clean"]) == (0, True)
    assert set(document["retailers"][SHOP]["places"]) == {"sales", "forecasts", "runs", "publications", "deliveries"}
    assert "all well" in CliRunner().invoke(app, ["fsck", SHOP]).stdout


def test_a_finding_is_shown_with_its_file_and_the_exit_code_is_1(shop):
    gone = next((shop / "warehouse" / SHOP / "sales").glob("run_month=*/*"))
    gone.unlink()
    assert fsck(SHOP)[0] == 1
    shown = CliRunner().invoke(app, ["fsck", SHOP])
    assert shown.exit_code == 1
    assert "1 missing" in shown.stdout
    assert gone.name in shown.stdout


def test_a_retailer_that_there_is_not_is_a_clear_error(shop):
    done = CliRunner().invoke(app, ["fsck", "shp"])
    assert done.exit_code == 1
    assert "There is no retailer 'shp'" in done.stderr


def test_leftovers_are_harmless_and_repair_deletes_only_the_old_ones(shop):
    table = shop / "warehouse" / SHOP / "sales" / "run_month=2025-01"
    upload = shop / "deliveries" / SHOP / "files" / "sales" / f"{'a' * 64}.parquet"
    left = [table / "part-old.parquet", table / "part-young.parquet", upload]
    for path in left:
        path.write_bytes(b"half")
    for path in (left[0], left[2]):
        os.utime(path, (0, 0))
    code, document = fsck(SHOP)
    assert (code, kinds(document)) == (0, [("leftover", "sales"), ("leftover", "sales"), ("leftover", "deliveries")])
    code, document = fsck(SHOP, "--repair")
    assert (code, document["leftovers_deleted"]) == (0, 2)
    assert [path.exists() for path in left] == [False, True, False]
    assert kinds(fsck(SHOP, "--deep")[1]) == [("leftover", "sales")]


def accepted(shop: Path) -> Path:
    return next((shop / "deliveries" / SHOP / "files" / "sales").iterdir())


def test_a_lost_or_altered_delivery_is_found(shop):
    file = accepted(shop)
    content = file.read_bytes()
    file.write_bytes(bytes(reversed(content)))
    assert kinds(fsck(SHOP)[1]) == []
    assert kinds(fsck(SHOP, "--deep")[1]) == [("altered", "deliveries")]
    file.write_bytes(content + b"x")
    assert kinds(fsck(SHOP)[1]) == [("altered", "deliveries")]
    file.unlink()
    assert kinds(fsck(SHOP)[1]) == [("missing", "deliveries")]


def test_a_lost_or_altered_receipt_is_found_and_so_is_what_nobody_has_delivered(shop):
    folder = shop / "deliveries" / SHOP
    first, second = sorted((folder / "receipts" / FIRST.isoformat()).iterdir())
    content = first.read_bytes()
    first.unlink()
    assert ("missing", "deliveries") in kinds(fsck(SHOP)[1])
    first.write_bytes(content)
    assert kinds(fsck(SHOP)[1]) == []
    second.write_text("{}")
    (folder / "notes.txt").write_text("by hand")
    assert {kind for kind, _ in kinds(fsck(SHOP)[1])} == {"altered", "leftover", "surplus"}


def test_an_upload_that_waits_for_its_completion_is_no_finding_and_is_not_deleted(shop, settings):
    deliver(settings, 3.0)
    assert kinds(fsck(SHOP, "--deep")[1]) == []
    far = dt.datetime.now(dt.UTC) + dt.timedelta(days=400)
    assert delivered.remove_leftovers(settings.deliveries_url, SHOP, now=far) == 0
    assert deliveries.complete(settings.deliveries_url, SHOP, FIRST, "daily", NOW).sequence == 3
    assert kinds(fsck(SHOP, "--deep")[1]) == []


def test_the_step_fails_with_the_files_and_what_to_do(settings, tmp_path):
    warehouse = Warehouse.from_settings(settings)
    warehouse.write("simulated", SALES, row(SALES, location_id="s1", product_id="a"), run_day=FIRST)
    call = Call(step="fsck", retailer="simulated", day=FIRST)
    assert execute(call, settings).facts["findings"] == 0
    [file] = (settings.home / "warehouse" / "simulated" / "sales").glob("run_month=*/*")
    file.unlink()
    with pytest.raises(StepError, match=rf"{file.name} is missing") as raised:
        execute(call, settings)
    assert "marketday fsck simulated" in raised.value.hint


def test_all_of_maintenance_is_carried_out_as_steps(settings):
    warehouse = Warehouse.from_settings(settings)
    for day in range(12):
        sold = row(SALES, location_id="s1", product_id="a", units=float(day))
        warehouse.write("simulated", SALES, sold, run_day=FIRST - dt.timedelta(days=day))
    before = warehouse.scan("simulated", SALES).collect().sort("run_day")
    facts = {}
    for name in ("fsck", "compact", "checkpoint", "vacuum"):
        assert steps.get(name).upkeep
        facts[name] = execute(Call(step=name, retailer="simulated", day=dt.date(2025, 3, 2)), settings).facts
    assert facts["compact"]["compacted"]["sales"] == {"before": 12, "after": 1, "left": []}
    assert facts["checkpoint"]["checkpoints"] == {"sales": warehouse.version("simulated", SALES)}
    assert facts["vacuum"] == {"deleted": {}}
    assert warehouse.scan("simulated", SALES).collect().sort("run_day").equals(before)
