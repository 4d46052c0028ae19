"""What each process has to tell of itself."""

from __future__ import annotations

import sqlalchemy as sa

from glancetx.db.migrations.steps import add_table

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    add_table(
        "glancetx_reports",
        sa.Column("process", sa.String(32), primary_key=True),
        sa.Column("reported_at", sa.DateTime, nullable=False),
        sa.Column("report", sa.Text, nullable=False),
    )
