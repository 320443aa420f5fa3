"""The tables of the service's database, and the way to it: SQLite or PostgreSQL."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

from marketday.errors import ServiceUnavailable, SettingsError

UNFINISHED = ("accepted", "running")

PATIENCE_SECONDS = 5
"""For a connection, a statement or a lock: what a caller can wait for, and shorter than the usual lease."""

_RETRY_AFTER_SECONDS = 5.0
"""What a caller is told to wait where the database does not answer."""

_THREADS = 40
"""Threads of the HTTP server: what anyio starts at most."""

METADATA = sa.MetaData()
JOBS = sa.Table(
    "jobs",
    METADATA,
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
    # Text in ISO 8601 with its offset, always of the same length: SQLite would drop the time zone of a timestamp.
    sa.Column("created", sa.String(40), nullable=False, index=True),
    sa.Column("started", sa.String(40)),
    sa.Column("finished", sa.String(40)),
    sa.Column("updated", sa.String(40), nullable=False),
    # Null and empty in jobs that ended before these were recorded.
    sa.Column("size", sa.String(2)),
    sa.Column("service", sa.String, nullable=False, server_default=""),
    sa.Column("lease", sa.String(40), nullable=False, server_default=""),
    sa.Column("peak_memory", sa.BigInteger),
)
ACTIVE = JOBS.c.state.in_(UNFINISHED)
# The database itself refuses a second unfinished job of the same key.
sa.Index("one_unfinished_job_per_key", JOBS.c.key, unique=True, sqlite_where=ACTIVE, postgresql_where=ACTIVE)
# Metrics ask for each step's latest day at every scrape.
sa.Index("ix_jobs_latest_day", JOBS.c.state, JOBS.c.retailer, JOBS.c.step, JOBS.c.day)
# What retailers show to deliver: of each token, its hash.
TOKENS = sa.Table(
    "tokens",
    METADATA,
    sa.Column("id", sa.String(12), primary_key=True),
    sa.Column("retailer", sa.String, nullable=False, index=True),
    sa.Column("label", sa.String, nullable=False),
    sa.Column("hash", sa.String(64), nullable=False, unique=True),
    sa.Column("created", sa.String(40), nullable=False),
    sa.Column("last_used", sa.String(40)),
    sa.Column("expires", sa.String(40)),
    sa.Column("revoked", sa.String(40)),
)

_HINT = "Give one such as postgresql://user:password@host/database, or unset it for SQLite in MARKETDAY_HOME."


def engine(url: str, patience: int = PATIENCE_SECONDS) -> sa.Engine:
    """Return an engine that waits for the database for ``patience`` seconds at most.

    Raises:
        SettingsError: the URL is none, or of neither SQLite nor PostgreSQL.

    """
    try:
        parsed = sa.make_url(url)
        if parsed.get_backend_name() == "sqlite":
            # One connection for each thread that may ask: to open a file again costs more than to ask it.
            made = sa.create_engine(parsed, pool_size=_THREADS, connect_args={"timeout": patience})
            sa.event.listen(made, "connect", _share_file)
            return made
        if parsed.get_backend_name() == "postgresql":
            options = {name: value for name, value in _libpq(patience).items() if name not in parsed.query}
            return sa.create_engine(parsed, pool_pre_ping=True, pool_timeout=patience, connect_args=options)
    except (sa.exc.ArgumentError, ImportError) as error:
        raise SettingsError(f"MARKETDAY_JOBS_URL is no address of a job store: {error}", hint=_HINT) from error
    raise SettingsError(f"MARKETDAY_JOBS_URL={shown(parsed)} is neither SQLite nor PostgreSQL", hint=_HINT)


@contextmanager
def transaction(opened: sa.Engine) -> Iterator[sa.Connection]:
    """Give a connection whose changes stay if the block ends without an error.

    Raises:
        ServiceUnavailable: the database does not answer within some seconds.

    """
    try:
        with opened.begin() as connection:
            yield connection
    except (sa.exc.OperationalError, sa.exc.InterfaceError, sa.exc.InternalError, sa.exc.TimeoutError) as error:
        reason = str(getattr(error, "orig", error)).split("\n", 1)[0]
        raise ServiceUnavailable(
            f"The job store {shown(opened.url)} does not answer: {reason}",
            hint="Look at the database; the service goes on by itself as soon as it answers again.",
            retry_after=_RETRY_AFTER_SECONDS,
        ) from error


def shown(url: sa.URL) -> str:
    """Return the URL as it may be shown: without its password."""
    return url.render_as_string(hide_password=True)


def _libpq(patience: int) -> dict[str, Any]:
    """Return PostgreSQL's own words for how long to wait."""
    return {
        "connect_timeout": patience,
        "tcp_user_timeout": patience * 1000,
        "options": f"-c statement_timeout={patience}s -c lock_timeout={patience}s",
    }


def _share_file(connection: Any, _record: object) -> None:
    """Let readers read while one writes."""
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL"):
        connection.execute(f"PRAGMA {pragma}")
