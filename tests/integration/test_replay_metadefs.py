"""Requests about metadata definitions to a real Glance and to us: the same answers (api.md, section 11)."""

from __future__ import annotations

import pytest_twisted

from tests.integration import test_replay as replay
from tests.integration.scripts.metadefs import METADEFS

prepared, play = replay.prepared, replay.play


@pytest_twisted.ensureDeferred
async def test_metadefs(play: replay.Play) -> None:
    """Namespaces of metadata definitions, and what is in them."""
    found = await play(METADEFS)
    assert not found, replay.told(found)
