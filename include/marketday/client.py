"""Client of the step service. Light on purpose: Airflow's triggerer imports it.

Every call has a timeout, and every failure is one of :mod:`marketday.errors`: no answer or no free slot is
:class:`ServiceUnavailable`, a failed job is its step's own error, a job whose process vanished is :class:`JobLost`.
"""

import datetime as dt
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

import httpx
from pydantic import BaseModel, ConfigDict, Field, RootModel, ValidationError

from marketday.calls import Call, Result
from marketday.errors import DeliveryError, ServiceError
from marketday.transport import Transport

State = Literal["accepted", "running", "successful", "failed", "dismissed"]

FINAL: frozenset[State] = frozenset({"successful", "failed", "dismissed"})
"""States that never change again."""

MAX_WAIT = 60.0
"""Seconds that one status call may wait for a job to end; below the idle timeouts of common proxies."""

_DELIVERY_LIMIT = 900.0
"""Seconds; the service reads a delivered file to its end, and checks a delivery, before it answers."""

_CHUNK = 1 << 20
_PARQUET = {"Content-Type": "application/vnd.apache.parquet"}

_Model = TypeVar("_Model", bound=BaseModel)


class Link(BaseModel):
    """A link to something beside the job."""

    href: str
    rel: str
    type: str = "application/json"
    title: str = ""


class Process(BaseModel):
    """A step, as the API shows it: `process` of OGC API - Processes, with the tables that it reads and writes."""

    id: str
    version: str
    title: str = ""
    description: str = ""
    jobControlOptions: list[str] = ["async-execute", "dismiss"]  # noqa: N815  OGC's name
    size: Literal["S", "M", "L", "XL"] = Field(description="Resource class, where the retailer names no other.")
    repeatable: bool = Field(description="Whether a recorded result may stand for a second execution.")
    reads: list[str]
    writes: list[str]
    links: list[Link] = Field(default_factory=list)


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
    size: Literal["S", "M", "L", "XL"] | None = Field(default=None, description="Resource class that it runs in.")
    service: str = Field(default="", description="Which replica of the step service carries it out.")
    peak_memory: int | None = Field(default=None, description="Most memory of all its processes, in bytes.")
    error: dict[str, Any] | None = Field(default=None, description="Why it failed: `MarketdayError.to_dict`.")
    links: list[Link] = Field(default_factory=list)

    @property
    def final(self) -> bool:
        """Whether the state will never change again."""
        return self.status in FINAL


class _Data(RootModel[dict[str, Any]]):
    """JSON as it comes."""


