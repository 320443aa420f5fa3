"""The warehouse: every table as a Delta table, one transaction per table and day.

No other module names a path or a format. A write replaces exactly the rows of its ``run_day`` (and block); writing the
same rows again changes nothing, not even the version. Reads see one version and are never blocked by a writer.
"""

from marketday.warehouse.ahead import ahead
from marketday.warehouse.content import conform, empty, rising
from marketday.warehouse.files import RUN_MONTH
from marketday.warehouse.hashing import content_hash
from marketday.warehouse.knowledge import as_known
from marketday.warehouse.order import in_key_order
from marketday.warehouse.store import Warehouse
from marketday.warehouse.writing import NOTHING_YET, Rows, Written

__all__ = [
    "NOTHING_YET",
    "RUN_MONTH",
    "Rows",
    "Warehouse",
    "Written",
    "ahead",
    "as_known",
    "conform",
    "content_hash",
    "empty",
    "in_key_order",
    "rising",
]
