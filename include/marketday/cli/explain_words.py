"""What `marketday explain` says, on the screen and on its page: tables, sentences, and what moved a forecast."""

import datetime as dt
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from marketday.errors import listed

if TYPE_CHECKING:
    import polars as pl

    from marketday.explanations import Since, Step

_MOST = 4
"""Days that a sentence lists one by one."""
_MATTERS = 0.01
"""Share of the forecast by which a cause must have moved it to be named."""
_UNITS = {"pieces": "pieces", "weight": "units"}
_INPUTS = {
    "price": ("price",),
    "promotion": ("promotion",),
    "weather": ("temperature", "precipitation"),
    "season": ("event", "event_tomorrow", "payday"),
}
"""Planned inputs by the group of features that they are of."""
_CAUSES = {
    "recent_demand": "recent sales",
    "weekday": "how the weekdays sold lately",
    "season": "events, paydays and the season",
    "price": "the price",
    "promotion": "promotions",
    "weather": "the weather",
    "place_product": "what holds for the product and the place",
    "other": "that the days are nearer, and the rest",
    "bias": "the correction of recent bias",
}


class Explained(NamedTuple):
    """All that is known of the forecast of one series."""

    heading: str
    unit: str
    rows: "pl.DataFrame"
    """Explained forecasts with their quantiles, from horizon 1 on."""
    target: dict[str, Any]
    """The row that is explained step by step."""
    orders: list[str]
    changes: "pl.DataFrame | None"
    """See :func:`marketday.explanations.changes`; None: there is nothing to compare with."""
    compared_with: str
    moved: list[str]


def units_of(unit: str) -> str:
    """Return the word for units of a product that is counted by ``unit``."""
    return _UNITS[unit]


def number(value: float) -> str:
    """Write units: whole ones without digits, others with as many as matter."""
    if float(value).is_integer():
        return f"{value:,.0f}"
    return f"{value:,.1f}" if abs(value) >= 10 else f"{value:.2f}"


def day_name(day: dt.date) -> str:
    """Write a day for people."""
    return f"{day:%a} {day.day} {day:%b}"


def question(found: Explained) -> str:
    """Return what the steps answer."""
    return f"Why {number(found.target['mean'])} {found.unit} on {day_name(found.target['day'])}?"


def likely(found: Explained) -> str:
    """Say how far the target day's demand may lie from the forecast."""
    row = found.target
    return (
        f"On half of such days, demand is between {number(row['q250'])} and {number(row['q750'])} {found.unit}; "
        f"on 95 of 100, between {number(row['q025'])} and {number(row['q975'])}."
    )


def factor_names(rows: "pl.DataFrame") -> list[str]:
    """Return the factors that matter on any day of explained rows."""
    from marketday.explanations import FACTORS, NO_MATTER

    return [name for name in FACTORS if (rows[name] - 1.0).abs().max() >= NO_MATTER]  # type: ignore[operator]


def day_rows(found: Explained) -> tuple[list[str], list[list[str]]]:
    """Return headings and cells of the table of all days: base x factors = mean, and intervals."""
    from marketday.explanations import LABELS

    names = factor_names(found.rows)
    headings = ["day", LABELS["base"], *(LABELS[name] for name in names), "forecast", "median", "50 %", "95 %"]
    cells = [
        [
            day_name(row["day"]),
            number(row["base"]),
            *(f"x {row[name]:.2f}" for name in names),
            number(row["mean"]),
            number(row["q500"]),
            f"{number(row['q250'])} to {number(row['q750'])}",
            f"{number(row['q025'])} to {number(row['q975'])}",
        ]
        for row in found.rows.iter_rows(named=True)
    ]
    return headings, cells


def change_rows(changes: "pl.DataFrame") -> tuple[list[str], list[list[str]]]:
    """Return headings and cells of the table of changes: before, by what it moved, now."""
    from marketday.explanations import FACTORS, LABELS, NO_MATTER

    least = NO_MATTER * changes["after"].mean()  # type: ignore[operator]
    names = [name for name in ("base", *FACTORS) if changes[name].abs().max() >= least]  # type: ignore[operator]
    headings = ["day", "before", *(LABELS[name] for name in names), "now"]
    cells = [
        [day_name(row["day"]), number(row["before"]), *(f"{row[name]:+.2f}" for name in names), number(row["after"])]
        for row in changes.iter_rows(named=True)
    ]
    return headings, cells


def steps_of(found: Explained) -> "list[Step]":
    """Return the steps of the target day."""
    from marketday import explanations

    return explanations.waterfall(found.target)


