"""Errors over HTTP: problem details (RFC 9457) with the error's own data beside them."""

import json
from http import HTTPStatus
from typing import Any, cast

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from marketday.deliveries.formats import UNSUPPORTED
from marketday.deliveries.limits import LIMIT
from marketday.errors import DeliveryError, MarketdayError, RetailerError, ServiceUnavailable, listed

_OGC = "http://www.opengis.net/def/exceptions/ogcapi-processes-1/1.0/"
NO_SUCH_PROCESS = f"{_OGC}no-such-process"
NO_SUCH_JOB = f"{_OGC}no-such-job"
RESULT_NOT_READY = f"{_OGC}result-not-ready"


class Details(BaseModel):
    """What every error is answered with: problem details (RFC 9457), and the error's own data."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    instance: str
    error: dict[str, Any] | None = Field(default=None, description="What happened, what to do, where the proof lies.")
    table: str | None = Field(default=None, description="Delivered table that is at fault.")
    column: str | None = None
    row: int | None = Field(default=None, description="Place of the first such row in its file, from 0.")
    rule: str | None = Field(default=None, description="Code of the rule that was broken.")
    examples: list[Any] = Field(default_factory=list, max_length=10)


def _documented(description: str) -> dict[str, Any]:
    return {
        "description": description,
        "content": {"application/problem+json": {"schema": Details.model_json_schema()}},
    }


RESPONSES: dict[int | str, dict[str, Any]] = {
    "4XX": _documented("The request cannot be answered as it is."),
    422: _documented("Something in the request is not what it must be."),
    "5XX": _documented("The service cannot answer now."),
}
"""Of every route, for the description of the API."""


class Problem(Exception):  # noqa: N818  what RFC 9457 calls it
    """An error together with the status that it is answered with."""

    def __init__(self, status: int, error: MarketdayError, type_: str = "about:blank") -> None:
        super().__init__(error.message)
        self.status = status
        self.error = error
        self.type = type_


def install(app: FastAPI) -> None:
    """Answer every error of ``app`` with problem details."""
    app.add_exception_handler(Problem, lambda request, error: _of_problem(request, cast("Problem", error)))
    app.add_exception_handler(MarketdayError, lambda request, error: _of_error(request, cast("MarketdayError", error)))
    app.add_exception_handler(
        RequestValidationError, lambda request, error: _of_request(request, cast("RequestValidationError", error))
    )
    app.add_exception_handler(HTTPException, lambda request, error: _of_http(request, cast("HTTPException", error)))
    app.add_exception_handler(Exception, _of_bug)


def answer(request: Request, status: int, detail: str, **more: object) -> Response:
    """Return problem details; ``more`` stands beside what RFC 9457 names."""
    body = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    body |= {"instance": request.url.path} | more
    # In ASCII: whatever is quoted from a request, such as half of a character, can be written.
    content = json.dumps(body, separators=(",", ":"))
    return Response(content, status, media_type="application/problem+json")


def _of_problem(request: Request, problem: Problem) -> Response:
    return answer(request, problem.status, problem.error.message, type=problem.type, **_told(problem.error))


def _of_error(request: Request, error: MarketdayError) -> Response:
    if isinstance(error, ServiceUnavailable):
        later = answer(request, 503, error.message, **_told(error))
        later.headers["Retry-After"] = str(round(error.retry_after or 0))
        return later
    return answer(request, _status(error), error.message, **_told(error))


def _status(error: MarketdayError) -> int:
    if isinstance(error, RetailerError):
        return HTTPStatus.NOT_FOUND
    rule = str(error.where.get("rule", "")) if isinstance(error, DeliveryError) else ""
    if rule == UNSUPPORTED:
        return HTTPStatus.UNSUPPORTED_MEDIA_TYPE
    return HTTPStatus.REQUEST_ENTITY_TOO_LARGE if rule.startswith(LIMIT) else HTTPStatus.UNPROCESSABLE_ENTITY


def _told(error: MarketdayError) -> dict[str, object]:
    """Return the error as data, and beside it what a delivery's error is about: table, column, row, rule, examples."""
    return {"error": error.to_dict(), **(error.where if isinstance(error, DeliveryError) else {})}


def _of_request(request: Request, error: RequestValidationError) -> Response:
    complaints = [f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in error.errors()]
    return answer(request, 422, listed(complaints))


def _of_http(request: Request, error: HTTPException) -> Response:
    problem = answer(request, error.status_code, error.detail)
    problem.headers.update(error.headers or {})
    return problem


def _of_bug(request: Request, _: Exception) -> Response:
    problem = answer(request, 500, "The step service met an error of its own; its log has the traceback.")
    problem.headers["Connection"] = "close"  # The server does that after such an error; who reuses it would be cut off.
    return problem
