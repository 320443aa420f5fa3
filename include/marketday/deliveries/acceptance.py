"""From staged tables to an accepted delivery: every write is one object, and a receipt is created only once.

Keys below the root::

    {retailer}/files/{table}/{sha256}.parquet            content of a table, named by its own hash
    {retailer}/staging/{day}/{table}/{number}-{mark}     an upload: what it measured; the last one of a table counts
    {retailer}/receipts/{day}/{sequence}.json            an accepted delivery

Uploads of a table are numbered in the order of their ends. A receipt remembers the names of all that lay there when it
was made; they count no more, and are removed after it. So it makes no difference where a process that completes a
delivery dies, nor how many complete it at the same time: whoever creates the next receipt wins, the others see it. An
upload that ends meanwhile has a name that no receipt knows.
"""

import datetime as dt
import hashlib
import json
import secrets
from pathlib import Path

from pydantic import Field

from marketday.deliveries import storage
from marketday.deliveries.receipts import REQUIRED, Kind, Receipt, TableReceipt
from marketday.errors import DeliveryError, listed

_ID_LENGTH = 16


class _Stored(Receipt):
    """A receipt with what only its store needs to know."""

    uploads: list[str] = Field(default_factory=list)
    """Names, below the day's folder, of all uploads that lay there."""


def stage(root: str, retailer: str, day: dt.date, *, table: str, content: Path, measured: TableReceipt) -> None:
    """Keep one table's Parquet file for the delivery of ``day``, in place of what was staged of it before."""
    storage.put_file(root, _file(retailer, table, measured.sha256), content)
    latest_name = max(storage.names(root, _staging(retailer, day, table)), default="0-")
    number = int(latest_name.partition("-")[0]) + 1
    key = f"{_staging(retailer, day, table)}/{number:08d}-{secrets.token_hex(8)}"
    storage.put(root, key, measured.model_dump_json().encode())


def complete(root: str, retailer: str, day: dt.date, kind: Kind, now: dt.datetime) -> Receipt:
    """Accept what is staged for ``day`` and return its receipt; the same content again returns the same receipt.

    Raises:
        DeliveryError: a required table was neither staged nor in the delivery that this one corrects, whose file may
            also be damaged; or a daily delivery would replace a history: then what was staged is discarded.

    """
    while True:
        # Before the receipts: what is gone from here is in one of them.
        found = storage.names(root, _staging(retailer, day))
        before = _last(root, retailer, day)
        seen = set(before.uploads if before else ())
        brought = _uploads(root, retailer, day, [name for name in found if name not in seen])
        corrected = before if before is not None and before.kind == kind else None
        if not brought and corrected is not None:
            _clear(root, retailer, day, found)
            return _shown(corrected)  # The answer to an earlier call was lost on its way.
        if kind == "daily" and before is not None and before.kind == "history":
            # Left there, its few days would be taken for the history when that is completed.
            _clear(root, retailer, day, found)
            raise DeliveryError(
                f"{retailer} {day}: a daily delivery would replace the whole history that was delivered for this day; "
                "what was put for it is discarded",
                hint="Put the tables to correct again, with their whole history (the others stand), then complete it "
                "as history.",
                where={"rule": "daily_over_history"},
            )
        tables = _together(root, retailer, day, kind, brought=brought, corrected=corrected)
        identity = _identity(kind, tables)
        # Not its id, which an older release may have made in another way.
        if before is not None and _identity(before.kind, before.tables) == identity:
            _clear(root, retailer, day, found)
            return _shown(before)
        stored = _Stored(
            retailer=retailer,
            day=day,
            id=identity,
            kind=kind,
            sequence=before.sequence + 1 if before else 1,
            tables=tables,
            accepted_at=now.astimezone(dt.UTC),
            uploads=found,
        )
        key = f"{_receipts(retailer, day)}/{stored.sequence:06d}.json"
        if storage.create(root, key, stored.model_dump_json(indent=2).encode()):
            _clear(root, retailer, day, found)
            return _shown(stored)


def latest(root: str, retailer: str, day: dt.date) -> Receipt | None:
    """Return the receipt of the last delivery for ``day``, or None."""
    last = _last(root, retailer, day)
    return None if last is None else _shown(last)


def of_sequence(root: str, retailer: str, day: dt.date, sequence: int) -> Receipt | None:
    """Return the receipt of the ``sequence``-th delivery for ``day``, or None."""
    content = storage.get(root, f"{_receipts(retailer, day)}/{sequence:06d}.json")
    return None if content is None else Receipt.model_validate_json(content)


