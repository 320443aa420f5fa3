"""Tables below one root: reading one version, replacing one day in one transaction."""

import datetime as dt

import polars as pl
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError

from marketday.errors import WarehouseError
from marketday.settings import Settings
from marketday.tables import RUN_DAY, Table
from marketday.warehouse.content import empty
from marketday.warehouse.files import Folder, Part
from marketday.warehouse.stored import StoredDay
from marketday.warehouse.writing import NOTHING_YET, Rows, Target, Written, replace


class Warehouse:
    """Tables of all retailers below one root, a folder or an object store URL."""

    def __init__(self, url: str, storage_options: dict[str, str] | None = None) -> None:
        self.url = url.rstrip("/")
        self.storage_options = storage_options

    @classmethod
    def from_settings(cls, settings: Settings) -> "Warehouse":
        """Open the warehouse that the environment names."""
        return cls(settings.warehouse_url)

    def version(self, retailer: str, table: Table) -> int:
        """Return the latest version, or ``NOTHING_YET``."""
        delta = self.delta(retailer, table)
        return NOTHING_YET if delta is None else delta.version()

    def scan(self, retailer: str, table: Table, *, version: int | None = None) -> pl.LazyFrame:
        """Return all rows of one version (the latest unless given), in catalogue order; empty if never written.

        Raises:
            WarehouseError: there is no such version.

        """
        delta = None if version == NOTHING_YET else self.delta(retailer, table, version)
        if delta is None:
            return empty(table).lazy()
        return pl.scan_delta(delta).select(table.schema.names)

    def stored_day(self, retailer: str, table: Table, run_day: dt.date, version: int) -> Rows:
        """Return what a run day has in a table at a version, to be written to another one."""
        delta = None if version == NOTHING_YET else self.delta(retailer, table, version)
        if delta is None:
            return empty(table).drop(RUN_DAY)
        return StoredDay.at(table, self.folder(retailer, table.name), Part(run_day, None), delta)

    def write(
        self,
        retailer: str,
        table: Table,
        rows: Rows,
        *,
        run_day: dt.date,
        block: str | None = None,
        metadata: dict[str, str] | None = None,
    ) -> Written:
        """Replace the rows of ``run_day`` (and ``block``) by ``rows`` in one transaction.

        ``rows`` has the table's columns without ``run_day``. If the stored rows are the same already, nothing is
        written, not even a version. Of many frames, three at most are in memory at a time.

        Raises:
            WarehouseError: columns or values do not fit the catalogue, or other writers kept winning.

        """
        target = Target(table, self.folder(retailer, table.name), Part(run_day, block))
        return replace(target, rows, metadata or {})

    def delta(self, retailer: str, table: Table, version: int | None = None) -> DeltaTable | None:
        """Return the table itself at a version (the latest unless given), or None if it was never written.

        Raises:
            WarehouseError: there is no such version.

        """
        folder = self.folder(retailer, table.name)
        try:
            return folder.delta(version)
        except TableNotFoundError:
            if version is None:
                return None
            raise WarehouseError(f"{retailer}/{table.name}@{version}: the table was never written") from None
        except DeltaError as error:
            # Only a version that is not there is final; a store that does not answer is worth another try.
            latest = folder.delta().version()
            if version is None or version <= latest:
                raise
            raise WarehouseError(
                f"{retailer}/{table.name}@{version}: there is no such version", hint=f"The latest is {latest}."
            ) from error

    def folder(self, retailer: str, name: str) -> Folder:
        """Return where a table lies."""
        return Folder(f"{self.url}/{retailer}/{name}", self.storage_options)
