"""The job store: what is known of every job, in a database that outlives the service and that all replicas share.

A state changes by compare-and-set only, so that of two who end the same job, one wins. A job belongs to the service
that accepted it for as long as its lease runs; whoever finds the lease over may end the job as lost. Leases are told by
the clock (UTC) of the host that asks, so the hosts' clocks must agree to within a fifth of a lease.
"""

import datetime as dt
import sqlite3
import uuid
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from marketday.calls import Call, Result
from marketday.client import JobStatus, Link, State
from marketday.service.database import ACTIVE, JOBS, UNFINISHED, engine, transaction
from marketday.settings import Size
from marketday.telemetry.metrics import Recorded


class Ended(NamedTuple):
    """How a job came to its end; ``peak_memory`` is in bytes."""

    state: State
    message: str = ""
    result: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
    peak_memory: int | None = None


class JobStore:
    """Jobs in a migrated database, SQLite or PostgreSQL.

    Every method raises ServiceUnavailable if the database does not answer within some seconds.
    """

    def __init__(self, url: str) -> None:
        self.engine = engine(url)
        self._observer: Any = None

    def close(self) -> None:
        """Close the connections."""
        if self._observer is not None:
            self._observer.close()
        self.engine.dispose()

    def revision(self) -> int | None:
        """Return a number that is another one after every change of the store, whoever made it.

        It is there at once, without waiting; None where the store could not tell so fast. One thread may ask.
        """
        if self.engine.dialect.name != "sqlite":
            return None
        try:
            if self._observer is None:
                # SQLite counts the changes that come from other connections, so this one is used for nothing else.
                self._observer = sqlite3.connect(self.engine.url.database or "", timeout=0, check_same_thread=False)
            (revision,) = self._observer.execute("PRAGMA data_version").fetchone()
        except sqlite3.OperationalError:  # whoever asks it anything else will hear why
            return None
        return int(revision)

    def create(
        self,
        call: Call,
        *,
        definition: str,
        size: Size,
        service: str,
        lease: float,
        run_id: str = "",
        message: str = "",
    ) -> tuple[JobStatus, bool]:
        """Add an accepted job, the next attempt of its key, or return the unfinished one of that key: (job, is new).

        ``definition`` is a hash of what the result depends on beside the call; ``service`` owns the job for ``lease``
        seconds, and for longer if it renews them.
        """
        attempts = sa.select(sa.func.coalesce(sa.func.max(JOBS.c.attempt), 0)).where(JOBS.c.key == call.key)
        row = {
            "id": uuid.uuid4().hex,
            "key": call.key,
            "step": call.step,
            "retailer": call.retailer,
            "day": call.day,
            "block": call.block,
            "call": call.model_dump(mode="json"),
            "definition": definition,
            "run_id": run_id,
            "attempt": attempts.scalar_subquery() + 1,
            "state": "accepted",
            "message": message,
            "created": _now(),
            "updated": _now(),
            "size": size,
            "service": service,
            "lease": _now(lease),
        }
        insert = sa.insert(JOBS).values(row).returning(JOBS)
        try:
            with transaction(self.engine) as connection:
                return _status(dict(connection.execute(insert).mappings().one())), True
        except sa.exc.IntegrityError:
            # Another replica was first. Its job is the latest of the key, and joined though it may have ended since.
            return self.attempts(call.key, 1)[0], False

    def get(self, job_id: str) -> JobStatus | None:
        """Return the job, or None."""
        return self._first(JOBS.c.id == job_id)

    def unfinished(self, key: str) -> JobStatus | None:
        """Return the accepted or running job of that key, or None."""
        return self._first(JOBS.c.key == key, ACTIVE)

    def unfinished_of(self, service: str) -> list[JobStatus]:
        """Return the accepted and running jobs that belong to a service."""
        return self._select([JOBS.c.service == service, ACTIVE])

    def unfinished_among(self, job_ids: Collection[str]) -> set[str]:
        """Return those of the jobs that are accepted or running."""
        with transaction(self.engine) as connection:
            return set(connection.scalars(sa.select(JOBS.c.id).where(JOBS.c.id.in_(job_ids), ACTIVE)))

    def attempts(self, key: str, limit: int = 10) -> list[JobStatus]:
        """Return the jobs of that key, the last attempt first; an unfinished one is always the last."""
        return self._select([JOBS.c.key == key], limit, order=(JOBS.c.attempt.desc(),))

    def recorded(self, key: str, definition: str) -> JobStatus | None:
        """Return the last successful job of that key under the same definition of the retailer, or None."""
        return self._first(JOBS.c.key == key, JOBS.c.definition == definition, JOBS.c.state == "successful")

    def result(self, job_id: str) -> Result | None:
        """Return the job's result, or None if it has none."""
        with transaction(self.engine) as connection:
            data = connection.scalar(sa.select(JOBS.c.result).where(JOBS.c.id == job_id))
        return None if data is None else Result.model_validate(data)

    def call(self, job_id: str) -> Call:
        """Return the call that a job, which there must be, carries out."""
        with transaction(self.engine) as connection:
            return Call.model_validate(
                connection.execute(sa.select(JOBS.c.call).where(JOBS.c.id == job_id)).scalar_one()
            )

    def search(self, *, retailer: str | None = None, state: State | None = None, limit: int = 100) -> list[JobStatus]:
        """Return jobs, the latest first."""
        wanted = [column == value for column, value in ((JOBS.c.retailer, retailer), (JOBS.c.state, state)) if value]
        return self._select(wanted, limit)

    def begin(self, job_id: str) -> JobStatus | None:
        """Make an accepted job a running one and return it; None if it is accepted no more."""
        begun = sa.update(JOBS).where(JOBS.c.id == job_id, JOBS.c.state == "accepted")
        values = {"state": "running", "started": _now(), "updated": _now()}
        with transaction(self.engine) as connection:
            row = connection.execute(begun.values(values).returning(JOBS)).mappings().one_or_none()
        return None if row is None else _status(dict(row))

    def end(self, job_id: str, how: Ended, *, if_expired: bool = False) -> bool:
        """Bring an unfinished job to its end; False if it has ended already, and nothing changes.

        ``if_expired`` also asks that its lease is over. A job that ends without a message keeps the one that it had.
        """
        values = {name: value for name, value in how._asdict().items() if value not in ("", None)}
        ended = sa.update(JOBS).where(JOBS.c.id == job_id, ACTIVE, *([_expired()] if if_expired else []))
        with transaction(self.engine) as connection:
            done = connection.execute(ended.values(**values, finished=_now(), updated=_now()))
        return done.rowcount == 1

    def renew(self, job_ids: Collection[str], lease: float) -> set[str]:
        """Make the leases of unfinished jobs run for ``lease`` seconds from now, and return which of them these are."""
        renewed = sa.update(JOBS).where(JOBS.c.id.in_(job_ids), ACTIVE).values(lease=_now(lease))
        with transaction(self.engine) as connection:
            return set(connection.scalars(renewed.returning(JOBS.c.id)))

    def expired(self) -> list[JobStatus]:
        """Return the unfinished jobs whose lease is over, whoever owned them."""
        return self._select([ACTIVE, _expired()])

    def for_metrics(self) -> Recorded:
        """Return what the metrics tell of all services' jobs."""
        successful = JOBS.c.state == "successful"
        latest = (
            sa.select(JOBS.c.retailer, JOBS.c.step, sa.func.max(JOBS.c.day).label("day"))
            .where(successful)
            .group_by(JOBS.c.retailer, JOBS.c.step)
            .subquery()
        )
        of_latest_day = sa.and_(*(JOBS.c[name] == latest.c[name] for name in ("retailer", "step", "day")))
        query = sa.select(JOBS).join(latest, of_latest_day).where(successful).order_by(JOBS.c.finished)
        with transaction(self.engine) as connection:
            rows = [dict(row) for row in connection.execute(query).mappings()]
        last = {(row["retailer"], row["step"], row["block"]): row for row in rows}
        successes = [(_status(row), Result.model_validate(row["result"])) for row in last.values()]
        return Recorded(successes, self._select([ACTIVE]))

    def _first(self, *conditions: sa.ColumnElement[bool]) -> JobStatus | None:
        return next(iter(self._select(conditions, 1)), None)

    def _select(
        self,
        conditions: Sequence[sa.ColumnElement[bool]],
        limit: int = 10_000,
        order: Sequence[sa.ColumnElement[Any]] = (JOBS.c.created.desc(), JOBS.c.attempt.desc()),
    ) -> list[JobStatus]:
        with transaction(self.engine) as connection:
            rows = connection.execute(sa.select(JOBS).where(*conditions).order_by(*order).limit(limit))
            return [_status(dict(row)) for row in rows.mappings()]


def _status(row: dict[str, Any]) -> JobStatus:
    here = f"/jobs/{row['id']}"
    links = [
        Link(href=here, rel="self"),
        Link(href=f"{here}?f=html", rel="alternate", type="text/html", title="Page"),
        Link(href=f"{here}/logs", rel="related", type="text/plain", title="Log"),
    ]
    if row["state"] not in UNFINISHED:
        results = "http://www.opengis.net/def/rel/ogc/1.0/results"
        links.append(Link(href=f"{here}/results", rel=results, title="Result"))
    names = JobStatus.model_fields.keys() & row.keys()
    return JobStatus(
        job_id=row["id"],
        process_id=row["step"],
        status=row["state"],
        links=links,
        **{name: row[name] for name in names},
    )


def _expired() -> sa.ColumnElement[bool]:
    return JOBS.c.lease < _now()


def _now(ahead: float = 0.0) -> str:
    return (dt.datetime.now(dt.UTC) + dt.timedelta(seconds=ahead)).isoformat(timespec="microseconds")
