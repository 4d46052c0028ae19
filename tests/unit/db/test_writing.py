"""What several want to write at once, in one transaction: each has what he wanted, or nobody anything."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from typing import Any

import pytest
import pytest_twisted
from attrs import evolve
from twisted.internet.defer import DeferredList, ensureDeferred

from glancetx.db.engine import Engine
from glancetx.db.images import Images
from glancetx.db.schema import images as table
from glancetx.db.telling import Transaction, nobody, on_commit
from glancetx.db.writing import Creation, Deletion, Save, create_images, delete_images, save_images
from glancetx.domain.context import service_context
from glancetx.domain.errors import ImageChanged, ImageExists, ImageNotFound, LimitExceeded, StatusConflict
from glancetx.domain.image import Image, Location
from glancetx.domain.limits import UNLIMITED, Limits

ADMIN = service_context()
NewImage = Callable[..., Image]
Rows = Callable[..., Awaitable[list[Any]]]


def creation(image: Image, limits: Limits = UNLIMITED) -> Creation:
    return Creation(image, limits, nobody)


def renamed(image: Image, name: str) -> Save:
    return Save(evolve(image, name=name), image.status, None, None, image, nobody)


def deletion(image: Image, status: str = "deleted") -> Deletion:
    return Deletion(image, image.status, None, status, nobody)


async def ended(wanted: Iterable[Coroutine[Any, Any, Any]]) -> list[Any]:
    """What came of *wanted*, asked for at once."""
    outcomes: list[Any] = await DeferredList([ensureDeferred(each) for each in wanted], consumeErrors=True)
    return outcomes


async def found(images: Images, several: Sequence[Image]) -> list[Image]:
    return [await images.get(ADMIN, each.id) for each in several]


@pytest_twisted.ensureDeferred
async def test_create(engine: Engine, images: Images, new_image: NewImage) -> None:
    """Each image has what belongs to it, and no other's."""
    place = Location(url="file:///a")
    wanted = [
        new_image(name="a", properties={"b": "c", "d": None}, locations=(place,)),
        new_image(name="e", owner="theirs", tags=("f", "g"), locations=(place, evolve(place, url="file:///h"))),
        new_image(),
    ]
    created = await engine.interact(create_images, [creation(each) for each in wanted])
    assert [each.id for each in created] == [each.id for each in wanted]
    assert [dict(each.properties) for each in created] == [{"b": "c", "d": None}, {}, {}]
    assert [each.tags for each in created] == [(), ("f", "g"), ()]
    assert [[place.url for place in each.locations] for each in created] == [
        ["file:///a"], ["file:///a", "file:///h"], [],
    ]  # fmt: skip
    assert await found(images, created) == created


@pytest_twisted.ensureDeferred
async def test_create_fails(engine: Engine, new_image: NewImage, count: Callable[..., Awaitable[int]]) -> None:
    """If one cannot be, none is; limits count what is created beside."""
    one = new_image()
    with pytest.raises(ImageExists):
        await engine.interact(create_images, [creation(new_image()), creation(one), creation(one)])
    with pytest.raises(LimitExceeded):
        await engine.interact(create_images, [creation(new_image(), Limits(count_total=1)) for _ in range(2)])
    assert await count(table) == 0


@pytest_twisted.ensureDeferred
async def test_save(engine: Engine, images: Images, new_image: NewImage) -> None:
    """Each image is as it was wanted, whatever else is saved."""
    created = [await images.create(new_image(properties={"a": str(number)})) for number in range(3)]
    wanted = [
        renamed(created[2], "two"),
        Save(evolve(created[0], tags=("t",), properties={}), "queued", None, None, created[0], nobody),
        Save(evolve(created[1], min_ram=5), "queued", None, None, None, nobody),
    ]
    saved = await engine.interact(save_images, wanted)
    assert [each.id for each in saved] == [created[number].id for number in (2, 0, 1)]
    assert await found(images, saved) == saved
    assert [(each.name, each.tags, each.min_ram, len(each.properties)) for each in saved] == [
        ("two", (), 0, 1), (None, ("t",), 0, 0), (None, (), 5, 1),
    ]  # fmt: skip


