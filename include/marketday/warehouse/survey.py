"""All that is stored of a retailer: every table's files and log, and which versions must stay readable for ever.

Those are the versions that published mornings refer to. A published morning is a day that `publications` has, or ever
had, a row of; it refers to the versions that its steps have read and written and to those that hold what it published.
That holds for what a morning published before it was run again too, so every row counts that `runs` and
`publications` ever had: of these two tables every version stays.
"""

import io
import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl

from marketday.tables import PUBLICATIONS, RUN_DAY, RUNS, Table
from marketday.warehouse import log as delta_log
from marketday.warehouse.log import Log
from marketday.warehouse.objects import Objects, Stored, objects, read_all
from marketday.warehouse.store import Warehouse
from marketday.warehouse.writing import NOTHING_YET

ALWAYS_WHOLE = frozenset({RUNS.name, PUBLICATIONS.name})
"""Tables of which every version stays."""


@dataclass
class TableFiles:
    """One table's files, by path below its folder, and its log."""

    name: str
    there: dict[str, Stored]
    log: Log


@dataclass
class Survey:
    """All that is stored of a retailer."""

    retailer: str
    objects: Objects
    tables: dict[str, TableFiles]
    kept: dict[str, set[int]] = field(default_factory=dict)
    """By table, the versions that must stay readable for ever; the latest comes with them."""
    unreadable: list[tuple[str, str]] = field(default_factory=list)
    """Table and path of the files that may refer to more versions, but are gone or damaged."""

    def folder(self, table: str) -> str:
        """Return the table's folder below the warehouse's root."""
        return f"{self.retailer}/{table}"


def tables_of(warehouse: Warehouse, retailer: str) -> dict[str, TableFiles]:
    """List every file of every table that the retailer has, by name, and read its log."""
    stored, tables = objects(warehouse.url, warehouse.storage_options), {}
    for name in objects(f"{warehouse.url}/{retailer}", warehouse.storage_options).folders():
        there = _listed(stored, f"{retailer}/{name}")
        tables[name] = TableFiles(name, there, delta_log.read(stored, f"{retailer}/{name}", there))
    return tables


def survey(warehouse: Warehouse, retailer: str) -> Survey:
    """Do the same, and find out which versions are kept."""
    stored = objects(warehouse.url, warehouse.storage_options)
    found = Survey(retailer, stored, tables_of(warehouse, retailer))
    referred = _referred(found)
    for name, table in found.tables.items():
        every = range(table.log.latest + 1) if name in ALWAYS_WHOLE else ()
        found.kept[name] = {*referred.get(name, ()), *every, table.log.latest} - {NOTHING_YET}
    return found


def _listed(stored: Objects, folder: str) -> dict[str, Stored]:
    """List a table's files, its log first: what a commit names was there before it, so it is listed after it."""
    entries = {entry.path: entry for entry in stored.walk(f"{folder}/{delta_log.FOLDER}")}
    for entry in stored.walk(folder):
        if f"/{delta_log.FOLDER}/" not in entry.path:
            entries[entry.path] = entry
    return {path.removeprefix(f"{folder}/"): entry for path, entry in entries.items()}


def _referred(found: Survey) -> Mapping[str, set[int]]:
    """Return the versions by table that any published morning refers to."""
    versions: dict[str, set[int]] = defaultdict(set)
    published = _ever(found, PUBLICATIONS, (RUN_DAY, "table", "version"))
    for name, version in published.select("table", "version").iter_rows():
        versions[name].add(version)
    runs = _ever(found, RUNS, (RUN_DAY, "inputs", "written"))
    mornings = runs.join(published.select(RUN_DAY).unique(), on=RUN_DAY, how="semi")
    for text in pl.concat([mornings["inputs"], mornings["written"]]).drop_nulls().unique():
        for name, version in json.loads(text).items():
            versions[name].add(version)
    return versions


def _ever(found: Survey, table: Table, columns: tuple[str, ...]) -> pl.DataFrame:
    """Return, in some of its columns, every row that any version of a small table had."""
    schema = {name: dtype for name, dtype in pl.Schema(table.schema).items() if name in columns}
    rows = [pl.DataFrame(schema=schema)]
    if table.name in found.tables:
        files = found.tables[table.name]
        paths = sorted({file.path for file in files.log.files})
        there = [path for path in paths if path in files.there]
        found.unreadable += [(table.name, path) for path in paths if path not in files.there]
        contents = read_all(found.objects, [f"{found.folder(table.name)}/{path}" for path in there])
        for path, content in zip(there, contents, strict=True):
            try:
                part = pl.read_parquet(io.BytesIO(content))
            except pl.exceptions.PolarsError:
                found.unreadable.append((table.name, path))
                continue
            # A file from before a column was added to the catalogue does not have it.
            absent = [pl.lit(None, schema[name]).alias(name) for name in schema if name not in part.columns]
            rows.append(part.with_columns(absent).select(list(schema)))
    return pl.concat(rows)
