"""Claims reserve bytes for the project that owns the image; projects take their turns."""

from __future__ import annotations

import sqlalchemy as sa

from glancetx.db.migrations.steps import add_column, add_table

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    add_column("glancetx_claims", sa.Column("owner", sa.String(255)))
    add_column("glancetx_claims", sa.Column("reserved", sa.BigInteger, nullable=False, server_default="0"))
    add_column("glancetx_claims", sa.Column("turn", sa.BigInteger))
    add_table(
        "glancetx_projects",
        sa.Column("id", sa.String(255), primary_key=True),
        sa.Column("turn", sa.BigInteger, nullable=False),
    )
