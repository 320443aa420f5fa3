"""The job store: what is known of every job, in a database that outlives the service.

A state changes by compare-and-set only (:meth:`JobStore.change`), so that of two who end the same job, one wins.
"""

import datetime as dt
import uuid
from collections.abc import Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from marketday.calls import Call, Result
from marketday.client import JobStatus, Link, State

UNFINISHED: tuple[State, ...] = ("accepted", "running")

_METADATA = sa.MetaData()
_JOBS = sa.Table(
    "jobs",
    _METADATA,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("key", sa.String(64), nullable=False, index=True),
    sa.Column("step", sa.String, nullable=False),
    sa.Column("retailer", sa.String, nullable=False),
    sa.Column("day", sa.Date, nullable=False),
    sa.Column("block", sa.String),
    sa.Column("call", sa.JSON, nullable=False),
    sa.Column("definition", sa.String(64), nullable=False),
    sa.Column("run_id", sa.String, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("state", sa.String(10), nullable=False, index=True),
    sa.Column("message", sa.String, nullable=False),
    sa.Column("error", sa.JSON(none_as_null=True)),
    sa.Column("result", sa.JSON(none_as_null=True)),
    # Text in ISO 8601 with its offset: SQLite would drop the time zone of a timestamp.
    sa.Column("created", sa.String(40), nullable=False, index=True),
    sa.Column("started", sa.String(40)),
    sa.Column("finished", sa.String(40)),
    sa.Column("updated", sa.String(40), nullable=False),
)
_ACTIVE = _JOBS.c.state.in_(UNFINISHED)
# The database itself refuses a second unfinished job of the same key.
sa.Index("one_unfinished_job_per_key", _JOBS.c.key, unique=True, sqlite_where=_ACTIVE, postgresql_where=_ACTIVE)


class Ended(NamedTuple):
    """How a job came to its end."""

    state: State
    message: str = ""
    result: dict[str, Any] | None = None
    error: dict[str, Any] | None = None


class JobStore:
    """Jobs in a database, SQLite or any that SQLAlchemy knows."""

    def __init__(self, url: str) -> None:
        self._engine = sa.create_engine(url, pool_pre_ping=True)
        if self._engine.dialect.name == "sqlite":
            sa.event.listen(self._engine, "connect", _share_file)
        _METADATA.create_all(self._engine)

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()

    def create(self, call: Call, run_id: str, definition: str) -> JobStatus:
        """Add an accepted job, the next attempt of its key, for a retailer defined as ``definition`` (a hash) says."""
        now = _now()
        with self._engine.begin() as connection:
            before = connection.scalar(sa.select(sa.func.max(_JOBS.c.attempt)).where(_JOBS.c.key == call.key)) or 0
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
                "attempt": before + 1,
                "state": "accepted",
                "message": "",
                "created": now,
                "updated": now,
            }
            connection.execute(sa.insert(_JOBS).values(row))
        return _status({**dict.fromkeys(_JOBS.c.keys()), **row})

    def get(self, job_id: str) -> JobStatus | None:
        """Return the job, or None."""
        return self._first(_JOBS.c.id == job_id)

    def unfinished(self, key: str) -> JobStatus | None:
        """Return the accepted or running job of that key, or None."""
        return self._first(_JOBS.c.key == key, _ACTIVE)

    def recorded(self, key: str, definition: str) -> JobStatus | None:
        """Return the last successful job of that key under the same definition of the retailer, or None."""
        return self._first(_JOBS.c.key == key, _JOBS.c.definition == definition, _JOBS.c.state == "successful")

    def result(self, job_id: str) -> Result | None:
        """Return the job's result, or None if it has none."""
        with self._engine.connect() as connection:
            data = connection.scalar(sa.select(_JOBS.c.result).where(_JOBS.c.id == job_id))
        return None if data is None else Result.model_validate(data)

    def search(self, *, retailer: str | None = None, state: State | None = None, limit: int = 100) -> list[JobStatus]:
        """Return jobs, the latest first."""
        wanted = [column == value for column, value in ((_JOBS.c.retailer, retailer), (_JOBS.c.state, state)) if value]
        return self._select(wanted, limit)

    def begin(self, job_id: str) -> bool:
        """Make an accepted job a running one; False if it is accepted no more."""
        now = _now()
        return self._change(job_id, ("accepted",), {"state": "running", "started": now, "updated": now})

    def end(self, job_id: str, how: Ended) -> bool:
        """Bring an unfinished job to its end; False if it has ended already, and nothing changes."""
        now = _now()
        return self._change(job_id, UNFINISHED, {**how._asdict(), "finished": now, "updated": now})

    def _change(self, job_id: str, before: Sequence[State], values: dict[str, Any]) -> bool:
        changed = sa.update(_JOBS).where(_JOBS.c.id == job_id, _JOBS.c.state.in_(before)).values(values)
        with self._engine.begin() as connection:
            return connection.execute(changed).rowcount == 1

    def _first(self, *conditions: sa.ColumnElement[bool]) -> JobStatus | None:
        return next(iter(self._select(conditions, 1)), None)

    def _select(self, conditions: Sequence[sa.ColumnElement[bool]], limit: int) -> list[JobStatus]:
        query = (
            sa.select(_JOBS).where(*conditions).order_by(_JOBS.c.created.desc(), _JOBS.c.attempt.desc()).limit(limit)
        )
        with self._engine.connect() as connection:
            return [_status(dict(row)) for row in connection.execute(query).mappings()]


def _status(row: dict[str, Any]) -> JobStatus:
    here = f"/jobs/{row['id']}"
    links = [Link(href=here, rel="self"), Link(href=f"{here}/log", rel="related", type="text/plain", title="Log")]
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


def _now() -> str:
    return dt.datetime.now(dt.UTC).isoformat(timespec="microseconds")


def _share_file(connection: Any, _record: object) -> None:
    """Let readers read while one writes, and writers wait for each other."""
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "busy_timeout=10000"):
        connection.execute(f"PRAGMA {pragma}")
