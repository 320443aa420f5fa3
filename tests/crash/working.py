"""What the processes do that are killed. Imported once, by the process that all of them are forked from."""

import datetime as dt
import resource
from collections.abc import Callable
from typing import Any

from mornings import FIRST, SHOP, predict, publish, record, sell

from marketday.warehouse import Warehouse
from marketday.warehouse.maintenance import checkpoint, compact, vacuum

Tell = Callable[[Any], None]
DAYS = 6


def a_morning(tell: Tell, url: str, number: int) -> None:
    """Replace a day, write forecasts, record and publish them, then look after it all; tell of every write."""
    warehouse = Warehouse(url)
    day = FIRST + dt.timedelta(days=4 * (number % DAYS))
    sold = sell(warehouse, day, units=float(number))
    tell(("sales", *sold))
    made = predict(warehouse, day, mean=float(number))
    tell(("forecasts", *made))
    record(warehouse, day, "calibrate", {"sales": sold.version}, {"forecasts": made.version})
    publish(warehouse, day, made)
    tell(("published", *made))
    if number % 4 == 3:
        compact(warehouse, SHOP, before=dt.date(2025, 3, 1))
        checkpoint(warehouse, SHOP)
        vacuum(warehouse, SHOP, now=dt.datetime.now(dt.UTC) + dt.timedelta(days=99), retention=dt.timedelta(days=30))
        tell(("looked after", 0, "", 0))


def with_room_for(tell: Tell, url: str, number: int, size: int) -> None:
    """Do the same where no file can have more than ``size`` bytes; tell of the error."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    tried(tell, url, number)


def tried(tell: Tell, url: str, number: int) -> None:
    """Do the same where it may fail; tell of the error."""
    try:
        a_morning(tell, url, number)
    except Exception as error:  # noqa: BLE001  whatever it is: it is looked at by the test
        tell(("error", 0, f"{type(error).__name__}: {error}", 0))
