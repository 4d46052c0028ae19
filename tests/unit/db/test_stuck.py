"""Images that a Glance which died was filling."""

from __future__ import annotations

from datetime import timedelta

import pytest_twisted
from sqlalchemy import update

from glancetx.db.claims import Claims
from glancetx.db.engine import Engine
from glancetx.db.images import Images
from glancetx.db.schema import images as table
from glancetx.domain.claim import UPLOAD, Claim
from glancetx.domain.image import Image, utc_now


async def left(engine: Engine, images: Images, image_id: str, status: str, hours: int) -> None:
    """An image to which nothing has happened for some hours."""
    await images.create(Image(id=image_id, status="queued"))
    values = {"status": status, "size": 7, "updated_at": utc_now() - timedelta(hours=hours)}
    await engine.interact(lambda c: c.execute(update(table).where(table.c.id == image_id).values(values)) and None)


@pytest_twisted.ensureDeferred
async def test_what_nobody_fills_is_queued_again(engine: Engine, images: Images, claims: Claims) -> None:
    """After the time; but not what somebody claims, waits for its import, or is active."""
    for status in ("saving", "importing", "uploading", "active"):
        await left(engine, images, status, status, hours=25)
    await left(engine, images, "fresh", "saving", hours=23)
    await left(engine, images, "claimed", "saving", hours=25)
    await claims.take(Claim(id="c" * 32, kind=UPLOAD, image_id="claimed", store="x", process="p" * 32))
    assert sorted(await images.release_stuck(24 * 3600)) == ["importing", "saving"]
    assert await images.release_stuck(24 * 3600) == []
    found = {name: await images.status(name) for name in ("saving", "importing", "uploading", "fresh", "claimed")}
    assert found == dict.fromkeys(("saving", "importing"), "queued") | {
        "uploading": "uploading",
        "fresh": "saving",
        "claimed": "saving",
    }


@pytest_twisted.ensureDeferred
async def test_nothing_of_its_data_is_known(engine: Engine, images: Images) -> None:
    """A size that was announced is forgotten."""
    from glancetx.domain.context import service_context

    await left(engine, images, "a", "saving", hours=25)
    await images.release_stuck(3600)
    assert (await images.get(service_context(), "a")).size is None
