"""Images get the copies that the operator's rules want."""

from __future__ import annotations

from pathlib import Path

import pytest_twisted
from attrs import evolve

from glancetx.domain.placement import Rule
from glancetx.services.placer import AT_ONCE
from glancetx.testing.fakes import until
from tests.functional.test_verified_reads import two_stores
from tests.running import Started

CONTENT = b"0123456789" * 1000


@pytest_twisted.ensureDeferred
async def test_copies_are_made(start: Started, tmp_path: Path) -> None:
    """Of those that the rule names, hidden ones too, a few at a time; what has its copies is left alone."""
    from twisted.internet import reactor

    settings = two_stores(tmp_path)
    rules = (Rule.parse("visibility=public -> first,second"),)
    api = await start(evolve(settings, audit=evolve(settings.audit, rules=rules)))
    wanted = [await api.create(visibility="public", os_hidden=number == 0) for number in range(AT_ONCE + 1)]
    other = await api.create(visibility="private")
    for image_id in (*wanted, other):
        await api.upload(image_id, CONTENT)
    placer = api.service.background.placer
    assert await placer.run_once() == AT_ONCE

    def copied() -> int:
        return sum((tmp_path / "second" / image_id).exists() for image_id in wanted)

    await until(reactor, lambda: copied() == AT_ONCE, patience=60)
    while copied() <= AT_ONCE:
        await placer.run_once()  # what is still being copied is left alone
    assert await placer.run_once() == 0
    for image_id in wanted:
        assert (tmp_path / "second" / image_id).read_bytes() == CONTENT
    assert not (tmp_path / "second" / other).exists()