def order_lines(orders: "pl.DataFrame", unit: str) -> list[str]:
    """Say how each order of a series follows from the forecast."""
    lines = []
    for row in orders.iter_rows(named=True):
        wanted = "nothing" if row["packs"] == 0 else f"{row['packs']} packs = {number(row['quantity'])} {unit}"
        lines.append(
            f"Order from {row['supplier_id']}: {wanted}. What is ordered today arrives on {day_name(row['arrives'])} "
            f"and must last until {day_name(row['covers_until'])}. {number(row['expected_demand'])} {unit} are "
            f"expected to sell by then; to be safe, {number(row['target'])} should be there. "
            f"{number(row['on_hand'])} are in stock, {number(row['on_order'])} on order."
        )
    return lines


def moved(changes: "pl.DataFrame", since: "Since", now: "pl.DataFrame", then: "pl.DataFrame", unit: str) -> list[str]:
    """Say what moved the forecast of the days that both forecasts cover, the largest cause first.

    ``changes`` are those of :func:`marketday.explanations.changes`; ``now`` and ``then`` explained rows.
    """
    if changes.is_empty():
        return ["The two forecasts have no day in common."]
    before, after = (float(changes[name].sum()) for name in ("before", "after"))
    days = changes["day"]
    span = f"From {day_name(days[0])} to {day_name(days[-1])}" if len(days) > 1 else f"On {day_name(days[0])}"
    more = f"{number(abs(after - before))} {'more' if after > before else 'less'} than in"
    said = f"{more} the forecast before ({number(before)})" if abs(after - before) >= 0.005 else "as before"
    lines = [f"{span}, {number(after)} {unit} are expected in all, {said}."]
    causes = {name: float(changes[name].sum()) for name in _CAUSES}
    causes["recent_demand"] += float(changes["base"].sum())
    for name, value in sorted(causes.items(), key=lambda cause: -abs(cause[1])):
        if abs(value) >= _MATTERS * max(before, after):
            proof = _proof(name, since, now, then, unit)
            lines.append(f"{value:+,.2f} {unit} by {_CAUSES[name]}{': ' + proof if proof else ''}.")
    if len(lines) == 1:
        lines.append(f"No cause moved it by more than {_MATTERS:.0%}.")
    return lines + _facts(since, now, then, unit)


def _proof(name: str, since: "Since", now: "pl.DataFrame", then: "pl.DataFrame", unit: str) -> str:
    if name == "recent_demand":
        return _listed([_sale(row, unit) for row in since.sold.iter_rows(named=True)])
    if name == "bias":
        return f"x {now['bias'][0]:.2f} instead of x {then['bias'][0]:.2f}"
    told = [row for row in since.planned.iter_rows(named=True) if row["what"] in _INPUTS.get(name, ())]
    return _listed(
        [
            f"{row['what'].replace('_', ' ')} on {day_name(row['day'])} {_value(row, 'after')} instead of "
            f"{_value(row, 'before')}"
            for row in told
        ]
    )


def _facts(since: "Since", now: "pl.DataFrame", then: "pl.DataFrame", unit: str) -> list[str]:
    """Say what else became known."""
    lines = []
    if since.sold.is_empty():
        lines.append("No sales have become known since.")
    if since.corrected.height:
        told = _listed([_correction(row, unit) for row in since.corrected.iter_rows(named=True)])
        lines.append(f"Past data were corrected: {told}.")
    models = [rows["model"].unique().sort().to_list() for rows in (then, now)]
    if models[0] != models[1]:
        lines.append(
            f"Another model is in force, {listed(models[1])} instead of {listed(models[0])}; it weighs all causes anew."
        )
    return lines


def _sale(row: dict[str, Any], unit: str) -> str:
    ran_out = ", and stock ran out" if row["ran_out"] else ""
    sold = "an unknown number" if row["units"] is None else number(row["units"])
    return f"{sold} {unit} sold on {day_name(row['day'])}{ran_out}, where {number(row['expected'])} were expected"


def _correction(row: dict[str, Any], unit: str) -> str:
    day = day_name(row["day"])
    if row["units"] != row["units_now"]:
        old, new = ("unknown" if value is None else number(value) for value in (row["units"], row["units_now"]))
        return f"{day} {new} {unit} instead of {old}"
    return f"{day} stock {'ran out after all' if row['ran_out_now'] else 'did not run out after all'}"


def _value(row: dict[str, Any], when: str) -> str:
    what, value = row["what"], row[when]
    if what.startswith("event"):
        return str(value or "none")
    if value is None:
        return "unknown"
    amount = float(value)
    if what == "promotion":
        # 0.001 stands for a promotion without a discount.
        return "none" if amount == 0 else f"{amount:.0%} off" if amount > 0.001 else "on"
    if what == "payday":
        return "yes" if amount else "no"
    return f"{amount:,.2f}" if what == "price" else f"{amount:.0f}"


def _listed(texts: Sequence[str]) -> str:
    return listed(texts, most=_MOST)
