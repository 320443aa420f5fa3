"""A small retailer's mornings: rows that were refused come in by themselves once what they refer to is there."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from kiosk import DEFINITION, SHOP, Kiosk, day, product, sale

from marketday.calls import Call
from marketday.settings import Settings
from marketday.steps.execution import execute
from marketday.tables import EVENTS, OUTCOMES, PRODUCTS, QUARANTINE, REPLAYS, RUNS, SALES
from marketday.warehouse import as_known


@pytest.fixture(scope="module")
def two_mornings(tmp_path_factory) -> Path:
    """On the first day a product is sold that nobody has heard of; on the second nothing of it comes."""
    home = tmp_path_factory.mktemp("kiosk")
    kiosk = Kiosk(Settings(home=home, retailers=home / "retailers"))
    kiosk.morning(
        1,
        products=[product("milk"), product("salad", "weight")],
        locations=[{"location_id": "north", "region": "hills"}],
        sales=[sale("milk", 1), sale("pear", 1, 5.0)],
    )
    kiosk.morning(2, sales=[sale("milk", 2)])
    return home


@pytest.fixture
def waiting(two_mornings: Path, tmp_path: Path, monkeypatch) -> Kiosk:
    """Return a kiosk of the test's own after those two mornings."""
    home = tmp_path / "var"
    shutil.copytree(two_mornings, home)
    monkeypatch.setenv("MARKETDAY_HOME", str(home))
    monkeypatch.setenv("MARKETDAY_RETAILERS", str(home / "retailers"))
    return Kiosk(Settings())


def test_a_sale_comes_in_by_itself_on_the_day_on_which_its_product_arrives(waiting):
    refused = waiting.scan(QUARANTINE)
    assert refused.select("reason", "run_day").rows() == [("unknown_product", day(1))]
    assert waiting.scan(REPLAYS).is_empty()
    third = waiting.morning(3, products=[product("pear")], sales=[sale("milk", 3), sale("pear", 3)])
    assert third["replay"].facts["due"] == {"sales": 1}
    assert third["clean"].facts["replayed"] == {"admitted": 1}
    assert third["clean"].facts["accepted"]["sales"] == 2, "what was replayed is no row of the delivery"
    assert ("pear", 5.0, day(3)) in waiting.sold()
    assert waiting.scan(SALES).filter(product_id="pear")["day"].to_list() == [day(0), day(2)]
    assert waiting.states() == {"pear": ("admitted", day(3))}
    assert waiting.scan(QUARANTINE).equals(refused), "nothing is taken out of quarantine"


def test_the_mornings_before_do_not_know_what_came_in_later(waiting):
    waiting.morning(3, products=[product("pear")], sales=[sale("milk", 3)])
    rows = waiting.warehouse.scan(SHOP, SALES)
    assert as_known(rows, SALES, day(2)).filter(product_id="pear").collect().is_empty()
    assert as_known(rows, SALES, day(3)).filter(product_id="pear").collect().height == 1


def test_it_comes_in_once_and_the_next_mornings_leave_it_alone(waiting):
    waiting.morning(3, products=[product("pear")], sales=[sale("milk", 3)])
    fourth = waiting.morning(4, sales=[sale("milk", 4)])
    assert fourth["replay"].facts == {"due": {}, "superseded": {}, "left_over": 0}
    assert [row for row in waiting.sold() if row[0] == "pear"] == [("pear", 5.0, day(3))]


def test_a_second_run_of_the_same_morning_changes_nothing_also_days_later(waiting):
    waiting.deliver(3, products=[product("pear")], sales=[sale("milk", 3)])
    first = waiting.run(3)
    versions = {table: waiting.warehouse.version(SHOP, table) for table in (SALES, OUTCOMES, REPLAYS, QUARANTINE)}
    again = waiting.run(3)
    assert {name: result.hashes for name, result in again.items()} == {n: r.hashes for n, r in first.items()}
    assert versions == {table: waiting.warehouse.version(SHOP, table) for table in versions}
    waiting.morning(4, sales=[sale("milk", 4)])
    later = waiting.run(3)
    assert {name: (r.hashes, r.facts) for name, r in later.items()} == {
        n: (r.hashes, r.facts) for n, r in first.items()
    }


