"""Reading delivered files and judging deliveries, each in a process of its own that its content cannot get out of."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from marketday import deliveries, retailers
from marketday.cleaning import known_on
from marketday.cleaning.delivery import checked, delivered_in
from marketday.deliveries import Limits, Receipt, Sent, TableReceipt, reports
from marketday.deliveries.changes import changes
from marketday.deliveries.reports import Report, TableChecks
from marketday.errors import DeliveryError
from marketday.service import bounded
from marketday.settings import ResourceClass, Settings
from marketday.tables import QUARANTINE, RUN_DAY, Table
from marketday.warehouse import Warehouse

_GROUP_ROWS = 1 << 12
"""Refused rows that are kept together: to show one, all of these are read."""


def read_file(settings: Settings, table: Table, sent: Sent, source: Path, target: Path) -> TableReceipt:
    """Read the file that was sent and leave at ``target`` what is kept of it.

    Raises:
        DeliveryError: it is not what the catalogue describes, more than may be, or made to hurt.
        ServiceUnavailable: no process could be started, or there is no room for what it writes.

    """
    bounds = ResourceClass(cores=1, memory_gib=settings.delivery_memory, seconds=settings.delivery_seconds)
    arguments = {"source": source, "target": target, "table": table.name, "sent": sent}
    try:
        measured = bounded.run("reading", _read, bounds, **arguments, limits=Limits.from_settings(settings))
    except bounded.Ended as error:
        raise DeliveryError(
            f"{table.name}: the file cannot be read: its process {error}",
            hint="Write it with a current library, in row groups or batches of at most a million rows.",
            where={"table": table.name, "rule": "limit_process"},
        ) from error
    return TableReceipt.model_validate(measured)


def judge(settings: Settings, receipt: Receipt, folder: Path) -> Report:
    """Check an accepted delivery against the warehouse as it is, compare it with the one before, and keep the report.

    ``folder`` is for what is refused, until it is kept.

    Raises:
        DeliveryError: its columns cannot be understood, or it needs more than a step of class M has.
        ServiceUnavailable: no process could be started, there is no room, or a store does not answer.

    """
    refused = folder / "quarantine.parquet"
    try:
        answer = bounded.run(
            "checking", _judge, settings.resource_classes["M"], settings=settings, receipt=receipt, refused=refused
        )
    except bounded.Ended as error:
        raise DeliveryError(
            f"{receipt.retailer} {receipt.day}: the delivery is accepted, but checking it {error}",
            hint="The morning checks it again. Complete it once more, for another try.",
            where={"rule": "limit_process"},
        ) from error
    report = Report.model_validate(answer)
    reports.keep(settings.deliveries_url, receipt, report, refused)
    return report


def _read(*, source: Path, target: Path, table: str, sent: Sent, limits: Limits) -> dict[str, Any]:
    return deliveries.rewrite(source, target, deliveries.table_named(table), sent, limits).model_dump(mode="json")


def _judge(*, settings: Settings, receipt: Receipt, refused: Path) -> dict[str, Any]:
    retailer, warehouse = retailers.load(receipt.retailer, settings.retailers), Warehouse.from_settings(settings)
    root = settings.deliveries_url
    known = known_on(lambda table: warehouse.scan(retailer.name, table), retailer, receipt.day)
    checks: dict[str, TableChecks] = {}
    schema = pa.schema([field for field in QUARANTINE.schema if field.name != RUN_DAY])
    with pq.ParquetWriter(refused, schema, compression="zstd") as writer:
        for table, result in checked(delivered_in(root, receipt), known):
            if table.name in receipt.tables:
                seen = checks.setdefault(table.name, TableChecks(received=receipt.tables[table.name].rows))
                checks[table.name] = seen.plus(result)
            writer.write_table(result.refused.sort("row").to_arrow().cast(schema), _GROUP_ROWS)
    before = deliveries.of_sequence(root, receipt.retailer, receipt.day, receipt.sequence - 1)
    changed = None if before is None else changes(root, before, receipt)
    return Report(checks=checks, changes=changed).model_dump(mode="json")
