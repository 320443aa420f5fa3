"""Client of the step service. Light on purpose: Airflow's triggerer imports it.

Every call has a timeout, and every failure is one of :mod:`marketday.errors`: no answer or no free slot is
:class:`ServiceUnavailable`, a failed job is its step's own error, a job whose process vanished is :class:`JobLost`.
"""

import datetime as dt
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

import httpx
from pydantic import BaseModel, ConfigDict, Field

from marketday.calls import Call, Result
from marketday.errors import DeliveryError, ServiceError, ServiceUnavailable, from_dict

State = Literal["accepted", "running", "successful", "failed", "dismissed"]

FINAL: frozenset[State] = frozenset({"successful", "failed", "dismissed"})
"""States that never change again."""

MAX_WAIT = 60.0
"""Seconds that one status call may wait for a job to end; below the idle timeouts of common proxies."""

_UNAVAILABLE = (
    httpx.codes.TOO_MANY_REQUESTS,
    httpx.codes.INTERNAL_SERVER_ERROR,
    httpx.codes.BAD_GATEWAY,
    httpx.codes.SERVICE_UNAVAILABLE,
    httpx.codes.GATEWAY_TIMEOUT,
)
"""Answers that may be others later, unless they carry an error of ours."""
_DELIVERY_TIMEOUT = 120.0
"""Seconds; the service reads a delivered file to its end before it answers."""


class Link(BaseModel):
    """A link to something beside the job."""

    href: str
    rel: str
    type: str = "application/json"
    title: str = ""


class JobStatus(BaseModel):
    """One execution of a step: `statusInfo` of OGC API - Processes, and which call it carries out."""

    model_config = ConfigDict(frozen=True, populate_by_name=True, serialize_by_alias=True)

    job_id: str = Field(alias="jobID")
    process_id: str = Field(alias="processID", description="Name of the step.")
    type: Literal["process"] = "process"
    status: State
    message: str = ""
    created: dt.datetime
    started: dt.datetime | None = None
    finished: dt.datetime | None = None
    updated: dt.datetime
    key: str = Field(description="Idempotency key: equal calls have equal keys.")
    retailer: str
    day: dt.date
    block: str | None = None
    run_id: str = Field(default="", description="Airflow's run that asked for it, for logs.")
    attempt: int = Field(ge=1, description="How many-th job of this key it is.")
    error: dict[str, Any] | None = Field(default=None, description="Why it failed: `MarketdayError.to_dict`.")
    links: list[Link] = Field(default_factory=list)

    @property
    def final(self) -> bool:
        """Whether the state will never change again."""
        return self.status in FINAL


