"""What a project has is counted, and limits hold whatever is begun at the same time."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import pytest_twisted
from attrs import evolve
from twisted.internet.defer import DeferredList, ensureDeferred
from twisted.python.failure import Failure

from glancetx.db.claims import Claims, Process
from glancetx.db.engine import Engine
from glancetx.db.images import Images
from glancetx.db.usage import usage_of
from glancetx.domain.claim import UPLOAD, Claim
from glancetx.domain.errors import LimitExceeded, StatusConflict
from glancetx.domain.image import Image, Location
from glancetx.domain.limits import UNLIMITED, Limits, Usage

NewImage = Callable[..., Image]
Rows = Callable[..., Awaitable[list[Any]]]
PLACES = (Location(url="file:///one"), Location(url="file:///two"))


def claim_on(image: Image, process: Process, reserved: int = 0) -> Claim:
    return Claim(
        id=uuid.uuid4().hex,
        kind=UPLOAD,
        image_id=image.id,
        store="file",
        process=process.id,
        owner=image.owner,
        reserved=reserved,
    )


@pytest.fixture
def usage(engine: Engine) -> Callable[..., Awaitable[Usage]]:
    async def load(owner: str | None = "ours") -> Usage:
        return await engine.read(usage_of, owner)

    return load


CountUsage = Callable[..., Awaitable[Usage]]


@pytest_twisted.ensureDeferred
async def test_nothing(usage: CountUsage) -> None:
    """A project without images has nothing."""
    assert await usage() == Usage()


@pytest_twisted.ensureDeferred
async def test_counted(
    images: Images, claims: Claims, process: Process, new_image: NewImage, usage: CountUsage
) -> None:
    """Every copy counts, and so do reservations; staged data, images and uploads are counted for themselves."""
    await images.create(new_image(status="active", size=10, locations=PLACES))
    await images.create(new_image(status="deactivated", size=5, locations=PLACES[:1]))
    await images.create(new_image(status="queued"))
    await images.create(new_image(status="uploading", size=100))
    await images.create(new_image(status="importing", size=200))
    saving = await images.create(new_image(status="saving"))
    copying = {"os_glance_importing_to_stores": "a,b"}
    await images.create(new_image(status="active", size=1000, locations=PLACES[:1], properties=copying))
    done = {"os_glance_importing_to_stores": ""}
    await images.create(new_image(status="active", size=1, locations=PLACES[:1], properties=done))
    await claims.take(claim_on(saving, process, 10_000))
    assert await usage() == Usage(
        size_total=20 + 5 + 1000 + 1 + 10_000,
        stage_total=100 + 200 + 1000,
        count_total=8,
        count_uploading=4,
    )  # fmt: skip


@pytest_twisted.ensureDeferred
async def test_not_counted(images: Images, new_image: NewImage, usage: CountUsage) -> None:
    """Others' images and what was deleted do not count."""
    await images.create(new_image(owner="theirs", status="active", size=10, locations=PLACES))
    await images.create(new_image(owner=None, status="active", size=10, locations=PLACES))
    for status in ("killed", "deleted", "pending_delete"):
        await images.create(new_image(status=status, size=10, locations=PLACES))
    gone = await images.create(new_image(status="active", size=10, locations=PLACES))
    await images.save(evolve(gone, locations=gone.locations[:1]), was="active")
    assert (await usage()).size_total == 10
    await images.delete(gone, was="active")
    assert await usage() == Usage()
    assert await usage("theirs") == Usage(size_total=20, count_total=1)
    assert await usage(None) == Usage(size_total=20, count_total=1)


@pytest_twisted.ensureDeferred
async def test_reservation_dies_with_its_claim(
    images: Images, claims: Claims, process: Process, new_image: NewImage, usage: CountUsage
) -> None:
    """What was reserved is free again when an upload is undone, and is replaced by the image when it succeeds."""
    image = await images.create(new_image())
    claim = claim_on(image, process, 70)
    for ended in (True, False):
        saving = await images.begin(evolve(image, status="saving"), "queued", claim, Limits(size_total=70), 70)
        assert (await usage()).size_total == 70
        if ended:
            await images.requeue(claim)
            assert (await usage()).size_total == 0
        else:
            await images.save(
                evolve(saving, status="active", size=70, locations=PLACES[:1]), was="saving", release=claim
            )
            assert (await usage()).size_total == 70