def test_a_past_morning_reads_the_snapshots_that_it_read_whatever_was_decided_since(waiting):
    waiting.deliver(3, products=[product("pear")], sales=[sale("milk", 3)])
    first = waiting.run(3, "ingest", "replay")["replay"]
    read = json.loads(waiting.scan(RUNS).filter(block="replay", run_day=day(3))["inputs"].item())
    waiting.command("discard", SHOP, "2026-03-02/sales/1", "--reason", "test till", "--from", day(3))
    past = Call(step="replay", retailer=SHOP, day=day(3), inputs=read)
    assert execute(past, waiting.settings).hashes == first.hashes
    assert waiting.run(3)["replay"].facts["due"] == {}, "while today's run heeds what was decided"


def test_while_the_gate_stops_a_morning_its_rows_stay_open_and_are_tried_on_the_next(waiting):
    waiting.deliver(3, products=[product("pear")], sales=[sale("milk", 3)])
    waiting.run(3, "ingest", "replay", "clean")
    assert waiting.states()["pear"] == ("open", day(1))
    waiting.morning(4, products=[product("pear")], sales=[sale("milk", 4)])
    assert waiting.states()["pear"] == ("admitted", day(4))


def test_a_chain_of_master_data_comes_in_on_one_morning(waiting):
    waiting.morning(3, products=[product("fig", supplier_id="farm")], sales=[sale("fig", 3)])
    assert waiting.scan(QUARANTINE).filter(run_day=day(3))["reason"].to_list() == [
        "unknown_supplier",
        "unknown_product",
    ]
    supplier = {"supplier_id": "farm", "name": "Farm"}
    fourth = waiting.morning(4, suppliers=[supplier], sales=[sale("fig", 4)])
    assert fourth["replay"].facts["due"] == {"products": 1, "sales": 1}
    assert [row for row in waiting.sold() if row[0] == "fig"] == [("fig", 2.0, day(4)), ("fig", 2.0, day(4))]
    assert waiting.scan(PRODUCTS).filter(product_id="fig")["run_day"].to_list() == [day(4)]


def test_what_was_delivered_properly_meanwhile_supersedes_what_was_refused(waiting):
    waiting.morning(3, products=[product("pear")], sales=[sale("milk", 3), sale("pear", 1, 7.0)])
    assert [row for row in waiting.sold() if row[0] == "pear"] == [("pear", 7.0, day(3))]
    assert waiting.states()["pear"] == ("superseded", day(3))


def test_a_correction_of_a_wrong_value_settles_the_refused_row_without_anybody_asking(waiting):
    waiting.morning(3, sales=[sale("milk", 3, -4.0)])
    waiting.morning(4, sales=[sale("milk", 4), sale("milk", 3, 4.0)])
    assert waiting.states()["milk"] == ("open", day(3))
    fifth = waiting.morning(5, sales=[sale("milk", 5)])
    assert fifth["replay"].facts["superseded"] == {"sales": 1}
    assert waiting.states()["milk"] == ("superseded", day(5))


def test_of_a_key_that_was_refused_twice_the_newer_row_counts(waiting):
    waiting.morning(3, sales=[sale("milk", 3), sale("pear", 1, 6.0)])
    waiting.morning(4, products=[product("pear")], sales=[sale("milk", 4)])
    assert [row for row in waiting.sold() if row[0] == "pear"] == [("pear", 6.0, day(4))]
    outcomes = waiting.scan(OUTCOMES).select("delivery_day", "outcome").rows()
    assert outcomes == [(day(1), "superseded"), (day(3), "admitted")]


def test_what_is_discarded_stays_out_until_it_is_taken_back(waiting):
    waiting.command("discard", SHOP, "2026-03-02/sales/1", "--reason", "test till", "--from", day(2))
    waiting.morning(3, products=[product("pear")], sales=[sale("milk", 3)])
    assert waiting.states()["pear"] == ("discarded", day(2))
    waiting.command("replay", SHOP, "2026-03-02/sales/1", "--from", day(4))
    waiting.morning(4, sales=[sale("milk", 4)])
    assert waiting.states()["pear"] == ("admitted", day(4))


def test_a_row_that_is_asked_for_is_judged_by_todays_rules(waiting):
    waiting.morning(3, sales=[sale("milk", 3, 0.5)])
    waiting.define(DEFINITION + "checks: {severity: {fractional_pieces: warn}}\n")
    waiting.morning(4, sales=[sale("milk", 4)])
    assert waiting.states()["milk"] == ("open", day(3)), "it waits for nothing, so nobody tries it unasked"
    waiting.command("replay", SHOP, "--rule", "fractional_pieces", "--because", "sold by the half", "--from", day(5))
    waiting.morning(5, sales=[sale("milk", 5)])
    assert waiting.states()["milk"] == ("admitted", day(5))
    assert ("milk", 0.5, day(5)) in waiting.sold()


