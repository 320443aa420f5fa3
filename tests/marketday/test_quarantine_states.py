"""Every refused row is in exactly one state: compared with a slow oracle that follows one row at a time."""

import datetime as dt
from collections import Counter

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from marketday.quarantine.decisions import decide
from marketday.quarantine.states import REFUSED_ROW, STATES, as_of, states
from marketday.tables import DECISIONS, OUTCOMES, QUARANTINE
from marketday.warehouse import empty

FIRST = dt.date(2026, 3, 2)
NOON = dt.datetime(2026, 3, 2, 12, tzinfo=dt.UTC)

days = st.integers(0, 5).map(lambda n: FIRST + dt.timedelta(days=n))
names = st.tuples(days, st.sampled_from(["sales", "stock"]), st.integers(0, 2), st.sampled_from(['{"a":1}', '{"a":2}']))
quarantines = st.lists(names, unique_by=lambda name: name[:3], max_size=12)
decisions = st.lists(st.tuples(names, days, st.sampled_from(["replay", "discard"])), max_size=12)
outcomes = st.lists(
    st.tuples(names, days, st.sampled_from(["admitted", "superseded", "refused"])),
    unique_by=lambda each: (each[0][:3], each[1]),
    max_size=12,
)


def tables(refused, decided, came_to) -> tuple[pl.LazyFrame, pl.LazyFrame, pl.LazyFrame]:
    quarantine = pl.DataFrame(
        [(table, row, "missing", "units is missing", content, day) for day, table, row, content in refused],
        schema=empty(QUARANTINE).schema,
        orient="row",
    )
    made = [
        decide(
            pl.DataFrame([name], schema=REFUSED_ROW, orient="row"),
            decision,
            why=f"no. {number}",
            by="eve",
            at=NOON + dt.timedelta(minutes=number),
        ).with_columns(run_day=pl.lit(day))
        for number, (name, day, decision) in enumerate(decided)
    ]
    outcome = pl.DataFrame(
        [
            (*name, result, *(("malformed", "again") if result == "refused" else ("", "")), "load", day)
            for name, day, result in came_to
        ],
        schema=empty(OUTCOMES).schema,
        orient="row",
    )
    schema = empty(DECISIONS).schema
    return quarantine.lazy(), pl.concat([empty(DECISIONS), *(one.cast(schema) for one in made)]).lazy(), outcome.lazy()


def one_by_one(refused, decided, came_to) -> list[tuple]:
    """Follow every refused row through all that happened to it."""
    rows = []
    for name in refused:
        said = [(day, what) for other, day, what in decided if other == name]
        tried = [day for other, day, result in came_to if other == name and result == "refused"]
        state, since, asked = "open", name[0], False
        if said:
            day, what = said[-1]
            if what == "discard":
                state, since = "discarded", day
            else:
                asked = all(trial <= day for trial in tried)
        for result in ("superseded", "admitted"):
            settled = [day for other, day, came in came_to if other == name and came == result]
            if settled:
                state, since, asked = result, min(settled), False
        reason = "malformed" if tried else "missing"
        rows.append((*name, reason, state, since, max(tried, default=None), asked))
    return sorted(rows, key=str)


@settings(deadline=None)
@given(quarantines, decisions, outcomes)
def test_every_refused_row_is_in_one_state_and_none_is_lost_or_counted_twice(refused, decided, came_to):
    found = states(*tables(refused, decided, came_to)).collect()
    columns = found.select(*REFUSED_ROW, "reason", "state", "since", "tried", "asked")
    assert sorted(columns.rows(), key=str) == one_by_one(refused, decided, came_to)
    assert set(found["state"]) <= set(STATES)
    assert sum(Counter(found["state"]).values()) == len(refused)


@settings(deadline=None)
@given(quarantines, decisions, outcomes, days)
def test_a_morning_starts_from_the_same_whatever_came_after_it(refused, decided, came_to, day):
    def start(*given):
        quarantine, decision, outcome = tables(*given)
        before = as_of(day, quarantine), as_of(day, decision, decided=True), as_of(day, outcome)
        return states(*before).collect().drop("at", "why").sort(REFUSED_ROW)

    past = (
        [name for name in refused if name[0] < day],
        [each for each in decided if each[1] <= day],
        [each for each in came_to if each[1] < day],
    )
    assert start(refused, decided, came_to).equals(start(*past))


def test_a_corrected_delivery_numbers_its_rows_anew_so_that_what_was_decided_does_not_hold_for_them():
    before, after = (FIRST, "sales", 3, '{"a":1}'), (FIRST, "sales", 3, '{"a":2}')
    decided = [(before, FIRST, "discard")]
    assert states(*tables([before], decided, [])).collect()["state"].item() == "discarded"
    assert states(*tables([after], decided, [])).collect()["state"].item() == "open"


def test_a_discarded_row_is_taken_back_by_a_later_replay():
    row = (FIRST, "sales", 3, "{}")
    found = states(*tables([row], [(row, FIRST, "discard"), (row, FIRST, "replay")], [])).collect()
    assert found.select("state", "asked", "by", "why").row(0) == ("open", True, "eve", "no. 1")


def test_a_later_decision_takes_the_place_of_one_that_begins_later():
    row = (FIRST, "sales", 3, "{}")
    decided = [(row, FIRST + dt.timedelta(days=16), "discard"), (row, FIRST + dt.timedelta(days=1), "replay")]
    found = states(*tables([row], decided, [])).collect()
    assert found.select("state", "asked", "why").row(0) == ("open", True, "no. 1")
