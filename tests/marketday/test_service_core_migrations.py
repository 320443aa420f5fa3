"""The job store's schema: made and changed by a command only, all or nothing, and the service insists on it."""

import sqlite3
import subprocess
import sys
import threading

import pytest
import throwaway_postgres
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from typer.testing import CliRunner

from marketday import cli
from marketday.errors import SettingsError
from marketday.service import migrations
from marketday.service.database import METADATA, engine
from marketday.service.migrations import Migrated
from marketday.service.store import JobStore

HEAD = "0003"
OLD_SCHEMA = """
    CREATE TABLE jobs (id VARCHAR(32) NOT NULL, "key" VARCHAR(64) NOT NULL, step VARCHAR NOT NULL,
        retailer VARCHAR NOT NULL, day DATE NOT NULL, block VARCHAR, call JSON NOT NULL,
        definition VARCHAR(64) NOT NULL, run_id VARCHAR NOT NULL, attempt INTEGER NOT NULL,
        state VARCHAR(10) NOT NULL, message VARCHAR NOT NULL, error JSON, result JSON,
        created VARCHAR(40) NOT NULL, started VARCHAR(40), finished VARCHAR(40), updated VARCHAR(40) NOT NULL,
        PRIMARY KEY (id));
    CREATE INDEX ix_jobs_state ON jobs (state);
    CREATE INDEX ix_jobs_created ON jobs (created);
    CREATE INDEX ix_jobs_key ON jobs ("key");
    CREATE UNIQUE INDEX one_unfinished_job_per_key ON jobs ("key") WHERE state IN ('accepted', 'running');
"""
OLD_JOB = """INSERT INTO jobs VALUES ('{state}', '{state}', 'probe', 'simulated', '2026-03-02', NULL, '{{}}', 'd', '',
    1, '{state}', '', NULL, '{{}}', '2026-03-02T04:00:00.000000+00:00', NULL, NULL,
    '2026-03-02T04:00:00.000000+00:00')"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "jobs.db"


@pytest.fixture
def url(path):
    return f"sqlite:///{path}"


@pytest.fixture
def old(path):
    """A database that a service made by itself, before there were revisions."""
    with sqlite3.connect(path) as database:
        database.executescript(OLD_SCHEMA)
        for state in ("successful", "running"):
            database.execute(OLD_JOB.format(state=state))


def differences(url):
    opened = engine(url)
    with opened.connect() as connection:
        found = compare_metadata(MigrationContext.configure(connection), METADATA)
    opened.dispose()
    return found


def test_a_new_database_gets_the_tables_that_the_store_works_with_and_a_second_time_changes_nothing(url):
    assert migrations.head() == HEAD
    assert migrations.migrate(url) == Migrated(None, HEAD)
    assert differences(url) == []
    assert migrations.migrate(url) == Migrated(HEAD, HEAD)
    migrations.require_head(url)


def test_postgresql_gets_the_same_tables():
    with throwaway_postgres.running() as url:
        with pytest.raises(SettingsError, match="no revision"):
            migrations.require_head(url)
        assert migrations.migrate(url) == Migrated(None, HEAD)
        assert differences(url) == []
        migrations.require_head(url)


def test_a_database_from_before_there_were_revisions_is_adopted_with_its_jobs(url, old):
    assert migrations.migrate(url) == Migrated(None, HEAD)
    assert differences(url) == []
    store = JobStore(url)
    done = store.get("successful")
    assert (done.status, done.size, done.service, done.peak_memory) == ("successful", None, "", None)
    assert [job.job_id for job in store.expired()] == ["running"], "its service knew of no lease"
    store.close()


def test_many_migrations_at_the_same_time_are_as_one(url):
    done = []
    threads = [threading.Thread(target=lambda: done.append(migrations.migrate(url))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(done, key=str) == [Migrated(HEAD, HEAD)] * 3 + [Migrated(None, HEAD)]


def test_a_migration_that_fails_changes_nothing_and_says_why(url, path, old):
    with sqlite3.connect(path) as database:
        database.execute("ALTER TABLE jobs ADD COLUMN peak_memory TEXT")
        before = database.execute("SELECT sql FROM sqlite_master ORDER BY name").fetchall()
    with pytest.raises(SettingsError, match="cannot be migrated: duplicate column name: peak_memory"):
        migrations.migrate(url)
    with sqlite3.connect(path) as database:
        assert database.execute("SELECT sql FROM sqlite_master ORDER BY name").fetchall() == before


def test_a_database_of_a_newer_release_is_left_alone(url, path):
    migrations.migrate(url)
    with sqlite3.connect(path) as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    for refuse in (migrations.migrate, migrations.require_head):
        with pytest.raises(SettingsError, match="9999, which this release does not know") as refused:
            refuse(url)
        assert "MARKETDAY_JOBS_URL" in refused.value.hint


def test_a_database_that_cannot_be_reached_is_named_without_its_password():
    for refuse in (migrations.migrate, migrations.require_head):
        with pytest.raises(SettingsError, match=r"127\.0\.0\.1:9/jobs cannot be opened") as refused:
            refuse("postgresql://marketday:secret@127.0.0.1:9/jobs")
        assert "secret" not in str(refused.value)


def test_the_folder_of_a_database_is_made_by_the_command_only(tmp_path):
    url = f"sqlite:///{tmp_path / 'home' / 'jobs.db'}"
    with pytest.raises(SettingsError, match="cannot be opened"):
        migrations.require_head(url)
    assert not (tmp_path / "home").exists()
    migrations.migrate(url)
    migrations.require_head(url)


def test_the_service_refuses_a_database_that_is_not_migrated_and_does_not_touch_it(settings, old, path, monkeypatch):
    monkeypatch.setenv("MARKETDAY_JOBS_URL", f"sqlite:///{path}")
    refused = CliRunner().invoke(cli.app, ["serve", "--port", "8999"])
    assert refused.exit_code == 1
    assert f"has no revision, and this release needs {HEAD}" in refused.stderr
    assert "marketday migrate" in refused.stderr
    with sqlite3.connect(path) as database:
        assert database.execute("SELECT state FROM jobs WHERE id = 'running'").fetchall() == [("running",)]
        assert database.execute("SELECT name FROM sqlite_master WHERE name = 'alembic_version'").fetchall() == []


def test_importing_the_service_makes_no_database(tmp_path):
    program = "import marketday.service.server, marketday.service.migrations"
    subprocess.run([sys.executable, "-c", program], check=True, cwd=tmp_path, env={"MARKETDAY_HOME": str(tmp_path)})
    assert list(tmp_path.iterdir()) == []


def test_the_command_says_from_where_to_where_it_went(settings):
    first = CliRunner().invoke(cli.app, ["migrate"])
    assert first.exit_code == 0, first.output
    assert settings.jobs_database in first.stdout
    assert "was at   no revision" in first.stdout
    assert f"is at    {HEAD}" in first.stdout
    assert f"head is  {HEAD}" in first.stdout
    again = CliRunner().invoke(cli.app, ["migrate"])
    assert f"is at    {HEAD}; nothing was to be done" in again.stdout
    migrations.require_head(settings.jobs_database)
