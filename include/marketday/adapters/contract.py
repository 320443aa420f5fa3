"""What a customer is, and what those that replay a data set share."""

import datetime as dt
from pathlib import Path
from typing import Protocol

import polars as pl

from marketday.errors import RetailerError, listed


class Customer(Protocol):
    """Sends a retailer's deliveries."""

    @property
    def first_day(self) -> dt.date:
        """First day that has facts."""

    @property
    def last_day(self) -> dt.date | None:
        """Last day that has facts; None where it goes on for ever."""

    @property
    def default_day(self) -> dt.date:
        """Business day that is planned where none is given."""

    def deliver(self, day: dt.date, *, since: dt.date | None, faults: tuple[str, ...] = ()) -> dict[str, pl.DataFrame]:
        """Return the tables, by name and with the catalogue's columns, as sent on the morning of ``day``.

        Facts are those of ``since`` (None: the first day) to the day before ``day``; plans and forecasts reach from
        ``day`` to ``day`` + horizon: a day more than is forecast, for effects of the day after.
        Dimensions are complete.

        Raises:
            RetailerError: there are no facts up to the day before ``day``, or a fault that this customer cannot have.

        """


def check_day(name: str, day: dt.date, first: dt.date, last: dt.date | None) -> None:
    """Refuse a business day whose day before has no facts.

    Raises:
        RetailerError: says which days can be delivered.

    """
    if day <= first or (last is not None and day > last + dt.timedelta(1)):
        until = f" to {last + dt.timedelta(1)}" if last else ""
        raise RetailerError(
            f"{name} has no delivery for {day}", hint=f"Choose a business day from {first + dt.timedelta(1)}{until}."
        )


def check_no_faults(name: str, faults: tuple[str, ...]) -> None:
    """Refuse faults: recorded data are delivered as they are.

    Raises:
        RetailerError: a fault was asked for.

    """
    if faults:
        raise RetailerError(
            f"{name} replays recorded data and cannot have the faults {listed(faults)}",
            hint="Use a retailer with `source: simulator`.",
        )


def check_files(name: str, folder: Path, files: tuple[str, ...]) -> None:
    """Make sure that a data set is there; a name may be a pattern.

    Raises:
        RetailerError: says what was looked for and which variable names the place.

    """
    missing = [file for file in files if not any(folder.glob(file))]
    if missing:
        raise RetailerError(
            f"The data set of {name} is not there: no {listed(missing)} in {folder.resolve()}",
            hint="Set MARKETDAY_DATA to the folder of m5/ and freshretailnet/, or use the retailer `simulated`.",
        )
