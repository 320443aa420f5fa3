"""The step API's processes: which steps there are, and having one carried out; after OGC API - Processes."""

from fastapi import APIRouter, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError

from marketday import steps
from marketday.calls import Call
from marketday.client import JobStatus, Link, Process
from marketday.errors import ServiceError, StepError
from marketday.service.answers import Answers, response
from marketday.service.problems import NO_SUCH_PROCESS, Problem

router = APIRouter()


class ProcessList(BaseModel):
    """All steps, in the order of the morning."""

    processes: list[Process]
    links: list[Link]


# Read by hand: as parameters of the function they would cost as much as all the rest of a request that joins a job.
_REQUEST = {
    "requestBody": {"required": True, "content": {"application/json": {"schema": Call.model_json_schema()}}},
    "parameters": [
        {"name": "step", "in": "path", "required": True, "schema": {"type": "string"}},
        {"name": "force", "in": "query", "schema": {"type": "boolean", "default": False}},
        {"name": "Idempotency-Key", "in": "header", "schema": {"type": "string"}},
        {"name": "X-Run-ID", "in": "header", "schema": {"type": "string"}},
    ],
}


@router.post("/processes/{step}/execution", status_code=201, response_model=JobStatus, openapi_extra=_REQUEST)  # noqa: FAST003  see there
async def execute(request: Request) -> Response:
    """Start a job (201), or return the running or recorded one of the same key (200); 503 if no slot is free."""
    step, body, force = request.path_params["step"], await request.body(), _force(request)
    answers: Answers = request.app.state.answers
    if known := answers.standing(step, body, force=force):
        _check_key(request, known.job.key)
        return known.response
    _process(step)
    call = _call(body)
    if call.step != step:
        raise StepError(f"The call is for step {call.step!r}, the address for {step!r}")
    _check_key(request, call.key)
    job, new = await answers.submit(call, body, force=force, run_id=request.headers.get("x-run-id", ""))
    return response(job, 201 if new else 200)


@router.get("/processes")
def processes() -> ProcessList:
    """List the steps."""
    return ProcessList(
        processes=[_process(name) for name in steps.names()], links=[Link(href="/processes", rel="self")]
    )


@router.get("/processes/{step}")
def process(step: str) -> Process:
    """Describe one step."""
    return _process(step)


def _force(request: Request) -> bool:
    # Most submissions have no query, and to parse none takes as long as to look the answer up.
    said = request.query_params.get("force", "false") if request.scope["query_string"] else "false"
    if said not in ("true", "false"):
        raise ServiceError(f"query.force: {said!r} is neither true nor false")
    return said == "true"


def _call(body: bytes) -> Call:
    try:
        return Call.model_validate_json(body)
    except ValidationError as error:
        raise RequestValidationError([{**each, "loc": ("body", *each["loc"])} for each in error.errors()]) from error


def _check_key(request: Request, key: str) -> None:
    said = request.headers.get("idempotency-key", "")
    if said not in ("", key):
        raise ServiceError(
            f"Idempotency-Key {said} is not the call's key {key}",
            hint="Leave the header out, or send the SHA-256 of the call's canonical JSON (Call.key).",
        )


def _process(name: str) -> Process:
    try:
        step = steps.get(name)
    except StepError as error:
        raise Problem(404, error, NO_SUCH_PROCESS) from error
    return Process(
        id=step.name,
        version=str(step.version),
        title=step.name,
        description=step.description,
        size=step.size,
        repeatable=step.repeatable,
        reads=[table.name for table in step.reads],
        writes=[table.name for table in step.writes],
        links=[
            Link(href=f"/processes/{step.name}", rel="self"),
            Link(href=f"/processes/{step.name}/execution", rel="http://www.opengis.net/def/rel/ogc/1.0/execute"),
        ],
    )