@pytest_twisted.ensureDeferred
async def test_save_fails(engine: Engine, images: Images, new_image: NewImage) -> None:
    """Two changes of one image are one too many, and one of what has another status; nobody's is written then."""
    one, other = await images.create(new_image()), await images.create(new_image())
    with pytest.raises(ImageChanged):
        await engine.interact(save_images, [renamed(one, "a"), renamed(other, "b"), renamed(one, "c")])
    with pytest.raises(StatusConflict):
        await engine.interact(save_images, [renamed(one, "a"), evolve(renamed(other, "b"), was="active")])
    assert await found(images, [one, other]) == [one, other]


@pytest_twisted.ensureDeferred
async def test_delete(engine: Engine, images: Images, new_image: NewImage, rows: Rows) -> None:
    """Each image, and what belongs to it, gets its own status; what nobody wanted deleted stays."""
    made = [
        await images.create(new_image(tags=("a",), properties={"b": "c"}, locations=(Location(url="file:///d"),)))
        for _ in range(4)
    ]
    made[2] = await images.save(evolve(made[2], status="deactivated"), was="queued")
    wanted = [deletion(made[0]), deletion(made[1], "pending_delete"), deletion(made[2])]
    assert await engine.interact(delete_images, wanted) == [None] * 3
    assert await found(images, made[3:]) == made[3:]
    expected = {(made[0].id, "deleted"), (made[1].id, "pending_delete"), (made[2].id, "deleted")}
    assert set(await rows("SELECT id, status FROM images WHERE deleted = true")) == expected
    assert set(await rows("SELECT image_id, status FROM image_locations WHERE deleted = true")) == expected
    for child in ("image_properties", "image_tags"):
        assert await rows(f"SELECT image_id FROM {child} WHERE deleted = false") == [(made[3].id,)]


@pytest.mark.parametrize("again", [True, False])
@pytest_twisted.ensureDeferred
async def test_delete_fails(engine: Engine, images: Images, new_image: NewImage, again: bool) -> None:
    """If one is not what it was, or was deleted a moment ago, nothing is."""
    one, other = await images.create(new_image(tags=("a",))), await images.create(new_image(tags=("b",)))
    third = deletion(one) if again else evolve(deletion(other), was="active")
    with pytest.raises(StatusConflict):
        await engine.interact(delete_images, [deletion(one), third])
    assert await found(images, [one, other]) == [one, other]


@pytest_twisted.ensureDeferred
async def test_last_statements(engine: Engine, images: Images, new_image: NewImage) -> None:
    """Who writes nothing more than the last statements is told whether they were written, alone and among others."""
    told: list[str] = []

    def tell(transaction: Transaction, image: Image) -> None:
        on_commit(transaction, lambda: told.append(image.id))

    one, two, three, four = [await images.create(new_image()) for _ in range(4)]
    with pytest.raises(StatusConflict):
        await images.delete(one, "active", tell=tell)
    wanted: list[Coroutine[Any, Any, Any]] = [
        images.save(evolve(one, name="a"), "queued", base=one, tell=tell),
        images.delete(two, "queued", tell=tell),
        images.delete(three, "active", tell=tell),
        images.delete(two, "queued", tell=tell),
    ]
    outcomes = await ended(wanted)
    assert [done for done, _ in outcomes[:2]] == [True, True]
    assert outcomes[2][1].check(StatusConflict)
    assert outcomes[3][1].check(StatusConflict)
    assert sorted(told) == sorted([one.id, two.id])
    assert (await images.get(ADMIN, one.id)).name == "a"
    assert (await images.get(ADMIN, three.id)) == three
    with pytest.raises(ImageNotFound):
        await images.get(ADMIN, two.id)
    outcomes = await ended(  # SQLite keeps any name
        images.save(evolve(each, name=name), "queued", base=each) for each, name in ((three, "b"), (four, "x" * 300))
    )
    assert outcomes[0] == (True, await images.get(ADMIN, three.id))
    assert outcomes[0][1].name == "b"
