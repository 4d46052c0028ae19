"""Data in stores that no image has, and how far each store was gone through."""

from __future__ import annotations

import sqlalchemy as sa

from glancetx.db.migrations.steps import add_index, add_table

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    add_table(
        "glancetx_strays",
        sa.Column("id", sa.String(16), primary_key=True),
        sa.Column("store", sa.String(255), nullable=False),
        sa.Column("image_id", sa.String(36), nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("piece", sa.Boolean, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("changed_at", sa.DateTime, nullable=False),
        sa.Column("first_seen", sa.DateTime, nullable=False),
        sa.Column("walk", sa.Integer, nullable=False),
    )
    add_index("ix_glancetx_strays_store", "glancetx_strays", "store", "first_seen")
    add_table(
        "glancetx_walks",
        sa.Column("store", sa.String(255), primary_key=True),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("step", sa.Integer, nullable=False),
        sa.Column("marker", sa.Text, nullable=False),
        sa.Column("seen", sa.BigInteger, nullable=False),
        sa.Column("began_at", sa.DateTime, nullable=False),
        sa.Column("ended_at", sa.DateTime),
        sa.Column("before", sa.BigInteger, nullable=False),
    )
