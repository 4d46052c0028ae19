"""Imports on their way: what each is to do, and under which claim."""

from __future__ import annotations

import sqlalchemy as sa

from glancetx.db.migrations.steps import add_index, add_table

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    add_table(
        "glancetx_imports",
        sa.Column("task_id", sa.String(36), primary_key=True),
        sa.Column("image_id", sa.String(36), nullable=False),
        sa.Column("claim", sa.String(32), nullable=False),
        sa.Column("host", sa.String(255), nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("plan", sa.Text, nullable=False),
        sa.Column("step", sa.String(30), nullable=False),
        sa.Column("staged", sa.String(255)),
    )
    add_index("ix_glancetx_imports_claim", "glancetx_imports", "claim")
