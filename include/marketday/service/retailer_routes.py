"""What the routes of one retailer share: the settings, the retailer's name, and what the tables are."""

from typing import Annotated, Any, Literal

import structlog
from fastapi import APIRouter, Depends, Path, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from marketday import retailers
from marketday.deliveries import table_named
from marketday.errors import DeliveryError, RetailerError, ServiceUnavailable
from marketday.service.problems import Problem
from marketday.settings import Settings
from marketday.tables import DELIVERED, Table
from marketday.tables.describe import arrow_schema, json_schema

router = APIRouter(prefix="/retailers/{retailer}", tags=["deliveries"])

_log = structlog.stdlib.get_logger(__name__)
_MENDED_SECONDS = 60.0
ARROW = "application/vnd.apache.arrow.stream"


class TableLink(BaseModel):
    """One table, and where it is described."""

    name: str
    description: str
    required: bool
    href: str


class TableList(BaseModel):
    """The tables that can be delivered."""

    tables: list[TableLink]


async def settings_of(request: Request) -> Settings:
    """Return the settings of this app."""
    settings: Settings = request.app.state.settings
    return settings


Config = Annotated[Settings, Depends(settings_of)]


def _defined(
    settings: Config, retailer: Annotated[str, Path(description="Name of the retailer.", examples=["simulated"])]
) -> str:
    try:
        return retailers.load(retailer, settings.retailers).name
    except RetailerError as error:
        if not retailers.is_defined(retailer, settings.retailers):
            raise
        # The retailer can do nothing about it, and the mistake names files of ours.
        _log.warning("a definition has a mistake", retailer=retailer, why=str(error))
        raise ServiceUnavailable(
            f"The definition of {retailer} has a mistake; whoever runs Marketday must mend it",
            retry_after=_MENDED_SECONDS,
        ) from error


async def _delivered(
    table: Annotated[str, Path(description="Name of a table that is delivered.", examples=["sales"])],
) -> Table:
    try:
        return table_named(table)
    except DeliveryError as error:
        raise Problem(404, error) from error


Name = Annotated[str, Depends(_defined)]
Delivered = Annotated[Table, Depends(_delivered)]
"""A table of those that are delivered, by the name that the path has."""


@router.get("/tables", summary="List the tables that can be delivered")
def tables(name: Name) -> TableList:
    """Return every table of a delivery, in the order of the catalogue, with the link to its schemas."""
    links = [
        TableLink(
            name=table.name,
            description=table.description,
            required=table.required,
            href=f"/retailers/{name}/tables/{table.name}",
        )
        for table in DELIVERED
    ]
    return TableList(tables=links)


@router.get(
    "/tables/{table}",
    summary="Describe a table",
    response_model=dict[str, Any],
    dependencies=[Depends(_defined)],
    responses={200: {"content": {"application/schema+json": {}, ARROW: {}}}},
)
def described(table: Delivered, f: Literal["json", "arrow"] = "json") -> Response:
    """Return the JSON Schema of one row, with rules and units; ``f=arrow`` is the Arrow schema of the whole table."""
    if f == "arrow":
        return Response(arrow_schema(table), media_type=ARROW)
    return JSONResponse(json_schema(table), media_type="application/schema+json")