@pytest_twisted.ensureDeferred
async def test_too_much_writes_nothing(images: Images, process: Process, new_image: NewImage, rows: Rows) -> None:
    """An upload beyond the limit is not begun: the image stays queued, and nothing is claimed."""
    image = await images.create(new_image())
    with pytest.raises(LimitExceeded):
        await images.begin(
            evolve(image, status="saving"), "queued", claim_on(image, process, 71), Limits(size_total=70), 71
        )
    assert await rows("SELECT status FROM images") == [("queued",)]
    assert await rows("SELECT id FROM glancetx_claims") == []


@pytest_twisted.ensureDeferred
async def test_at_the_same_time(images: Images, process: Process, new_image: NewImage, usage: CountUsage) -> None:
    """Of many uploads begun at once exactly as many are admitted as the limit has room for."""
    queued = [await images.create(new_image()) for _ in range(20)]
    begun = [
        ensureDeferred(
            images.begin(
                evolve(image, status="saving"), "queued", claim_on(image, process, 30), Limits(size_total=100), 30
            )
        )
        for image in queued
    ]
    outcomes = await DeferredList(begun, consumeErrors=True)
    assert sum(good for good, _ in outcomes) == 3
    assert all(isinstance(what, Failure) and what.check(LimitExceeded) for good, what in outcomes if not good)
    assert (await usage()).size_total == 90


@pytest_twisted.ensureDeferred
async def test_uploads_at_a_time(images: Images, process: Process, new_image: NewImage) -> None:
    """No more uploads than allowed go on at a time."""
    first, second = [await images.create(new_image()) for _ in range(2)]
    limits = Limits(count_uploading=1, unified=True)
    await images.begin(evolve(first, status="saving"), "queued", claim_on(first, process), limits, None)
    with pytest.raises(LimitExceeded, match="image_count_uploading is over limit of 1"):
        await images.begin(evolve(second, status="saving"), "queued", claim_on(second, process), limits, None)


@pytest_twisted.ensureDeferred
async def test_images_at_a_time(images: Images, new_image: NewImage, usage: CountUsage) -> None:
    """Of many images made at once no more are than allowed."""
    limits = Limits(count_total=4, unified=True)
    made = [ensureDeferred(images.create(new_image(), limits)) for _ in range(10)]
    outcomes = await DeferredList(made, consumeErrors=True)
    assert sum(good for good, _ in outcomes) == 4
    assert (await usage()).count_total == 4


@pytest_twisted.ensureDeferred
async def test_reserve(
    images: Images, claims: Claims, process: Process, new_image: NewImage, usage: CountUsage
) -> None:
    """A claim takes more step by step; the last step is what is left; then nothing is."""
    image = await images.create(new_image())
    limits = Limits(size_total=100)
    claim = claim_on(image, process)
    await images.begin(evolve(image, status="saving"), "queued", claim, limits, None)
    assert await claims.reserve(claim, limits, 10, 60) == 60
    assert await claims.reserve(claim, limits, 10, 60) == 40
    with pytest.raises(LimitExceeded, match="0 bytes remaining"):
        await claims.reserve(claim, limits, 1, 60)
    assert (await usage()).size_total == 100
    assert await claims.reserve(claim, UNLIMITED, 10, 60) == 60


@pytest_twisted.ensureDeferred
async def test_reserve_for_a_lost_claim(images: Images, claims: Claims, process: Process, new_image: NewImage) -> None:
    """Who was taken for dead gets no more."""
    image = await images.create(new_image())
    claim = claim_on(image, process)
    await claims.take(claim)
    assert await claims.orphans()
    with pytest.raises(StatusConflict):
        await claims.reserve(claim, Limits(size_total=100), 1, 10)


@pytest_twisted.ensureDeferred
async def test_the_oldest_waits(
    images: Images, claims: Claims, process: Process, new_image: NewImage, rows: Rows
) -> None:
    """Of those that grow, and have taken all, the one that began first waits for the others; they do not wait."""
    limits = Limits(size_total=100)
    growing = []
    for _ in range(3):
        image = await images.create(new_image())
        growing.append(claim_on(image, process))
        await images.begin(evolve(image, status="saving"), "queued", growing[-1], limits, None)
    first, second, third = growing
    for claim, step in ((first, 30), (second, 60), (third, 10)):
        assert await claims.reserve(claim, limits, step, step, wait=True) == step
    assert await claims.reserve(first, limits, 1, 1, wait=True) == 0
    for claim, wait in ((first, False), (second, True), (third, True)):
        with pytest.raises(LimitExceeded):
            await claims.reserve(claim, limits, 1, 1, wait=wait)
    await images.requeue(third)
    await images.requeue(second)
    assert await claims.reserve(first, limits, 1, 200, wait=True) == 70
    with pytest.raises(LimitExceeded):
        await claims.reserve(first, limits, 1, 1, wait=True)
