"""`marketday quarantine`: what support sees of refused rows, and what is recorded of what they decide."""

import datetime as dt
import json

import polars as pl
import pytest
from typer.testing import CliRunner

from marketday import cli
from marketday.cli.quarantine import CONFIRM_ABOVE
from marketday.tables import DECISIONS, OUTCOMES, PRODUCTS, QUARANTINE, RUNS, SALES
from marketday.warehouse import Warehouse, empty

NAME = "simulated"
MONDAY, TUESDAY = dt.date(2025, 3, 3), dt.date(2025, 3, 4)


def row(number: int, product: str = "pears", reason: str = "unknown_product", table: str = "sales") -> dict:
    content = {"location_id": "S01", "product_id": product, "day": "2025-03-02", "units": 3.0}
    message = f"product_id '{product}' is not among the products, delivered or known"
    return {"table": table, "row": number, "reason": reason, "message": message, "content": json.dumps(content)}


def ran(warehouse: Warehouse, day: dt.date) -> None:
    """Record a morning, the last one that was run."""
    known = {"step": "replay@1", "state": "successful", "started": dt.datetime.now(dt.UTC), "seconds": 1.0}
    others = {name: "replay" for name in RUNS.delivered_schema.names if name not in known}
    warehouse.write(NAME, RUNS, pl.DataFrame([known | others]), run_day=day, block="replay")


@pytest.fixture
def refused(warehouse: Warehouse) -> Warehouse:
    """Two mornings with refused rows: three sales of a product that nobody knows, a negative one, a stock."""
    monday = [row(0), row(4), row(7, "beans", "negative_sales"), row(1, table="stock")]
    monday[3]["content"] = json.dumps({"location_id": "S01", "product_id": "pears", "day": "2025-03-02"})
    warehouse.write(NAME, QUARANTINE, pl.DataFrame(monday), run_day=MONDAY)
    warehouse.write(NAME, QUARANTINE, pl.DataFrame([row(2)]), run_day=TUESDAY)
    ran(warehouse, TUESDAY)
    return warehouse


@pytest.fixture
def quarantine(refused):
    def run(*words: object, code: int = 0, answer: str | None = None) -> str:
        done = CliRunner().invoke(cli.app, ["quarantine", *map(str, words)], input=answer)
        assert done.exit_code == code, done.output
        return done.output

    return run


def decisions(warehouse: Warehouse) -> pl.DataFrame:
    return warehouse.scan(NAME, DECISIONS).sort("at", "delivery_day", "table", "row").collect()


def listed(quarantine, *words: object) -> list[str]:
    return [each["id"] for each in json.loads(quarantine("list", NAME, "--rows", "--json", *words))["shown"]]


def test_refused_rows_are_counted_by_table_rule_and_delivery(quarantine):
    shown = json.loads(quarantine("list", NAME, "--json"))
    counted = [(g["table"], g["reason"], g["delivery_day"], g["rows"], g["example_row"]) for g in shown["groups"]]
    assert counted == [
        ("sales", "negative_sales", "2025-03-03", 1, 7),
        ("sales", "unknown_product", "2025-03-03", 2, 0),
        ("sales", "unknown_product", "2025-03-04", 1, 2),
        ("stock", "unknown_product", "2025-03-03", 1, 1),
    ]
    text = quarantine("list", NAME)
    assert "5 refused rows of simulated" in text
    assert "row 0: product_id 'pears' is not among the products" in text


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--day", TUESDAY], ["2025-03-04/sales/2"]),
        (["--table", "stock"], ["2025-03-03/stock/1"]),
        (["--reason", "negative_sales"], ["2025-03-03/sales/7"]),
        (
            ["--rule", "unknown_product", "--day", MONDAY, "--table", "sales"],
            ["2025-03-03/sales/0", "2025-03-03/sales/4"],
        ),
        (["--limit", 2], ["2025-03-04/sales/2", "2025-03-03/sales/0"]),
    ],
)
def test_single_rows_are_listed_with_their_ids_the_newest_first(quarantine, words, expected):
    assert listed(quarantine, *words) == expected


