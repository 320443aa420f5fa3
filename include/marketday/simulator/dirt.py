"""Faults that the simulated grocer's deliveries can have, to see that each is found and what it costs.

Faults of single rows are in :mod:`marketday.simulator.dirty_rows`, those of whole tables in
:mod:`marketday.simulator.dirty_tables`. Each takes the delivery and returns the tables that it changes.
"""

from marketday.errors import RetailerError, listed
from marketday.simulator import dirty_rows as rows
from marketday.simulator import dirty_tables as whole
from marketday.simulator.dirt_contract import Fault, Tables

FAULTS: dict[str, Fault] = {
    fault.change.__name__: fault
    for fault in (
        Fault(whole.empty_table, "no_sales"),
        Fault(whole.short_history, "no_history", first=True),
        Fault(whole.truncated, "truncated"),
        Fault(whole.units_over_10, "volume"),
        Fault(whole.units_times_100, "refused_share"),
        Fault(whole.missing_stores, "missing_locations"),
        Fault(whole.old_day_as_new, "day_repeated", days_before=7),
        Fault(whole.old_delivery_again, "nothing_new", days_before=1),
        Fault(whole.days_shifted, "days_shifted", days_before=6),
        Fault(whole.other_currency, "price_level"),
        Fault(whole.empty_cells, "refused_share"),
        Fault(rows.empty_cell, "missing"),
        Fault(rows.wrong_encoding, "wrong_encoding"),
        Fault(rows.returns, "negative_sales"),
        Fault(rows.zero_price, "zero_price"),
        Fault(rows.negative_price, "out_of_range"),
        Fault(rows.unheard_of_kind, "not_allowed"),
        Fault(rows.weekdays_in_words, "malformed"),
        Fault(rows.unknown_supplier, "unknown_supplier"),
        Fault(rows.unknown_product, "unknown_product"),
        Fault(rows.unknown_location, "unknown_location"),
        Fault(rows.half_a_piece, "fractional_pieces"),
        Fault(rows.grams, "units_scale"),
        Fault(rows.cents, "price_scale"),
        Fault(rows.closed_store, "closed_store"),
        Fault(rows.before_launch, "before_launch"),
        Fault(rows.after_delisting, "after_delisting"),
        Fault(rows.duplicate_key, "duplicate_key"),
        Fault(rows.clock_ahead, "time_zone"),
        Fault(rows.wrong_day, "wrong_day"),
        Fault(rows.garbled_name, "garbled_name"),
        Fault(rows.decimal_comma, "decimal_comma"),
        Fault(rows.not_a_number, "unreadable"),
        Fault(whole.missing_column, ""),
    )
}
"""By name, in the order in which they are put in. Those that bring later days come after those that look at the last
one, and at the end come those that change a column's type, or the columns."""


def days_before(faults: tuple[str, ...]) -> int:
    """Return how many days more than the delivery's own the faults need to know.

    Raises:
        RetailerError: there is no fault of that name.

    """
    unknown = [name for name in faults if name not in FAULTS]
    if unknown:
        raise RetailerError(f"There is no fault {listed(unknown)}", hint=f"Use: {listed(FAULTS, most=len(FAULTS))}.")
    return max((FAULTS[name].days_before for name in faults), default=0)


def spoil(tables: Tables, faults: tuple[str, ...]) -> Tables:
    """Return the delivery with the named faults, put in in the order of ``FAULTS``."""
    for name, fault in FAULTS.items():
        if name in faults:
            tables = {**tables, **fault.change(tables)}
    return tables
