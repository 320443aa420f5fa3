"""The catalogue of checks: every rule that a delivery is judged by, its code, what breaks it and what to do then.

Rules about single rows come first, in the order in which a row is judged: the first one that refuses it is its reason.
Rules about whole tables are judged after them, by the gate `clean`, over what was accepted and what is known.

A rule that keeps a table's own promises (its types, keys and references) always holds: the tables could not store what
breaks it. All others can be left out or given another severity per retailer, in the section `checks` of its definition.

Nothing heavy is imported here: definitions of retailers are read where DAGs are parsed.
"""

import difflib
from typing import Literal, NamedTuple

from marketday.errors import listed

Severity = Literal["refuse", "warn", "fail"]
"""refuse: the row goes to quarantine; warn: it is kept, and reported; fail: the gate stops the morning."""

LEFT_OUT = "left out"


class Check(NamedTuple):
    """One rule of the catalogue."""

    code: str
    says: str
    """What breaks it, in a sentence."""
    advice: str
    """What to do about it."""
    severity: Severity
    """Unless the retailer's definition says otherwise."""
    tables: tuple[str, ...] = ()
    """Delivered tables that it looks at; none: all of them."""
    other: Severity | None = None
    """The severity that a definition may give it instead; it may be left out too. None: it always holds."""
    of: Literal["rows", "tables"] = "rows"


_FACTS = ("sales", "stock", "prices", "promotions", "weather", "events")
_CORRECT = "Deliver the rows again, corrected."

ROW_CHECKS = (
    Check(
        "unreadable",
        "A value cannot be read as its column's type; `1,500` cannot either, since it may be 1.5 or 1500.",
        "Write days as 2026-03-02 and numbers with a decimal point and without separators of thousands.",
        "refuse",
    ),
    Check("missing", "A column that must be given is empty.", _CORRECT, "refuse"),
    Check(
        "wrong_encoding",
        "An identifier or a group was written in one encoding and read in another, such as `MÃ¼nchen` or `M�nchen`.",
        "Export as UTF-8, and see that nothing on the way converts it once more.",
        "refuse",
        ("suppliers", "products", "locations", *_FACTS, "offers"),
        other="warn",
    ),
    Check(
        "negative_sales",
        "The units sold are negative, as where returns are booked as sales.",
        "Deliver what was sold; leave returned goods out, or they hide demand on the day on which they come back.",
        "refuse",
        ("sales",),
    ),
    Check(
        "zero_price",
        "The price is 0, as where a system has no price or gives one away.",
        "Leave the row out where nothing changed; a product that is not sold has no price row.",
        "refuse",
        ("prices",),
    ),
    Check(
        "out_of_range",
        "A number is below the least or above the most that its column allows, or is not finite.",
        _CORRECT,
        "refuse",
    ),
    Check("not_allowed", "A value is not among those that its column allows.", _CORRECT, "refuse"),
    Check("malformed", "A text is not written in its column's pattern.", _CORRECT, "refuse"),
    Check(
        "unknown_supplier",
        "A supplier is neither delivered today nor known.",
        "Deliver the supplier.",
        "refuse",
        ("products", "offers"),
    ),
    Check(
        "unknown_location",
        "A location is neither delivered today nor known.",
        "Deliver the location; rows that wait for it come in by themselves on the next morning.",
        "refuse",
        _FACTS,
    ),
    Check(
        "unknown_product",
        "A product is neither delivered today nor known.",
        "Deliver the product; rows that wait for it come in by themselves on the next morning.",
        "refuse",
        ("sales", "stock", "prices", "promotions", "offers"),
    ),
    Check(
        "time_zone",
        "Something observed is dated the business day itself, which had not begun: the clock that dates it runs ahead.",
        "Date sales and stock in the retailer's own time zone, not in UTC or that of the system.",
        "refuse",
        ("sales", "stock"),
    ),
    Check(
        "wrong_day",
        "Something observed is of a later day, or of one that is too old for a delivery to change (`late_days`).",
        "Look at what dates the rows. For older days raise `late_days`, or deliver a history.",
        "refuse",
        ("sales", "stock"),
    ),
    Check(
        "fractional_pieces",
        "The units of a product that is sold in pieces are not whole.",
        "Correct the units, or deliver the product with the unit `weight`.",
        "refuse",
        ("sales",),
        other="warn",
    ),
    Check(
        "units_scale",
        "The units are far above all that the product usually sells in the location, and 100 or 1000 times too many"
        " explain them.",
        "See whether units of another size were counted (grams, single pieces); deliver the rows again, corrected.",
        "refuse",
        ("sales",),
        other="warn",
    ),
    Check(
        "price_scale",
        "The price is about 100 times, or a hundredth of, what the product has cost so far: cents for euros.",
        "Deliver prices in the main unit of the currency.",
        "refuse",
        ("prices",),
        other="warn",
    ),
    Check(
        "closed_store",
        "Units were sold in a location on a day on which an event says that it was closed.",
        "Correct the day of the sales, or deliver the event again with the right day or kind.",
        "refuse",
        ("sales",),
        other="warn",
    ),
    Check(
        "before_launch",
        "Units of a product were sold before its first day on sale.",
        "Correct the product's `launched`, or the sales.",
        "refuse",
        ("sales",),
        other="warn",
    ),
    Check(
        "after_delisting",
        "Units of a product were sold after its last day on sale, as where a remainder is sold off.",
        "If it is still on sale, correct the product's `delisted`: nothing is forecast after it.",
        "warn",
        ("sales",),
        other="refuse",
    ),
    Check(
        "decimal_comma",
        "A number is written with a decimal comma, such as `1,5`; it was read as 1.5.",
        "Write numbers with a decimal point: `1,500` cannot be told from 1500 and is refused.",
        "warn",
        ("sales", "stock", "prices", "promotions", "offers", "weather"),
        other="refuse",
    ),
    Check(
        "garbled_name",
        "A name for people was written in one encoding and read in another, such as `MÃ¼sli`.",
        "Export as UTF-8, and see that nothing on the way converts it once more.",
        "warn",
        ("suppliers", "products", "locations"),
        other="refuse",
    ),
    Check(
        "duplicate_key",
        "Rows of the same key say different things; all of them are refused. Rows that agree count once.",
        "Deliver one row per key: sum up what was sold twice, or leave out the older figure.",
        "refuse",
    ),
)

