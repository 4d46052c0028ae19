"""Leases for what one process does for all, and how the copies of images are."""

from __future__ import annotations

import sqlalchemy as sa

from glancetx.db.migrations.steps import add_index, add_table

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    add_table(
        "glancetx_leases",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("process", sa.String(32), nullable=False),
    )
    add_table(
        "glancetx_copies",
        sa.Column("location_id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("image_id", sa.String(36), nullable=False),
        sa.Column("state", sa.String(12), nullable=False),
        sa.Column("audited_at", sa.DateTime, nullable=False),
        sa.Column("detail", sa.String(255)),
    )
    add_index("ix_glancetx_copies_audited_at", "glancetx_copies", "audited_at")
    add_index("ix_glancetx_copies_state", "glancetx_copies", "state")
