"""What retailers show to deliver: the hashes of their tokens."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "tokens",
        sa.Column("id", sa.String(12), primary_key=True),
        sa.Column("retailer", sa.String, nullable=False),
        sa.Column("label", sa.String, nullable=False),
        sa.Column("hash", sa.String(64), nullable=False, unique=True),
        sa.Column("created", sa.String(40), nullable=False),
        sa.Column("last_used", sa.String(40)),
        sa.Column("expires", sa.String(40)),
        sa.Column("revoked", sa.String(40)),
    )
    op.create_index("ix_tokens_retailer", "tokens", ["retailer"])
