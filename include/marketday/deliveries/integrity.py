"""The integrity check of deliveries: every receipt that was given is true, and what no receipt or upload names is told.

An upload that was never completed is no finding: the retailer may still complete it.
"""

import datetime as dt
import re
from collections.abc import Callable, Iterator

from pydantic import ValidationError

from marketday.deliveries import storage
from marketday.deliveries.acceptance import file_key
from marketday.deliveries.receipts import Receipt, TableReceipt
from marketday.warehouse.integrity import SAFE_AGE, Checked, Finding
from marketday.warehouse.objects import Objects, Stored, objects

PLACE = "deliveries"

_RECEIPT = re.compile(r"[^/]+/receipts/(\d{4}-\d\d-\d\d)/(\d+)\.json")
_UPLOAD = re.compile(r"[^/]+/staging/\d{4}-\d\d-\d\d/([^/]+)/[^/#]+")
_REPORT = re.compile(r"[^/]+/reports/\d{4}-\d\d-\d\d/\d+\.(json|parquet)")
_FILE = re.compile(r"[^/]+/files/[^/]+/[0-9a-f]{64}\.parquet")
_HALF = re.compile(r"[^/]+/(files|staging|receipts|reports)/.+#\d+")
"""What a store that is a folder writes before it gives it its name."""


def check(root: str, retailer: str, *, deep: bool = False) -> Checked:
    """Compare all that lies there with all receipts; ``deep`` also hashes every accepted file again."""
    stored = objects(root)
    there = {entry.path: entry for entry in stored.walk(retailer)}
    findings: list[Finding] = []
    named = {
        **dict(_uploaded(stored, retailer, there, findings.append)),
        **dict(_accepted(stored, there, findings.append)),
    }
    if absent := named.keys() - there.keys():
        # A bucket lists files before uploads: that of an upload which ended meanwhile is there by now.
        there |= {entry.path: entry for entry in stored.walk(f"{retailer}/files") if entry.path in absent}
    for key, table in sorted(named.items()):
        if message := _differs(root, there.get(key), table, deep=deep):
            findings.append(Finding("altered" if key in there else "missing", PLACE, key, message))
    for path in sorted(there.keys() - named.keys()):
        if message := _unknown(path):
            findings.append(Finding("surplus", PLACE, path, message))
        elif _abandoned(path):
            message = "no receipt and no upload names it: an upload broke off, or is under way"
            findings.append(Finding("leftover", PLACE, path, message))
    return Checked(PLACE, len(there), findings)


def remove_leftovers(root: str, retailer: str, *, now: dt.datetime) -> int:
    """Delete what broken-off uploads left behind, once it is older than a day, and return how many files that were."""
    stored = objects(root)
    there = {entry.path: entry for entry in stored.walk(retailer)}
    left = [finding.path for finding in check(root, retailer).findings if finding.kind == "leftover"]
    old = [entry for path in left if (entry := there.get(path)) and entry.modified < now - SAFE_AGE]
    stored.remove(old)
    return len(old)


def _accepted(
    stored: Objects, there: dict[str, Stored], tell: Callable[[Finding], None]
) -> Iterator[tuple[str, TableReceipt]]:
    """Return where every accepted table lies and what its receipt says of it."""
    by_day: dict[str, set[int]] = {}
    for path in sorted(there):
        if found := _RECEIPT.fullmatch(path):
            by_day.setdefault(found[1], set()).add(int(found[2]))
            try:
                receipt = Receipt.model_validate_json(stored.read(path))
            except ValidationError as error:
                tell(Finding("altered", PLACE, path, f"this receipt cannot be read: {error.errors()[0]['msg']}"))
                continue
            for name, table in receipt.tables.items():
                yield file_key(receipt, name), table
    for day, numbers in by_day.items():
        for number in sorted(set(range(1, max(numbers))) - numbers):
            tell(Finding("missing", PLACE, f"receipts/{day}", f"the receipt of delivery {number} of {day} is gone"))


def _uploaded(
    stored: Objects, retailer: str, there: dict[str, Stored], tell: Callable[[Finding], None]
) -> Iterator[tuple[str, TableReceipt]]:
    """Return the same of every upload that is not completed yet."""
    for path in sorted(there):
        if found := _UPLOAD.fullmatch(path):
            try:
                table = TableReceipt.model_validate_json(stored.read(path))
            except FileNotFoundError:
                continue  # Completed meanwhile.
            except ValidationError as error:
                tell(Finding("altered", PLACE, path, f"this upload cannot be read: {error.errors()[0]['msg']}"))
                continue
            yield f"{retailer}/files/{found[1]}/{table.sha256}.parquet", table


def _differs(root: str, entry: Stored | None, table: TableReceipt, *, deep: bool) -> str:
    """Return what is wrong with an accepted file, or nothing."""
    if entry is None:
        return "a receipt names it, or an upload"
    if entry.size != table.bytes:
        return f"it has {entry.size:,} bytes, and had {table.bytes:,} when it came"
    if deep and storage.sha256(root, entry.path) != table.sha256:
        return "its content is not what came: the hash is another"
    return ""


def _abandoned(path: str) -> bool:
    return bool(_FILE.fullmatch(path) or _HALF.fullmatch(path))


def _unknown(path: str) -> str:
    """Return why it should not be there, or nothing."""
    if _abandoned(path) or any(known.fullmatch(path) for known in (_RECEIPT, _UPLOAD, _REPORT)):
        return ""
    return "no delivery puts a file of this name there"