class StepServiceClient:
    """Calls to one step service; a context manager that closes its connections.

    ``token`` is what the service asks for, if it does; ``timeout`` is the limit of one HTTP call in seconds, beyond
    what the call itself asks the service to wait. ``headers`` are asked for at each call, such as those of a trace.
    The methods that begin with ``a`` are coroutines: use one client for all of an event loop, and :meth:`aclose` it.
    """

    def __init__(
        self, url: str, *, token: str = "", timeout: float = 10.0, headers: Callable[[], Mapping[str, str]] = dict
    ) -> None:
        self._transport = Transport(url, token=token, timeout=timeout, headers=headers)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def url(self) -> str:
        """Address of the service."""
        return self._transport.url

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    async def aclose(self) -> None:
        """Close the connections, also those of coroutines."""
        self._transport.close()
        await self._transport.aclose()

    def process(self, step: str) -> Process:
        """Return what the service knows of a step.

        Raises:
            StepError: there is none of that name.

        """
        return _read(Process, self._transport.send("GET", f"/processes/{step}"))

    def submit(self, call: Call, force: bool = False, *, run_id: str = "") -> JobStatus:
        """Start the call's job, or join the one that has the same key; ``force`` passes over a recorded result.

        Raises:
            ServiceUnavailable: no slot is free (with ``retry_after``), or no answer.
            StepError: there is no such step, or not in that version.
            RetailerError: the retailer is not defined.

        """
        answer = self._transport.send(
            "POST",
            f"/processes/{call.step}/execution",
            params={"force": force},
            headers={"Idempotency-Key": call.key, "X-Run-ID": run_id, "Content-Type": "application/json"},
            content=call.model_dump_json(),
        )
        return _read(JobStatus, answer)

    def status(self, job_id: str, wait: float = 0.0) -> JobStatus:
        """Return the job's state, as soon as it is final or ``wait`` seconds (60 at most) are over."""
        return _read(JobStatus, self._transport.send("GET", f"/jobs/{job_id}", **self._waiting(wait)))

    async def astatus(self, job_id: str, wait: float = 0.0) -> JobStatus:
        """Do what :meth:`status` does, without holding a thread."""
        return _read(JobStatus, await self._transport.asend("GET", f"/jobs/{job_id}", **self._waiting(wait)))

    def result(self, job_id: str) -> Result:
        """Return a successful job's result.

        Raises:
            MarketdayError: the error of a failed job, rebuilt; :class:`ServiceError` if it is unfinished or dismissed.

        """
        return _read(Result, self._transport.send("GET", f"/jobs/{job_id}/results"))

    def cancel(self, job_id: str) -> JobStatus:
        """End the job and everything that it started; a job that is final stays what it is."""
        return _read(JobStatus, self._transport.send("DELETE", f"/jobs/{job_id}"))

    async def acancel(self, job_id: str) -> JobStatus:
        """Do what :meth:`cancel` does, without holding a thread."""
        return _read(JobStatus, await self._transport.asend("DELETE", f"/jobs/{job_id}"))

    def log(self, job_id: str) -> str:
        """Return the end of what the job has logged so far.

        Raises:
            ServiceError: there is no such job, or its log lies on another replica of the service.

        """
        return self._transport.send("GET", f"/jobs/{job_id}/logs").text

    def deliver_table(
        self,
        retailer: str,
        day: dt.date,
        table: str,
        path: Path,
        *,
        headers: Mapping[str, str] = _PARQUET,
        tell: Callable[[int], object] = bool,
    ) -> dict[str, Any]:
        """Send one table of a delivery; a second time replaces the first.

        ``headers`` are the file's ``Content-Type`` and ``Content-Encoding``; ``tell`` is given the size of every part
        that is on its way.

        Raises:
            DeliveryError: it is not the table that the catalogue describes, or more than is taken.

        """

        def parts() -> Iterator[bytes]:
            with path.open("rb") as file:
                while part := file.read(_CHUNK):
                    yield part
                    tell(len(part))

        answer = self._transport.send(
            "PUT",
            f"/retailers/{retailer}/deliveries/{day}/{table}",
            content=parts(),
            headers={**headers, "Content-Length": str(path.stat().st_size)},
            limit=_DELIVERY_LIMIT,
        )
        return _read(_Data, answer).root

    def complete_delivery(self, retailer: str, day: dt.date, kind: Literal["history", "daily"]) -> dict[str, Any]:
        """Hand the sent tables over as one delivery and return its receipt; doing it again returns the same receipt.

        It has, per table, the rows received, accepted and quarantined, and what a correction changes.

        Raises:
            DeliveryError: a required table was not sent.

        """
        path = f"/retailers/{retailer}/deliveries/{day}/complete"
        return _read(_Data, self._transport.send("POST", path, params={"kind": kind}, limit=_DELIVERY_LIMIT)).root

    def delivery(self, retailer: str, day: dt.date) -> dict[str, Any] | None:
        """Return the receipt of the day's last accepted delivery, or None; an unknown retailer is a RetailerError."""
        try:
            answer = self._transport.send("GET", f"/retailers/{retailer}/deliveries/{day}")
        except DeliveryError:
            return None
        return _read(_Data, answer).root

    async def adelivery(self, retailer: str, day: dt.date, wait: float = 0.0) -> dict[str, Any] | None:
        """Do what :meth:`delivery` does, without holding a thread, as soon as there is one or ``wait`` seconds over."""
        try:
            path = f"/retailers/{retailer}/deliveries/{day}"
            answer = await self._transport.asend("GET", path, **self._waiting(wait))
        except DeliveryError:
            return None
        return _read(_Data, answer).root

    def last_delivered(self, retailer: str, before: dt.date) -> dt.date | None:
        """Return the last day before ``before`` that has an accepted delivery, or None."""
        answer = self._transport.send("GET", f"/retailers/{retailer}/deliveries", params={"before": str(before)})
        last = _read(_Data, answer).root["last_day"]
        return None if last is None else dt.date.fromisoformat(last)

    def _waiting(self, wait: float) -> dict[str, Any]:
        seconds = min(wait, MAX_WAIT)
        return {"params": {"wait": seconds}, "limit": self._transport.timeout + seconds}


def _read(model: type[_Model], answer: httpx.Response) -> _Model:
    try:
        return model.model_validate_json(answer.content)
    except ValidationError as error:
        raise ServiceError(
            f"{answer.request.method} {answer.request.url}: the answer is not one of a step service:"
            f" {answer.headers.get('Content-Type')}: {answer.text[:100]!r}",
            hint="See where MARKETDAY_SERVICE_URL leads to, and that the service is not of a much older release.",
        ) from error
