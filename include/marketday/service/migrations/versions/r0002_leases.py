"""Who owns a job and until when, what it may use, and what it used.

The lease of a job that is unfinished when this is applied is over: its service did not know of leases.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the columns."""
    op.add_column("jobs", sa.Column("size", sa.String(2)))
    op.add_column("jobs", sa.Column("service", sa.String, nullable=False, server_default=""))
    op.add_column("jobs", sa.Column("lease", sa.String(40), nullable=False, server_default=""))
    op.add_column("jobs", sa.Column("peak_memory", sa.BigInteger))
    # Metrics ask for each step's latest day at every scrape.
    op.create_index("ix_jobs_latest_day", "jobs", ["state", "retailer", "step", "day"])
