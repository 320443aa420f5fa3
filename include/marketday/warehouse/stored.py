"""What a day has in a table, at a version: rows to read, and files that another table can have as they are."""

from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl
from deltalake import DeltaTable

from marketday.tables import RUN_DAY, Table
from marketday.warehouse import files
from marketday.warehouse.content import empty
from marketday.warehouse.files import File, Folder, Part
from marketday.warehouse.order import in_key_order


@dataclass(frozen=True)
class StoredDay:
    """The rows of a run day: frames in the order of the key, without ``run_day``; at least one, empty if need be."""

    table: Table
    folder: Folder
    part: Part
    files: tuple[File, ...]

    @classmethod
    def at(cls, table: Table, folder: Folder, part: Part, delta: DeltaTable) -> "StoredDay":
        """Look it up in a version of the table."""
        return cls(table, folder, part, tuple(files.holding(delta, part)))

    def __iter__(self) -> Iterator[pl.DataFrame]:
        for frame in self.frames():
            yield frame.drop(RUN_DAY)

    def frames(self) -> Iterator[pl.DataFrame]:
        """Return the frames with ``run_day``, as they are stored."""
        if not self.files:
            return iter([empty(self.table)])
        rows = self.folder.scan(file.path for file in self.files).filter(self.part.rows)
        return in_key_order(rows, self.table.key)

    def fits(self, table: Table, part: Part) -> bool:
        """Whether its files can be those of ``part`` of another table: they hold nothing else, and as it is wanted."""
        alike = self.part == part and self.table.schema == table.schema and self.table.key == table.key
        known = (set(files.indexed(table)) <= file.stats["minValues"].keys() for file in self.files)
        return alike and all(file.whole for file in self.files) and all(known)
