"""Who may see which image by its id, and in a list (api.md, 2.6 and A-047, A-048, A-059)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import pytest
import pytest_twisted

from glancetx.db.images import Images
from glancetx.domain.context import RequestContext, service_context
from glancetx.domain.errors import ImageNotFound, Invalid
from glancetx.domain.image import Image
from glancetx.domain.query import ImageQuery

NewImage = Callable[..., Image]
AddMember = Callable[..., Awaitable[None]]

VISIBILITIES: Final = ("private", "shared", "community", "public")
US: Final = RequestContext(project_id="ours")
ANYBODY: Final = RequestContext()
ADMIN: Final = RequestContext(project_id="ours", is_admin=True)


async def sees(images: Images, context: RequestContext, image: Image) -> bool:
    try:
        await images.get(context, image.id)
    except ImageNotFound:
        return False
    return True


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("visibility", VISIBILITIES)
async def test_own(images: Images, new_image: NewImage, visibility: str) -> None:
    """A project sees its own images."""
    assert await sees(images, US, await images.create(new_image(visibility=visibility)))


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("context", [US, ANYBODY])
@pytest.mark.parametrize("visibility", VISIBILITIES)
async def test_foreign(images: Images, new_image: NewImage, visibility: str, context: RequestContext) -> None:
    """Of others' images one sees those that are public or community."""
    image = await images.create(new_image(owner="theirs", visibility=visibility))
    assert await sees(images, context, image) is (visibility in ("public", "community"))


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("visibility", VISIBILITIES)
async def test_nobodys(images: Images, new_image: NewImage, visibility: str) -> None:
    """Everybody sees an image without an owner (D-085)."""
    assert await sees(images, US, await images.create(new_image(owner=None, visibility=visibility)))


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("visibility", VISIBILITIES)
async def test_admin(images: Images, new_image: NewImage, visibility: str) -> None:
    """An admin sees every image that is not deleted."""
    assert await sees(images, ADMIN, await images.create(new_image(owner="theirs", visibility=visibility)))


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("status", ["pending", "accepted", "rejected"])
async def test_member(images: Images, new_image: NewImage, add_member: AddMember, status: str) -> None:
    """A member sees a shared image whatever it answered."""
    image = await images.create(new_image(owner="theirs", visibility="shared"))
    await add_member(image, "ours", status)
    assert await sees(images, US, image)


@pytest_twisted.ensureDeferred
async def test_former_member(images: Images, new_image: NewImage, add_member: AddMember) -> None:
    """Whose membership was deleted sees nothing, nor does a member of an image that is private now (A-098)."""
    shared = await images.create(new_image(owner="theirs", visibility="shared"))
    private = await images.create(new_image(owner="theirs", visibility="private"))
    await add_member(shared, "ours", deleted=True)
    await add_member(private, "ours")
    assert not await sees(images, US, shared)
    assert not await sees(images, US, private)


@pytest_twisted.ensureDeferred
async def test_killed(images: Images, new_image: NewImage) -> None:
    """A killed image is readable by its id and never listed (D-057)."""
    image = await images.create(new_image(status="killed"))
    assert await sees(images, US, image)
    assert await images.list(US, ImageQuery(limit=9)) == []
    assert await images.list(ADMIN, ImageQuery(limit=9, equal={"status": "killed"})) == []


LISTED = {
    # asked for: what a project, an admin of the same project, and somebody without a project see
    None: (
        "our-private our-shared our-community our-public their-public accepted",
        "our-private our-shared our-community our-public their-private their-shared their-public"
        " accepted pending rejected once-shared nobodys",
        "our-public their-public",
    ),
    "all": (
        "our-private our-shared our-community our-public their-community their-public accepted",
        "our-private our-shared our-community our-public their-private their-shared their-community their-public"
        " accepted pending rejected once-shared nobodys",
        "our-community our-public their-community their-public",
    ),
    "public": ("our-public their-public", "our-public their-public", "our-public their-public"),
    "private": ("our-private", "our-private their-private once-shared nobodys", ""),
    "shared": ("our-shared accepted", "our-shared their-shared accepted pending rejected", ""),
    "community": (
        "our-community their-community",
        "our-community their-community",
        "our-community their-community",
    ),
}


async def fill(images: Images, new_image: NewImage, add_member: AddMember) -> None:
    for owner, prefix in (("ours", "our"), ("theirs", "their")):
        for visibility in VISIBILITIES:
            await images.create(new_image(name=f"{prefix}-{visibility}", owner=owner, visibility=visibility))
    for status in ("accepted", "pending", "rejected"):
        image = await images.create(new_image(name=status, owner="theirs", visibility="shared"))
        await add_member(image, "ours", status)
    once = await images.create(new_image(name="once-shared", owner="theirs", visibility="private"))
    await add_member(once, "ours")
    await images.create(new_image(name="nobodys", owner=None, visibility="private"))
    left = await images.create(new_image(name="left", owner="theirs", visibility="private"))
    await add_member(left, "ours", deleted=True)
    await images.delete(left, was="queued")


async def names(images: Images, context: RequestContext, query: ImageQuery) -> set[str | None]:
    return {image.name for image in await images.list(context, query)}


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("visibility", list(LISTED))
async def test_listed(images: Images, new_image: NewImage, add_member: AddMember, visibility: str | None) -> None:
    """What a list shows, for every visibility one may ask for."""
    await fill(images, new_image, add_member)
    query = ImageQuery(limit=99, visibility=visibility)
    for context, wanted in zip((US, ADMIN, ANYBODY), LISTED[visibility], strict=True):
        assert await names(images, context, query) == set(wanted.split())


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("status", ["accepted", "pending", "rejected"])
async def test_member_status(images: Images, new_image: NewImage, add_member: AddMember, status: str) -> None:
    """A member status chooses among the images shared with us; our own are there in any case."""
    await fill(images, new_image, add_member)
    query = ImageQuery(limit=99, visibility="shared", member_status=status)
    assert await names(images, US, query) == {"our-shared", status}


@pytest_twisted.ensureDeferred
async def test_any_member_status(images: Images, new_image: NewImage, add_member: AddMember) -> None:
    """The member status "all" chooses all images shared with us."""
    await fill(images, new_image, add_member)
    query = ImageQuery(limit=99, visibility="shared", member_status="all")
    assert await names(images, US, query) == {"our-shared", "accepted", "pending", "rejected"}


@pytest_twisted.ensureDeferred
async def test_admin_without_project(images: Images, new_image: NewImage, add_member: AddMember) -> None:
    """An admin of no project sees no community image unless it asks."""
    await fill(images, new_image, add_member)
    seen = await names(images, service_context(), ImageQuery(limit=99))
    assert "their-private" in seen
    assert not {"our-community", "their-community"} & seen


@pytest_twisted.ensureDeferred
async def test_unknown_visibility(images: Images) -> None:
    """A visibility that does not exist is refused."""
    with pytest.raises(Invalid):
        await images.list(US, ImageQuery(limit=9, visibility="secret"))
