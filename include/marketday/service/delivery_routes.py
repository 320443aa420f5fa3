"""The way in for deliveries: tables one by one, then the word that they are complete; and what became of them."""

import datetime as dt
from collections import Counter
from typing import Annotated, Any

import anyio
import structlog
from fastapi import APIRouter, Depends, Header, Path, Query, Request
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, Field

from marketday import deliveries
from marketday.client import MAX_WAIT
from marketday.deliveries import Kind, Receipt, TableReceipt, reports
from marketday.deliveries.changes import TableChanges
from marketday.deliveries.formats import CODINGS, of_headers
from marketday.errors import DeliveryError, MarketdayError
from marketday.service import intake, uploads
from marketday.service.arrivals import Arrivals
from marketday.service.problems import Problem
from marketday.service.retailer_routes import ARROW, Config, Delivered, Name

router = APIRouter(prefix="/retailers/{retailer}/deliveries", tags=["deliveries"])

_log = structlog.stdlib.get_logger(__name__)
_FILE: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "The table as one file. A CSV begins with a line of column names, is separated by comma, "
        "semicolon, tab or bar, and is in UTF-8 unless it says another charset; NDJSON has one object per line.",
        "content": {
            "application/vnd.apache.parquet": _FILE,
            ARROW: _FILE,
            "text/csv": {
                "schema": {"type": "string"},
                "example": "location_id,product_id,day,units\nS01,P001,2026-03-01,2\n",
            },
            "application/x-ndjson": {
                "schema": {"type": "string"},
                "example": '{"location_id": "S01", "product_id": "P001", "day": "2026-03-01", "units": 2}\n',
            },
        },
    }
}


class Accepted(Receipt):
    """Receipt of a delivery, with what the checks made of it when it came."""

    checks: dict[str, reports.TableChecks] | None = Field(
        default=None, description="By table: rows received, accepted, and quarantined by reason. Null: not known."
    )
    changes: dict[str, TableChanges] | None = Field(
        default=None, description="Of a correction, by table: keys added, removed, changed. Nothing published changes."
    )
    note: str = Field(default="", description="Why the checks are not known, where they are not.")


class QuarantinedRow(BaseModel):
    """One row that the checks refused."""

    table: str
    row: int = Field(description="Its place in the delivered file, from 0.")
    reason: str = Field(description="Code of the rule that it breaks.")
    message: str = Field(description="What is wrong with it, for people.")
    content: str = Field(description="The row as delivered, as JSON.")


class QuarantinePage(BaseModel):
    """Some of a delivery's refused rows."""

    delivery: str
    sequence: int
    total: int = Field(description="Refused rows of the delivery.")
    offset: int
    rows: list[QuarantinedRow]


async def arrivals_of(request: Request) -> Arrivals:
    """Return what tells of accepted deliveries."""
    arrivals: Arrivals = request.app.state.arrivals
    return arrivals


async def readers_of(request: Request) -> anyio.CapacityLimiter:
    """Return what limits how many files are read at a time."""
    readers: anyio.CapacityLimiter = request.app.state.readers
    return readers


async def judges_of(request: Request) -> anyio.CapacityLimiter:
    """Return what limits how many deliveries are judged at a time: that takes longer, and no file waits for it."""
    judges: anyio.CapacityLimiter = request.app.state.judges
    return judges


async def under_way_in(request: Request) -> Counter[str]:
    """Return how many uploads are under way, by retailer."""
    under_way: Counter[str] = request.app.state.under_way
    return under_way


Awaited = Annotated[Arrivals, Depends(arrivals_of)]
Readers = Annotated[anyio.CapacityLimiter, Depends(readers_of)]
Judges = Annotated[anyio.CapacityLimiter, Depends(judges_of)]
UnderWay = Annotated[Counter[str], Depends(under_way_in)]
Day = Annotated[dt.date, Path(description="Business day that the delivery is for.", examples=["2026-03-02"])]
Sequence = Annotated[
    int | None, Query(ge=1, le=999_999, description="Which of the day's deliveries. Default: the last one.")
]


