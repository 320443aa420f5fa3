"""The table of jobs, as services made it by themselves before there were revisions; such a table is adopted."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create the table where there is none."""
    if sa.inspect(op.get_bind()).has_table("jobs"):
        return
    op.create_table(
        "jobs",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("step", sa.String, nullable=False),
        sa.Column("retailer", sa.String, nullable=False),
        sa.Column("day", sa.Date, nullable=False),
        sa.Column("block", sa.String),
        sa.Column("call", sa.JSON, nullable=False),
        sa.Column("definition", sa.String(64), nullable=False),
        sa.Column("run_id", sa.String, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("message", sa.String, nullable=False),
        sa.Column("error", sa.JSON),
        sa.Column("result", sa.JSON),
        sa.Column("created", sa.String(40), nullable=False),
        sa.Column("started", sa.String(40)),
        sa.Column("finished", sa.String(40)),
        sa.Column("updated", sa.String(40), nullable=False),
    )
    for column in ("key", "state", "created"):
        op.create_index(f"ix_jobs_{column}", "jobs", [column])
    unfinished = sa.text("state IN ('accepted', 'running')")
    op.create_index(
        "one_unfinished_job_per_key",
        "jobs",
        ["key"],
        unique=True,
        sqlite_where=unfinished,
        postgresql_where=unfinished,
    )
