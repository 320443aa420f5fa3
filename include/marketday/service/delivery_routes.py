"""The way in for deliveries: tables one by one, then the word that they are complete."""

import datetime as dt
import tempfile
from pathlib import Path
from typing import Annotated

import anyio
from fastapi import APIRouter, Depends, Request
from fastapi.concurrency import run_in_threadpool

from marketday import deliveries, retailers
from marketday.deliveries import Kind, Receipt, TableReceipt
from marketday.errors import DeliveryError
from marketday.service.problems import Problem
from marketday.settings import Settings

router = APIRouter(prefix="/retailers/{retailer}/deliveries")


async def _settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


Config = Annotated[Settings, Depends(_settings)]


def _defined(settings: Config, retailer: str) -> str:
    return retailers.load(retailer, settings.retailers).name


Name = Annotated[str, Depends(_defined)]


@router.put("/{day}/{table}")
async def put(request: Request, settings: Config, name: Name, day: dt.date, table: str) -> TableReceipt:
    """Take one table, a Parquet file as the body; a second time replaces the first."""
    root = settings.deliveries_path
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".incoming-", dir=root) as folder:
        path = Path(folder) / "body"
        async with await anyio.open_file(path, "wb") as file:
            async for chunk in request.stream():
                await file.write(chunk)
        return await run_in_threadpool(deliveries.put_table, root, name, day, table, path)


@router.post("/{day}/complete")
def complete(settings: Config, name: Name, day: dt.date, kind: Kind) -> Receipt:
    """Accept what was sent for the day; the same content again gives the same receipt.

    A second delivery of the same kind corrects the first: the tables that it does not bring stand as they were. A daily
    delivery for a day that has a history is refused.
    """
    return deliveries.complete(settings.deliveries_path, name, day, kind, dt.datetime.now(dt.UTC))


@router.get("")
def last_day(settings: Config, name: Name, before: dt.date) -> dict[str, dt.date | None]:
    """Return the last day before ``before`` that has an accepted delivery: what a customer has to deliver since."""
    return {"last_day": deliveries.last_day(settings.deliveries_path, name, before=before)}


@router.get("/{day}")
def latest(settings: Config, name: Name, day: dt.date) -> Receipt:
    """Return the receipt of the day's last accepted delivery."""
    receipt = deliveries.latest(settings.deliveries_path, name, day)
    if receipt is None:
        raise Problem(404, DeliveryError(f"{name} has no accepted delivery for {day}"))
    return receipt