def test_a_row_that_fails_again_stays_open_is_not_quarantined_twice_and_not_tried_every_day(waiting):
    waiting.morning(3, sales=[sale("milk", 3, -4.0)])
    waiting.command("replay", SHOP, "--rule", "negative_sales", "--from", day(4))
    fourth = waiting.morning(4, sales=[sale("milk", 4)])
    assert fourth["clean"].facts["replayed"] == {"refused": 1}
    fifth, sixth = (waiting.morning(number, sales=[sale("milk", number)]) for number in (5, 6))
    assert fifth["clean"].facts["replayed"] == {"refused": 1}, "perhaps it was asked for after the fourth"
    assert sixth["replay"].facts["due"] == {}
    assert waiting.states()["milk"] == ("open", day(3))
    assert waiting.scan(QUARANTINE).filter(reason="negative_sales").height == 1
    assert f"open since {day(3)}, tried again on {day(5)}" in waiting.command("explain", SHOP, "2026-03-04/sales/0")


def test_a_row_that_was_tried_today_and_is_asked_for_after_that_is_tried_tomorrow(waiting):
    waiting.morning(3, sales=[sale("milk", 3, 0.5)])
    waiting.command("replay", SHOP, "--rule", "fractional_pieces", "--from", day(4))
    waiting.morning(4, sales=[sale("milk", 4)])
    waiting.define(DEFINITION + "checks: {severity: {fractional_pieces: warn}}\n")
    waiting.command("replay", SHOP, "--rule", "fractional_pieces", "--from", day(4))
    waiting.morning(5, sales=[sale("milk", 5)])
    assert waiting.states()["milk"] == ("admitted", day(5))


def test_how_a_number_was_written_is_still_known_when_it_is_judged_again(waiting):
    waiting.define(DEFINITION + "checks: {severity: {decimal_comma: refuse}}\n")
    waiting.morning(3, sales=[{**sale("salad", 3), "units": "1,5"}])
    waiting.command("replay", SHOP, "--rule", "decimal_comma", "--from", day(4))
    waiting.morning(4, sales=[sale("milk", 4)])
    assert waiting.states()["salad"] == ("open", day(3))
    waiting.define(DEFINITION)
    waiting.command("replay", SHOP, "--rule", "decimal_comma", "--from", day(5))
    waiting.morning(5, sales=[sale("milk", 5)])
    assert ("salad", 1.5, day(5)) in waiting.sold()


def test_after_the_look_back_a_row_comes_in_only_if_somebody_asks(waiting):
    seventh = waiting.morning(7, products=[product("pear")], sales=[sale("milk", 7)])
    assert seventh["replay"].facts["due"] == {}
    waiting.command("replay", SHOP, "--from", day(8))
    waiting.morning(8, sales=[sale("milk", 8)])
    assert waiting.states()["pear"] == ("admitted", day(8)), "also though its day is too old for a new delivery"


def test_a_row_is_never_admitted_for_a_day_that_its_own_delivery_could_not_bring(waiting):
    waiting.morning(3, sales=[sale("milk", 3), sale("kiwi", -9)])
    waiting.morning(4, products=[product("kiwi")], sales=[sale("milk", 4)])
    [outcome] = waiting.scan(OUTCOMES).iter_rows(named=True)
    assert (outcome["outcome"], outcome["reason"]) == ("refused", "wrong_day")


def test_a_late_event_does_not_withdraw_the_plan(waiting):
    def event(of: int, location: str = "north") -> dict[str, Any]:
        return {"location_id": location, "day": day(of), "name": "Fair", "kind": "local"}

    plan = [event(4, "south"), event(3, "south"), event(5), event(6)]
    waiting.morning(3, events=plan, sales=[sale("milk", 3)])
    south = [{"location_id": "south", "region": "hills"}]
    waiting.morning(4, locations=south, sales=[sale("milk", 4)])
    known = as_known(waiting.warehouse.scan(SHOP, EVENTS), EVENTS, day(4)).collect().sort("day", "location_id")
    assert known.select("location_id", "day").rows() == [("south", day(3)), ("north", day(5)), ("north", day(6))]


def test_a_morning_without_a_delivery_leaves_them_for_the_next_one(waiting):
    waiting.command("replay", SHOP, "--from", day(3))
    third = waiting.run(3)
    assert third["replay"].facts["due"] == {}
    assert third["clean"].facts["accepted"]["sales"] == 0
    assert waiting.states()["pear"] == ("open", day(1))
    waiting.morning(4, products=[product("pear")], sales=[sale("milk", 4)])
    assert waiting.states()["pear"] == ("admitted", day(4))
