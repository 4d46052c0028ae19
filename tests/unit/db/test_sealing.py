"""URLs of locations in the database, as Glance encrypts them (D-060..D-062)."""

from __future__ import annotations

from pathlib import Path

import pytest
import pytest_twisted
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from glancetx.config.settings import DatabaseSettings
from glancetx.db.claims import Process
from glancetx.db.copies import Copies
from glancetx.db.engine import Engine
from glancetx.db.images import Images
from glancetx.db.imports import ImportRuns
from glancetx.db.sealing import Seal
from glancetx.domain.claim import LOCATION, Claim
from glancetx.domain.context import service_context
from glancetx.domain.errors import ConfigurationError
from glancetx.domain.image import Image, Location
from glancetx.domain.importing import ImportPlan, ImportRun
from glancetx.domain.task import Task

KEY = "0123456789abcdef"
URL = "swift+https://user:secret@example.org/container/object"
ADMIN = service_context()


@given(st.text(st.characters(exclude_characters="\0", codec="utf-8")), st.sampled_from([16, 24, 32]))
def test_what_is_closed_opens(text: str, size: int) -> None:
    """Whatever its length, with keys of each size; and it is never kept twice in the same way."""
    seal = Seal.of("k" * size)
    kept = seal.close(text)
    assert seal.open(kept) == text
    assert seal.close(text) != kept


def test_what_is_not_encrypted_is_itself() -> None:
    """URLs that Glance left plain, plans that an earlier version did, and what another key has closed."""
    seal = Seal.of(KEY)
    assert seal.open(URL) == URL
    assert seal.open('{"uri": null}') == '{"uri": null}'
    assert seal.open("no base64!") == "no base64!"
    other = Seal.of("another key, too").close(URL)
    assert URL not in seal.open(other)


@pytest.mark.parametrize("key", ["short", "x" * 17, "ü" * 16 + "x"])
def test_keys_of_no_size(key: str) -> None:
    """They are refused at the start."""
    with pytest.raises(ConfigurationError, match="16, 24 or 32"):
        Seal.of(key)


@pytest_twisted.ensureDeferred
async def test_only_the_database_sees_it(settings: DatabaseSettings, tmp_path: Path) -> None:
    """Images are read as they were written, alone and in lists, also changed ones; no URL stands in the file."""
    from twisted.internet import reactor

    from glancetx.db.migrations import prepare
    from glancetx.domain.query import ImageQuery

    engine = Engine(reactor, evolve(settings, encryption_key=KEY))
    await engine.start()
    try:
        await engine.ensure(prepare)
        images = Images(engine)
        made = await images.create(Image(id="a", status="queued", locations=(Location(url=URL),)))
        assert (await images.get(ADMIN, "a")).locations[0].url == URL
        (listed,) = await images.list(ADMIN, ImageQuery(limit=10))
        assert listed.locations[0].url == URL
        second = Location(url="file:///second")
        await images.save(evolve(made, locations=(*made.locations, second)), was="queued")
        found = await images.get(ADMIN, "a")
        assert [location.url for location in found.locations] == [URL, second.url]
        assert found.locations[0].id == made.locations[0].id
        await images.save(evolve(found, status="active"), was="queued")
        copies = Copies(engine)
        await copies.enrol()
        assert {copy.location.url for copy in await copies.in_state("unknown")} == {URL, second.url}
        kept = await engine.read(lambda c: c.exec_driver_sql("SELECT value FROM image_locations").scalars().all())
        assert not any("://" in text for text in kept)
    finally:
        await engine.stop()
    plain = Engine(reactor, settings)
    await plain.start()
    assert URL not in [location.url for location in (await Images(plain).get(ADMIN, "a")).locations]
    await plain.stop()


@pytest_twisted.ensureDeferred
async def test_a_location_that_is_being_added(settings: DatabaseSettings, process: Process) -> None:
    """What is to be done is encrypted as a whole, and read by whoever goes on with it."""
    from twisted.internet import reactor

    from glancetx.db.migrations import prepare

    engine = Engine(reactor, evolve(settings, encryption_key=KEY))
    await engine.start()
    try:
        await engine.ensure(prepare)
        await Images(engine).create(Image(id="a", status="queued"))
        runs = ImportRuns(engine)
        claim = Claim(id="c", kind=LOCATION, image_id="a", store="", process=process.id)
        plan = ImportPlan(method="location", stores=(), multiple=False, uri=URL)
        run = ImportRun(task_id="t", image_id="a", claim="c", host="h", plan=plan)
        await runs.begin("queued", Task(id="t", type="location_import", owner="p"), run, claim, lambda image: image)
        assert await runs.of_claim(claim) == run
        (kept,) = await engine.read(lambda c: c.exec_driver_sql("SELECT plan FROM glancetx_imports").scalars().all())
        assert "secret" not in kept
        assert ImportPlan.from_json(Seal.of(KEY).open(kept)) == plan
    finally:
        await engine.stop()