class StepServiceClient:
    """Calls to one step service; a context manager that closes its connections."""

    def __init__(self, url: str, *, timeout: float = 10.0) -> None:
        self.url = url.rstrip("/")
        self.timeout = timeout
        # The service is inside our own network: a proxy that the environment names for the outside would not find it.
        self._options: dict[str, Any] = {"base_url": self.url, "timeout": timeout, "trust_env": False}
        self._client = httpx.Client(**self._options)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def submit(self, call: Call, force: bool = False, *, run_id: str = "") -> JobStatus:
        """Start the call's job, or join the one that has the same key; ``force`` passes over a recorded result.

        Raises:
            ServiceUnavailable: no slot is free (with ``retry_after``), or no answer.
            StepError: there is no such step, or not in that version.
            RetailerError: the retailer is not defined.

        """
        answer = self._send(
            "POST",
            f"/processes/{call.step}/execution",
            params={"force": force},
            headers={"Idempotency-Key": call.key, "X-Run-ID": run_id, "Content-Type": "application/json"},
            content=call.model_dump_json(),
        )
        return JobStatus.model_validate(answer.json())

    def status(self, job_id: str, wait: float = 0.0) -> JobStatus:
        """Return the job's state, as soon as it is final or ``wait`` seconds (60 at most) are over."""
        return JobStatus.model_validate(self._send("GET", f"/jobs/{job_id}", **self._waiting(wait)).json())

    async def astatus(self, job_id: str, wait: float = 0.0) -> JobStatus:
        """Do what :meth:`status` does, without holding a thread."""
        return JobStatus.model_validate((await self._asend("GET", f"/jobs/{job_id}", **self._waiting(wait))).json())

    def result(self, job_id: str) -> Result:
        """Return a successful job's result.

        Raises:
            MarketdayError: the error of a failed job, rebuilt; :class:`ServiceError` if it is unfinished or dismissed.

        """
        return Result.model_validate(self._send("GET", f"/jobs/{job_id}/results").json())

    def cancel(self, job_id: str) -> JobStatus:
        """End the job and everything that it started; a job that is final stays what it is."""
        return JobStatus.model_validate(self._send("DELETE", f"/jobs/{job_id}").json())

    def log(self, job_id: str) -> str:
        """Return what the job has logged."""
        return self._send("GET", f"/jobs/{job_id}/log").text

    def deliver_table(self, retailer: str, day: dt.date, table: str, path: Path) -> dict[str, Any]:
        """Send one table of a delivery, a Parquet file; a second time replaces the first.

        Raises:
            DeliveryError: it is not the table that the catalogue describes.

        """
        with path.open("rb") as file:
            measured: dict[str, Any] = self._send(
                "PUT",
                f"/retailers/{retailer}/deliveries/{day}/{table}",
                content=file,
                headers={"Content-Type": "application/vnd.apache.parquet"},
                timeout=_DELIVERY_TIMEOUT,
            ).json()
        return measured

    def complete_delivery(self, retailer: str, day: dt.date, kind: Literal["history", "daily"]) -> dict[str, Any]:
        """Hand the sent tables over as one delivery and return its receipt; doing it again returns the same receipt.

        Raises:
            DeliveryError: a required table was not sent.

        """
        receipt: dict[str, Any] = self._send(
            "POST",
            f"/retailers/{retailer}/deliveries/{day}/complete",
            params={"kind": kind},
            timeout=_DELIVERY_TIMEOUT,
        ).json()
        return receipt

    def delivery(self, retailer: str, day: dt.date) -> dict[str, Any] | None:
        """Return the receipt of the day's last accepted delivery, or None; an unknown retailer is a RetailerError."""
        try:
            receipt: dict[str, Any] = self._send("GET", f"/retailers/{retailer}/deliveries/{day}").json()
        except DeliveryError:
            return None
        return receipt

    def last_delivered(self, retailer: str, before: dt.date) -> dt.date | None:
        """Return the last day before ``before`` that has an accepted delivery, or None."""
        answer = self._send("GET", f"/retailers/{retailer}/deliveries", params={"before": str(before)}).json()
        return None if answer["last_day"] is None else dt.date.fromisoformat(answer["last_day"])

    async def adelivery(self, retailer: str, day: dt.date) -> dict[str, Any] | None:
        """Do what :meth:`delivery` does, without holding a thread."""
        try:
            receipt: dict[str, Any] = (await self._asend("GET", f"/retailers/{retailer}/deliveries/{day}")).json()
        except DeliveryError:
            return None
        return receipt

    def _waiting(self, wait: float) -> dict[str, Any]:
        seconds = min(wait, MAX_WAIT)
        return {"params": {"wait": seconds}, "timeout": self.timeout + seconds}

    def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            return _checked(self._client.request(method, path, **options))
        except httpx.TransportError as error:
            raise self._unavailable(error) from error

    async def _asend(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            async with httpx.AsyncClient(**self._options) as client:
                return _checked(await client.request(method, path, **options))
        except httpx.TransportError as error:
            raise self._unavailable(error) from error

    def _unavailable(self, error: httpx.TransportError) -> ServiceUnavailable:
        return ServiceUnavailable(
            f"The step service at {self.url} does not answer: {type(error).__name__} {error}".rstrip(),
            hint="Start it with `marketday serve`, or set MARKETDAY_SERVICE_URL to where it runs.",
        )


def _checked(answer: httpx.Response) -> httpx.Response:
    if answer.is_success:
        return answer
    problem = _problem(answer)
    error = problem.get("error")
    if isinstance(error, Mapping) and answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
        raise from_dict(dict(error))
    if answer.status_code in _UNAVAILABLE:
        after = answer.headers.get("Retry-After", "")
        message = str(problem.get("detail") or f"The step service answers {answer.status_code}")
        raise ServiceUnavailable(message, retry_after=float(after) if after.isdigit() else None)
    raise ServiceError(f"{answer.request.method} {answer.request.url}: {answer.status_code}: {problem.get('detail')}")


def _problem(answer: httpx.Response) -> Mapping[str, Any]:
    """Return the problem details (RFC 9457), or the text of an answer that has none, such as a proxy's."""
    if answer.headers.get("Content-Type", "").startswith("application/problem+json"):
        problem = answer.json()
        if isinstance(problem, Mapping):
            return problem
    return {"detail": answer.text[:500]}
