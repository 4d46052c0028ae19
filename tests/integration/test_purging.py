"""`tests.integration.purging` on a SQLite file; on the others in `tests.integration.db.test_glance`."""

from __future__ import annotations

from glancetx.db.engine import transact
from glancetx.db.migrations import prepare
from tests.integration.purging import compare_purges
from tests.integration.test_glance_database import Glance, glance, synced

__all__ = ["glance", "synced"]


def test_same_purge(synced: Glance) -> None:
    """Our purge leaves what Glance's leaves, with the same limits."""
    transact(synced.settings, prepare)
    compare_purges(synced)
