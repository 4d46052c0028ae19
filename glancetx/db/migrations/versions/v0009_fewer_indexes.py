"""Without the indexes for orders that few ask for: every change of an image changes each of them."""

from __future__ import annotations

from glancetx.db.migrations.steps import drop_index

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name in ("owner_updated_at", "owner_size", "owner_status", "owner_id", "visibility_id"):
        drop_index(f"glancetx_{name}", "images")