def find(root: str, retailer: str, identity: str, day: dt.date | None = None) -> Receipt:
    """Return the receipt of an accepted delivery, the last one with this id; quickly where its ``day`` is given.

    Raises:
        DeliveryError: the retailer has none of that id.

    """
    folder = f"{retailer}/receipts" if day is None else _receipts(retailer, day)
    for name in reversed(storage.names(root, folder)):
        content = storage.get(root, f"{folder}/{name}")
        if content is not None and (receipt := Receipt.model_validate_json(content)).id == identity:
            return receipt
    raise DeliveryError(f"{retailer} has no accepted delivery {identity!r}", evidence=f"{root}/{folder}")


def last_day(root: str, retailer: str, before: dt.date | None = None) -> dt.date | None:
    """Return the last business day (before ``before``, if given) that has an accepted delivery, or None."""
    days = {dt.date.fromisoformat(name.partition("/")[0]) for name in storage.names(root, f"{retailer}/receipts")}
    return max((day for day in days if before is None or day < before), default=None)


def file_key(receipt: Receipt, table: str) -> str:
    """Return where an accepted table lies below the root.

    Raises:
        DeliveryError: the delivery has no such table.

    """
    if table not in receipt.tables:
        raise DeliveryError(
            f"Delivery {receipt.id} has no table {table!r}",
            hint=f"It has: {listed(receipt.tables)}.",
            where={"table": table},
        )
    return _file(receipt.retailer, table, receipt.tables[table].sha256)


def unchanged(root: str, receipt: Receipt, table: str) -> Path:
    """Return where this process can read an accepted table, which is what was accepted.

    Raises:
        DeliveryError: the delivery has no such table, or its file is no longer what it was.

    """
    path = storage.verified(root, file_key(receipt, table), receipt.tables[table].sha256)
    if path is None:
        raise _damaged(root, receipt, table)
    return path


def _damaged(root: str, receipt: Receipt, table: str) -> DeliveryError:
    return DeliveryError(
        f"{table} of delivery {receipt.id} is gone or was changed after it was accepted",
        hint="Restore the file from a backup, or have the retailer deliver again.",
        evidence=f"{root}/{file_key(receipt, table)}",
        where={"table": table, "rule": "damaged"},
    )


def _together(
    root: str,
    retailer: str,
    day: dt.date,
    kind: Kind,
    *,
    brought: dict[str, TableReceipt],
    corrected: Receipt | None,
) -> dict[str, TableReceipt]:
    """Return the tables of the delivery, by name: those that were brought, and those that stand."""
    tables = dict(sorted({**(corrected.tables if corrected else {}), **brought}.items()))
    if missing := [name for name in REQUIRED[kind] if name not in tables]:
        raise DeliveryError(
            f"{retailer} {day}: the {kind} delivery lacks {listed(missing)}; there is {listed(tables) or 'nothing'}",
            hint="Put the missing tables, then complete the delivery again.",
            where={"rule": "required_table", "examples": missing},
        )
    if corrected is not None:
        for name in corrected.tables.keys() - brought.keys():
            if storage.sha256(root, file_key(corrected, name)) != corrected.tables[name].sha256:
                raise _damaged(root, corrected, name)
    return tables


def _identity(kind: Kind, tables: dict[str, TableReceipt]) -> str:
    """Hash what was sent and as what it was read: the same bytes in another charset are other texts.

    Not what it was stored as: another release may store the same rows as other bytes.
    """
    content = json.dumps([kind, [(name, table.sent_sha256, table.sent_as) for name, table in tables.items()]])
    return hashlib.sha256(content.encode()).hexdigest()[:_ID_LENGTH]


def _last(root: str, retailer: str, day: dt.date) -> _Stored | None:
    names = storage.names(root, _receipts(retailer, day))
    content = storage.get(root, f"{_receipts(retailer, day)}/{names[-1]}") if names else None
    return None if content is None else _Stored.model_validate_json(content)


def _shown(stored: _Stored) -> Receipt:
    return Receipt.model_validate(stored.model_dump(exclude={"uploads"}))


def _uploads(root: str, retailer: str, day: dt.date, names: list[str]) -> dict[str, TableReceipt]:
    """Return what the last upload of each table measured."""
    found = {}
    for name in names:  # sorted: a later upload comes after an earlier one
        content = storage.get(root, f"{_staging(retailer, day)}/{name}")
        if content is not None:
            found[name.partition("/")[0]] = TableReceipt.model_validate_json(content)
    return found


def _clear(root: str, retailer: str, day: dt.date, names: list[str]) -> None:
    """Remove uploads that are in a receipt, or refused; not one that came since."""
    storage.delete(root, [f"{_staging(retailer, day)}/{name}" for name in names])


def _file(retailer: str, table: str, sha256: str) -> str:
    return f"{retailer}/files/{table}/{sha256}.parquet"


def _receipts(retailer: str, day: dt.date) -> str:
    return f"{retailer}/receipts/{day.isoformat()}"


def _staging(retailer: str, day: dt.date, table: str = "") -> str:
    return f"{retailer}/staging/{day.isoformat()}" + (f"/{table}" if table else "")
