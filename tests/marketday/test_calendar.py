import datetime as dt

import polars as pl

from marketday.features.calendar import day_columns, locate_events

FIRST = dt.date(2026, 1, 1)


def events(*rows):
    return pl.DataFrame(rows, schema=["location_id", "day", "name", "kind"], orient="row")


def main_events(found, location):
    return [found.names[code] if code >= 0 else None for code in found.main[location]]


def test_a_day_has_its_iso_weekday_and_week():
    row = day_columns([dt.date(2027, 1, 3)]).row(0, named=True)
    assert (row["weekday"], row["week"], row["month"], row["day_of_month"]) == (7, 53, 1, 3)


def test_an_event_for_all_is_everywhere_and_a_locations_own_only_there():
    given = events(("*", FIRST, "New year", "national"), ("b", dt.date(2026, 1, 3), "Fair", "local"))
    found = locate_events(given, ["a", "b"], FIRST, 3)
    assert main_events(found, 0) == ["New year", None, None]
    assert main_events(found, 1) == ["New year", None, "Fair"]


def test_of_several_events_the_kind_decides_then_the_nearer_then_the_name():
    given = events(
        ("a", FIRST, "Match", "sporting"),
        ("*", FIRST, "Closing", "closed"),
        ("*", dt.date(2026, 1, 2), "All", "local"),
        ("a", dt.date(2026, 1, 2), "Own", "local"),
        ("*", dt.date(2026, 1, 3), "B", "cultural"),
        ("*", dt.date(2026, 1, 3), "A", "cultural"),
    )
    assert main_events(locate_events(given, ["a"], FIRST, 3), 0) == ["Closing", "Own", "A"]


def test_a_payday_is_a_flag_and_no_event():
    found = locate_events(events(("b", FIRST, "Wages", "payday")), ["a", "b"], FIRST, 2)
    assert found.payday.tolist() == [[0.0, 0.0], [1.0, 0.0]]
    assert (found.main == -1).all()


def test_days_off_the_axis_are_left_out():
    given = events(("*", dt.date(2025, 12, 31), "Before", "national"), ("*", dt.date(2026, 1, 3), "After", "national"))
    assert (locate_events(given, ["a"], FIRST, 2).main == -1).all()