@router.put("/{day}/{table}", summary="Send one table", openapi_extra=_BODY)
async def put(
    *,
    request: Request,
    settings: Config,
    readers: Readers,
    under_way: UnderWay,
    name: Name,
    day: Day,
    table: Delivered,
    content_encoding: Annotated[
        str, Header(description=f"How the body is compressed: {', '.join(filter(None, CODINGS))}.")
    ] = "",
) -> TableReceipt:
    """Take one table, until the delivery is complete; a second time replaces the first.

    The same file again changes nothing, and one that is interrupted leaves nothing behind. A refusal names table,
    column, row and rule, as far as there are any, with at most 10 examples.
    """
    sent = of_headers(request.headers.get("content-type", ""), content_encoding)
    with uploads.counted(under_way, name), uploads.folder(settings) as folder:
        source, target = folder / "sent", folder / "kept"
        await uploads.receive(request, source, table=table.name, most=settings.delivery_bytes)

        def take() -> TableReceipt:
            measured = intake.read_file(settings, table, sent, source, target)
            deliveries.stage(settings.deliveries_url, name, day, table=table.name, content=target, measured=measured)
            return measured

        return await anyio.to_thread.run_sync(take, limiter=readers)


@router.post("/{day}/complete", summary="Complete a delivery")
async def complete(*, settings: Config, awaited: Awaited, judges: Judges, name: Name, day: Day, kind: Kind) -> Accepted:
    """Accept what was sent for the day, check it, and return the receipt; the same content again gives the same one.

    A second delivery of the same kind corrects the first: the tables that it does not bring stand as they were, and the
    receipt says what it changes. A daily delivery for a day that has a history is refused.
    """
    now = dt.datetime.now(dt.UTC)
    receipt = await run_in_threadpool(deliveries.complete, settings.deliveries_url, name, day, kind, now)
    awaited.tell(name, day)  # The morning need not wait for the counts.

    def judged() -> Accepted:
        answer = _accepted(settings, receipt)
        if answer.checks is not None:
            return answer
        try:
            with uploads.folder(settings) as folder:
                intake.judge(settings, receipt, folder)
        except MarketdayError as error:
            _log.warning("a delivery is accepted but not checked", retailer=name, day=str(day), why=error.message)
            return answer.model_copy(update={"note": str(error)})
        return _accepted(settings, receipt)

    return await anyio.to_thread.run_sync(judged, limiter=judges)


@router.get("", summary="Find the last delivery")
def last_day(settings: Config, name: Name, before: dt.date) -> dict[str, dt.date | None]:
    """Return the last day before ``before`` that has an accepted delivery: what a customer has to deliver since."""
    return {"last_day": deliveries.last_day(settings.deliveries_url, name, before=before)}


@router.get("/{day}", summary="Get a receipt")
async def receipt(
    *,
    settings: Config,
    awaited: Awaited,
    name: Name,
    day: Day,
    sequence: Sequence = None,
    wait: Annotated[float, Query(ge=0.0, le=MAX_WAIT, description="Seconds to wait for a first delivery.")] = 0.0,
) -> Accepted:
    """Return the receipt of an accepted delivery, as soon as there is one or ``wait`` seconds are over."""
    try:
        found = await run_in_threadpool(_found, settings, name, day, sequence)
    except Problem:
        if not wait:
            raise
        await awaited.wait(name, day, wait)
        found = await run_in_threadpool(_found, settings, name, day, sequence)
    return await run_in_threadpool(_accepted, settings, found)


@router.get("/{day}/quarantine", summary="Look at what was refused")
def quarantine(
    *,
    settings: Config,
    name: Name,
    day: Day,
    sequence: Sequence = None,
    offset: Annotated[int, Query(ge=0, le=1 << 40, description="Rows to pass over.")] = 0,
    limit: Annotated[int, Query(ge=1, le=1000, description="Rows to return.")] = 100,
) -> QuarantinePage:
    """Return rows that the checks refused when the delivery came, table by table in the order of the catalogue."""
    found = _found(settings, name, day, sequence)
    if reports.of(settings.deliveries_url, found) is None:
        error = DeliveryError(f"Delivery {found.id} has not been checked", hint="Complete it once more, as it is.")
        raise Problem(404, error)
    page = reports.refused(settings.deliveries_url, found, offset, limit)
    rows = [QuarantinedRow(**row) for row in page.rows]
    return QuarantinePage(delivery=found.id, sequence=found.sequence, total=page.total, offset=offset, rows=rows)


def _found(settings: Config, name: str, day: dt.date, sequence: int | None) -> Receipt:
    root = settings.deliveries_url
    if sequence is None:
        found = deliveries.latest(root, name, day)
    else:
        found = deliveries.of_sequence(root, name, day, sequence)
    if found is None:
        which = "" if sequence is None else f" with number {sequence}"
        raise Problem(404, DeliveryError(f"{name} has no accepted delivery for {day}{which}"))
    return found


def _accepted(settings: Config, receipt: Receipt) -> Accepted:
    report = reports.of(settings.deliveries_url, receipt)
    return Accepted(**dict(receipt), **(dict(report) if report else {}))