TABLE_CHECKS = (
    Check(
        "refused_share",
        "Many of a table's rows were refused (`gates.refused_share`).",
        "Read the reasons in the table `quarantine`.",
        "fail",
        other="warn",
        of="tables",
    ),
    Check(
        "no_sales",
        "The delivery brings no sales, or there is none.",
        "The run goes on in degraded mode. Clear it from `ingest` on once the sales are delivered.",
        "warn",
        ("sales",),
        of="tables",
    ),
    Check(
        "truncated",
        "A table ends early: it has exactly as many rows as some tool writes at most, or breaks off within a location,"
        " and the last locations in key order are missing.",
        "Export the table again without a limit of rows, or in parts.",
        "fail",
        ("sales", "stock"),
        other="warn",
        of="tables",
    ),
    Check(
        "volume",
        "The units sold are a small part or a multiple of the same weekdays' mean (`gates.volume_low`, `volume_high`):"
        " in total, in a third of the locations, or, which only warns, in any.",
        "Look for a wrong unit, doubled or missing rows, an unannounced closing day.",
        "fail",
        ("sales",),
        other="warn",
        of="tables",
    ),
    Check(
        "missing_locations",
        "Locations that reported a week before report no sales: a third of them stop the morning, fewer only warn.",
        "Find out what did not arrive. If they were closed, deliver an event `closed`.",
        "fail",
        ("sales",),
        other="warn",
        of="tables",
    ),
    Check(
        "day_repeated",
        "A day has, in most locations, exactly the sales of an earlier day: an old day was sent under a new date.",
        "Export the day again, and look at what gives the export its date.",
        "fail",
        ("sales",),
        other="warn",
        of="tables",
    ),
    Check(
        "nothing_new",
        "All delivered days are known already and say the same: an old delivery was sent again.",
        "The run goes on in degraded mode. Clear it from `ingest` on once the new sales are delivered.",
        "warn",
        ("sales",),
        other="fail",
        of="tables",
    ),
    Check(
        "days_shifted",
        "The last week fits the usual weekdays much better when it is moved by a day, in all locations together.",
        "Look at what dates the sales: a business day that begins at midnight in another time zone, a day of loading.",
        "warn",
        ("sales",),
        other="fail",
        of="tables",
    ),
    Check(
        "no_history",
        "There are no earlier same weekdays to compare the volumes with.",
        "Look at the volumes yourself: they could not be judged. A new retailer has no history yet.",
        "warn",
        ("sales",),
        other="fail",
        of="tables",
    ),
    Check(
        "price_level",
        "The median price of a location changed by more than a factor of 3.",
        "Look for a changed currency or decimal point in the prices of these locations.",
        "warn",
        ("prices",),
        other="fail",
        of="tables",
    ),
)

CHECKS: dict[str, Check] = {check.code: check for check in (*ROW_CHECKS, *TABLE_CHECKS)}
SWITCHABLE: tuple[str, ...] = tuple(code for code, check in CHECKS.items() if check.other)
"""Codes that a retailer's definition may leave out or give another severity."""


def misused(code: str, wanted: str) -> str:
    """Return what is wrong with giving the check the severity ``wanted``, or leaving it out; empty if nothing."""
    if code not in CHECKS:
        near = difflib.get_close_matches(code, CHECKS, n=1)
        meant = f"; did you mean `{near[0]}`?" if near else "."
        return f"there is no check `{code}`{meant} Allowed: {listed(SWITCHABLE, most=len(SWITCHABLE))}"
    check = CHECKS[code]
    if not check.other:
        return f"`{code}` always holds. Others may be changed: {listed(SWITCHABLE, most=len(SWITCHABLE))}"
    allowed = (check.severity, check.other, LEFT_OUT)
    return "" if wanted in allowed else f"`{code}` can be {', '.join(allowed)}, not {wanted}"
