"""Indexes on Glance's tables, which lead through lists in their order, and from what images have to images.

They have names of ours. Glance's tools leave them alone, as they leave alone those that an operator adds. Those that
0009 drops are not made any more.
"""

from __future__ import annotations

from glancetx.db.migrations.steps import add_index

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    orders = {"visibility": ("created_at", "updated_at", "name", "size", "status"), "owner": ("created_at", "name")}
    for first, names in orders.items():
        for key in names:
            keys = (key, "id") if key == "created_at" else (key, "created_at", "id")
            add_index(f"glancetx_{first}_{key}", "images", first, "deleted", "os_hidden", *keys)
    add_index("glancetx_properties", "image_properties", "name", "value", prefix={"value": 100})
    add_index("glancetx_tags", "image_tags", "value", "deleted", "image_id")
    add_index("glancetx_members", "image_members", "member", "deleted", "status", "image_id")