def test_a_list_that_was_cut_says_so(quarantine):
    assert "2 of 5 refused rows" in quarantine("list", NAME, "--rows", "--limit", 2)


def test_a_word_that_is_no_table_or_rule_is_answered_with_those_that_are(quarantine):
    assert "suppliers, products, locations" in " ".join(quarantine("list", NAME, "--table", "sale", code=2).split())
    assert "unknown_product" in quarantine("list", NAME, "--rule", "unknown", code=2)


def test_where_nothing_was_refused_yet_nothing_is_listed(warehouse):
    assert "0 refused rows" in CliRunner().invoke(cli.app, ["quarantine", "list", NAME]).output


def test_a_row_that_waits_is_explained_with_near_names_its_key_elsewhere_and_what_to_do(quarantine, refused):
    products = [("P1", "Pears 1 kg", "pear"), ("pear", None, "fruit")]
    known = pl.DataFrame(
        [
            {"product_id": key, "name": name, "category": "food", "department": d, "unit": "pieces"}
            for key, name, d in products
        ],
        schema=empty(PRODUCTS).drop("run_day").schema,
    )
    refused.write(NAME, PRODUCTS, known, run_day=MONDAY)
    told = " ".join(quarantine("explain", NAME, "2025-03-03/sales/4").split())
    assert "2025-03-03/sales/4 of simulated: open since 2025-03-03" in told
    assert "Rule unknown_product: A product is neither delivered today nor known." in told
    assert "units: 3.0 pieces or weight" in told
    assert "product 'pears' is not known; near: pear" in told
    assert "2025-03-04: refused as 2025-03-04/sales/2" in told
    assert "2025-03-03: refused as 2025-03-03/sales/0" in told
    assert "Have the product 'pears' delivered in the table `products`." in told
    assert "tries it again by itself, up to that of 2025-03-31; after that, `marketday quarantine replay" in told


def test_a_row_that_has_waited_too_long_is_said_to_need_somebody_who_asks(quarantine, refused):
    ran(refused, dt.date(2025, 5, 1))
    told = " ".join(quarantine("explain", NAME, "2025-03-03/sales/0").split())
    assert "tried unasked until 2025-03-31. Once all that it refers to is known, `marketday quarantine replay" in told


def test_once_the_product_is_known_it_says_since_when(quarantine, refused):
    pears = {"product_id": "pears", "category": "food", "department": "fruit", "unit": "pieces"}
    rows = pl.DataFrame([pears], schema=empty(PRODUCTS).drop("run_day").schema)
    refused.write(NAME, PRODUCTS, rows, run_day=TUESDAY)
    told = quarantine("explain", NAME, "2025-03-03/sales/0")
    assert "product 'pears' is known since 2025-03-04" in told
    assert "delivered in the table `products`" not in told


def test_a_key_that_was_loaded_meanwhile_is_shown_with_its_values(quarantine, refused):
    sold = {"location_id": "S01", "product_id": "beans", "day": MONDAY - dt.timedelta(days=1), "units": 8.0}
    refused.write(NAME, SALES, pl.DataFrame([sold]), run_day=TUESDAY)
    told = quarantine("explain", NAME, "2025-03-03/sales/7")
    assert "2025-03-04: loaded, with units 8.0" in told
    assert "leave returned goods out" in told, "what the catalogue of checks advises"


def test_a_discarded_row_stays_where_it_is_marked_by_whom_when_and_why(quarantine, refused):
    before = refused.scan(NAME, QUARANTINE).collect()
    quarantine("discard", NAME, "2025-03-03/sales/7", "--reason", "test till", "--by", "eve")
    assert refused.scan(NAME, QUARANTINE).collect().equals(before)
    recorded = decisions(refused).row(0, named=True)
    assert (recorded["delivery_day"], recorded["table"], recorded["row"]) == (MONDAY, "sales", 7)
    assert (recorded["decision"], recorded["by"], recorded["why"]) == ("discard", "eve", "test till")
    assert recorded["run_day"] == TUESDAY, "the last day that was run"
    assert "2025-03-03/sales/7" not in listed(quarantine)
    assert "2025-03-03/sales/7" in listed(quarantine, "--all")
    told = quarantine("explain", NAME, "2025-03-03/sales/7")
    assert "discarded since 2025-03-04, by eve: test till" in told
    assert "takes it back" in told


