"""`marketday migrate`: the job store's schema."""

from marketday.cli.console import console


def migrate() -> None:
    """Bring the job store to the schema that this release needs: once after each upgrade, before `marketday serve`.

    The job store is the database that MARKETDAY_JOBS_URL names (SQLite or PostgreSQL), or `jobs.db` in MARKETDAY_HOME.
    A new one is made, an older one is changed, jobs are kept. A second time changes nothing, and two at the same time
    wait for each other; at an error nothing is changed at all. Stop the services that use the store first: the service
    itself never changes the schema, and refuses to start on another one. `marketday up` and `run --embedded` migrate by
    themselves.

    Example: marketday migrate
    """
    import sqlalchemy as sa

    from marketday import settings as configuration
    from marketday.service import database, migrations

    settings = configuration.load()
    before, after = migrations.migrate(settings.jobs_database)
    console.print(f"Job store  {database.shown(sa.make_url(settings.jobs_database))}", markup=False)
    console.print(f"  was at   {before or 'no revision'}")
    console.print(f"  is at    {after}" + ("; nothing was to be done" if before == after else ""))
    console.print(f"  head is  {migrations.head()}, which this release needs")
