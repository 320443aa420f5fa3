"""The job store's schema, as Alembic revisions in ``versions``.

`marketday migrate` applies them, the service never does.

They only go forward. A release that must run beside an older one, or go back to it, gives each a database of its own.
"""

from pathlib import Path
from typing import NamedTuple

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from marketday.errors import SettingsError
from marketday.service.database import engine, shown

_LOCK = 8_600_001
"""Number of PostgreSQL's advisory lock that lets one migration run at a time; any number that nobody else takes."""
_PATIENCE_SECONDS = 60
"""For another migration, for statements of the services that go on, and for a large table's new index."""


class Migrated(NamedTuple):
    """Revisions of a database; None: it has none."""

    before: str | None
    after: str | None


def migrate(url: str) -> Migrated:
    """Bring the database to this release's revision, all of it or, at the first error, nothing; twice is as once.

    Where there is no database, SQLite gets one, with its folder; PostgreSQL's must be there, and may be empty. One from
    before there were revisions, whose jobs have no ``alembic_version`` beside them, is adopted. Of two that migrate at
    the same time, one waits for the other.

    Raises:
        SettingsError: the database cannot be reached or changed, or was migrated by a newer release.

    """
    opened = engine(url, patience=_PATIENCE_SECONDS)
    if opened.dialect.name == "sqlite":
        Path(str(opened.url.database)).parent.mkdir(parents=True, exist_ok=True)
        # By itself the driver would begin a transaction at the first INSERT only: two migrations would meet half-way.
        sa.event.listen(opened, "connect", _no_transactions_of_its_own)
        sa.event.listen(opened, "begin", _lock_file)
    config = _config()
    try:
        with _connected(opened) as connection, connection.begin():
            if connection.dialect.name == "postgresql":
                connection.execute(sa.text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
            before = _revision(connection)
            _refuse_newer(before, opened.url)
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            return Migrated(before, _revision(connection))
    except sa.exc.DBAPIError as error:
        raise SettingsError(
            f"The job store {shown(opened.url)} cannot be migrated: {error.orig}",
            hint="Nothing was changed. Stop the services that use it, remove the cause, and migrate again.",
        ) from error
    finally:
        opened.dispose()


def require_head(url: str) -> None:
    """Look whether the database has exactly this release's schema, and change nothing.

    Raises:
        SettingsError: it has not, or it cannot be reached; says what to do.

    """
    opened = engine(url)
    try:
        with _connected(opened) as connection:
            current = _revision(connection)
    finally:
        opened.dispose()
    _refuse_newer(current, opened.url)
    if current != head():
        raise SettingsError(
            f"The job store {shown(opened.url)} has {_named(current)}, and this release needs {head()}",
            hint="Run `marketday migrate` with the same MARKETDAY_HOME and MARKETDAY_JOBS_URL, then start it again.",
        )


def head() -> str:
    """Return the revision that this release needs."""
    return str(ScriptDirectory.from_config(_config()).get_current_head())


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", f"{__name__.rpartition('.')[0]}:migrations")
    return config


def _refuse_newer(revision: str | None, url: sa.URL) -> None:
    known = {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}
    if revision is not None and revision not in known:
        raise SettingsError(
            f"The job store {shown(url)} has revision {revision}, which this release does not know",
            hint="A newer release has migrated it: run that one, or give this one a database of its own with "
            "MARKETDAY_JOBS_URL.",
        )


def _named(revision: str | None) -> str:
    return f"revision {revision}" if revision else "no revision"


def _connected(opened: sa.Engine) -> sa.Connection:
    try:
        return opened.connect()
    except sa.exc.OperationalError as error:
        raise SettingsError(
            f"The job store {shown(opened.url)} cannot be opened: {error.orig}",
            hint="Start the database, or set MARKETDAY_JOBS_URL to one that answers.",
        ) from error


def _revision(connection: sa.Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _no_transactions_of_its_own(connection: sa.engine.interfaces.DBAPIConnection, _record: object) -> None:
    connection.isolation_level = None


def _lock_file(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")