def test_decisions_are_only_ever_added(quarantine, refused):
    quarantine("discard", NAME, "2025-03-03/sales/7", "--reason", "test till", "--by", "eve")
    first = decisions(refused)
    quarantine("replay", NAME, "2025-03-03/sales/7", "--because", "was no test", "--by", "bob")
    after = decisions(refused)
    assert after.head(1).equals(first)
    assert after["decision"].to_list() == ["discard", "replay"]
    assert after["block"].n_unique() == 2
    assert "2025-03-03/sales/7" in listed(quarantine)
    assert "bob asked for that" in quarantine("explain", NAME, "2025-03-03/sales/7")


def test_by_default_the_user_of_the_process_decides(quarantine, refused, monkeypatch):
    monkeypatch.setenv("LOGNAME", "carol")
    quarantine("replay", NAME, "--rule", "negative_sales")
    assert decisions(refused)["by"].to_list() == ["carol"]


def test_a_decision_holds_for_the_rows_that_were_filtered(quarantine, refused):
    told = quarantine("replay", NAME, "--table", "sales", "--rule", "unknown_product", "--day", MONDAY)
    assert "replay 2 rows" in told
    assert decisions(refused)["row"].to_list() == [0, 4]


def test_without_matching_rows_nothing_is_decided(quarantine, refused):
    assert "No refused row of simulated is like that" in quarantine(
        "discard", NAME, "2025-03-03/sales/99", "--reason", "x", code=1
    )
    quarantine("discard", NAME, "2025-03-03/sales/7", "--reason", "x")
    again = quarantine("discard", NAME, "2025-03-03/sales/7", "--reason", "x", code=1)
    assert "None of these rows of simulated is open: 1 discarded" in again
    assert decisions(refused).height == 1


def test_what_came_in_cannot_be_discarded_or_replayed(quarantine, refused):
    admitted = {"delivery_day": MONDAY, **row(0), "outcome": "admitted", "reason": "", "message": "", "block": "load"}
    refused.write(NAME, OUTCOMES, pl.DataFrame([admitted]), run_day=TUESDAY, block="load")
    for words in (["replay"], ["discard", "--reason", "x"]):
        told = quarantine(words[0], NAME, "2025-03-03/sales/0", *words[1:], code=1)
        assert "1 admitted" in told
    assert "Nothing: it was loaded on 2025-03-04." in quarantine("explain", NAME, "2025-03-03/sales/0")


def test_a_reason_is_more_than_blanks(quarantine):
    assert "say why" in quarantine("discard", NAME, "--reason", " ", code=2)


@pytest.mark.parametrize("wrong", ["sales/7", "2025-03-03/sale/7", "2025-03-03/sales/x", "03.03.2025/sales/7"])
def test_what_is_no_id_is_answered_with_what_one_looks_like(quarantine, wrong):
    told = " ".join(quarantine("explain", NAME, wrong, code=1).split())
    assert wrong in told
    assert "day/table/row" in told or "Use one of: suppliers" in told


def test_many_rows_are_asked_for_once_more_unless_told_not_to(quarantine, refused):
    many = pl.DataFrame([row(number) for number in range(CONFIRM_ABOVE + 1)])
    refused.write(NAME, QUARANTINE, many, run_day=dt.date(2025, 3, 5))
    about = ["replay", NAME, "--day", "2025-03-05"]
    assert f"Replay {CONFIRM_ABOVE + 1} rows of simulated?" in quarantine(*about, answer="n\n", code=1)
    assert decisions(refused).is_empty()
    quarantine(*about, answer="y\n")
    quarantine(*about, "--yes")
    assert decisions(refused)["block"].n_unique() == 2
