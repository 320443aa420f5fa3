"""Errors over HTTP: problem details (RFC 9457) with the error's own data beside them."""

from http import HTTPStatus
from typing import cast

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from marketday.errors import MarketdayError, RetailerError, ServiceUnavailable, listed

_OGC = "http://www.opengis.net/def/exceptions/ogcapi-processes-1/1.0/"
NO_SUCH_PROCESS = f"{_OGC}no-such-process"
NO_SUCH_JOB = f"{_OGC}no-such-job"
RESULT_NOT_READY = f"{_OGC}result-not-ready"


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


def answer(request: Request, status: int, detail: str, **more: object) -> JSONResponse:
    """Return problem details; ``more`` stands beside what RFC 9457 names."""
    body = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    body |= {"instance": request.url.path} | more
    return JSONResponse(body, status, media_type="application/problem+json")


def _of_problem(request: Request, problem: Problem) -> JSONResponse:
    return answer(request, problem.status, problem.error.message, type=problem.type, error=problem.error.to_dict())


def _of_error(request: Request, error: MarketdayError) -> JSONResponse:
    if isinstance(error, ServiceUnavailable):
        later = answer(request, 503, error.message, error=error.to_dict())
        later.headers["Retry-After"] = str(round(error.retry_after or 0))
        return later
    status = 404 if isinstance(error, RetailerError) else 422
    return answer(request, status, error.message, error=error.to_dict())


def _of_request(request: Request, error: RequestValidationError) -> JSONResponse:
    complaints = [f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in error.errors()]
    return answer(request, 422, listed(complaints))


def _of_http(request: Request, error: HTTPException) -> JSONResponse:
    problem = answer(request, error.status_code, error.detail)
    problem.headers.update(error.headers or {})
    return problem


def _of_bug(request: Request, _: Exception) -> JSONResponse:
    return answer(request, 500, "The step service met an error of its own; its log has the traceback.")
