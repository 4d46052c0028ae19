"""Filters, sorting and paging of lists (api.md, section 2.3)."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any, Final

import pytest
import pytest_twisted
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, text
from twisted.internet.defer import ensureDeferred
from twisted.internet.threads import blockingCallFromThread, deferToThread

from glancetx.db.engine import Engine
from glancetx.db.images import Images
from glancetx.db.paging import Sort
from glancetx.domain.context import RequestContext, service_context
from glancetx.domain.errors import Invalid
from glancetx.domain.image import Image, Location
from glancetx.domain.query import SORT_KEYS, DateFilter, ImageQuery

NewImage = Callable[..., Image]

ADMIN: Final = service_context()
US: Final = RequestContext(project_id="ours")
NOON: Final = datetime(2026, 1, 1, 12)
BY_NAME: Final = (("name", "asc"), ("id", "asc"))


async def names(images: Images, **query: Any) -> list[str | None]:
    """The names of what is listed, in the order of the names."""
    found = await images.list(ADMIN, ImageQuery(**{"limit": 99, "sort": BY_NAME, **query}))
    return [image.name for image in found]


async def make(images: Images, new_image: NewImage, *fields: dict[str, Any]) -> list[Image]:
    """Images named a, b, c, ..., with *fields*."""
    made = []
    for letter, values in zip("abcdefgh", fields, strict=False):
        made.append(await images.create(new_image(**{"name": letter, **values})))
    return made


@pytest_twisted.ensureDeferred
async def test_whole_images(images: Images, new_image: NewImage) -> None:
    """A listed image is the same as one read by its id, children and all."""
    created = await images.create(
        new_image(tags=("b", "a"), properties={"x": "1"}, locations=(Location(url="file:///1"),), size=5)
    )
    assert await images.list(ADMIN, ImageQuery(limit=1)) == [created]


@pytest_twisted.ensureDeferred
async def test_empty(images: Images, new_image: NewImage) -> None:
    """A limit of 0 lists nothing."""
    await make(images, new_image, {})
    assert await names(images, limit=0) == []


@pytest_twisted.ensureDeferred
async def test_deleted(images: Images, new_image: NewImage) -> None:
    """Deleted images are not listed."""
    made = await make(images, new_image, {}, {})
    await images.delete(made[0], was="queued")
    assert await names(images) == ["b"]


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("status", "active"),
        ("container_format", "bare"),
        ("disk_format", "raw"),
        ("owner", "x"),
        ("checksum", "c" * 32),
        ("os_hash_algo", "sha512"),
        ("os_hash_value", "e" * 128),
        ("size", 2**40),
        ("virtual_size", 7),
        ("min_ram", 7),
        ("min_disk", 7),
        ("protected", True),
        ("visibility", "public"),
    ],
)
async def test_equal(images: Images, new_image: NewImage, field: str, value: Any) -> None:
    """Every base column can be asked for by its value."""
    await make(images, new_image, {}, {field: value})
    assert await names(images, equal={field: value}) == ["b"]


@pytest_twisted.ensureDeferred
async def test_equal_name_and_id(images: Images, new_image: NewImage) -> None:
    """Several filters must all hold."""
    made = await make(images, new_image, {}, {})
    assert await names(images, equal={"name": "b"}) == ["b"]
    assert await names(images, equal={"id": made[0].id}) == ["a"]
    assert await names(images, equal={"id": made[0].id, "name": "b"}) == []


@pytest_twisted.ensureDeferred
async def test_equal_is_exact(images: Images, new_image: NewImage) -> None:
    """Letters differ from others that look alike."""
    await make(images, new_image, {}, {}, {"name": "B"})
    assert await names(images, equal={"name": "b"}) == ["b"]


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(("value", "found"), [("7", ["a"]), ("seven", []), ("", []), ("7.0", []), (2**70, [])])
async def test_number_as_text(images: Images, new_image: NewImage, value: Any, found: list[str]) -> None:
    """A number is found by its text; what is no number finds nothing (A-053)."""
    await make(images, new_image, {"size": 7}, {})
    assert await names(images, equal={"size": value}) == found


@pytest_twisted.ensureDeferred
async def test_any_of(images: Images, new_image: NewImage) -> None:
    """One of several values is enough; none of none (A-044)."""
    await make(images, new_image, {}, {}, {})
    assert await names(images, any_of={"name": ("a", "c", "x,y")}) == ["a", "c"]
    assert await names(images, any_of={"name": ()}) == []


@pytest_twisted.ensureDeferred
async def test_range(images: Images, new_image: NewImage) -> None:
    """Bounds include their value and leave out what has none (A-046)."""
    await make(images, new_image, {"size": 1}, {"size": 2}, {"size": 3}, {})
    assert await names(images, minimum={"size": 2}) == ["b", "c"]
    assert await names(images, maximum={"size": 2}) == ["a", "b"]
    assert await names(images, minimum={"size": 2, "min_ram": 1}) == []


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    ("operator", "found"),
    [("eq", "b"), ("neq", "ac"), ("gt", "c"), ("gte", "bc"), ("lt", "a"), ("lte", "ab")],
)
async def test_dates(images: Images, new_image: NewImage, operator: str, found: str) -> None:
    """Times are compared by every operator (A-045)."""
    moments = [{"created_at": NOON + timedelta(seconds=step)} for step in (-1, 0, 1)]
    await make(images, new_image, *moments)
    for column in ("created_at", "updated_at"):
        assert await names(images, dates=(DateFilter(column, operator, NOON),)) == list(found)


@pytest_twisted.ensureDeferred
async def test_tags(images: Images, new_image: NewImage) -> None:
    """All the tags asked for must be there, and alive (A-052)."""
    made = await make(images, new_image, {"tags": ("x",)}, {"tags": ("x", "y")}, {"tags": ("y",)})
    await images.delete(made[2], was="queued")
    assert await names(images, tags=("x",)) == ["a", "b"]
    assert await names(images, tags=("x", "y")) == ["b"]
    assert await names(images, tags=("y",)) == ["b"]


@pytest_twisted.ensureDeferred
async def test_properties(images: Images, new_image: NewImage) -> None:
    """All the properties asked for must be there with those values, and alive (A-054)."""
    made = await make(
        images,
        new_image,
        {"properties": {"x": "1"}},
        {"properties": {"x": "1", "y": "2"}},
        {"properties": {"x": "2"}},
        {"properties": {"x": "1"}},
    )
    await images.save(evolve(made[3], properties={}), was="queued")
    assert await names(images, properties={"x": "1"}) == ["a", "b"]
    assert await names(images, properties={"x": "1", "y": "2"}) == ["b"]


@pytest_twisted.ensureDeferred
async def test_hidden(images: Images, new_image: NewImage) -> None:
    """Hidden images are listed only if asked for, and then alone (A-096)."""
    await make(images, new_image, {}, {"os_hidden": True})
    assert await names(images) == ["a"]
    assert await names(images, os_hidden=True) == ["b"]


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    "query",
    [
        {"equal": {"nonsense": 1}},
        {"equal": {"deleted": False}},
        {"equal": {"protected": "perhaps"}},
        {"any_of": {"nonsense": ("1",)}},
        {"minimum": {"name": 1}},
        {"maximum": {"nonsense": 1}},
        {"dates": (DateFilter("created_at", "like", NOON),)},
        {"sort": (("owner", "asc"),)},
        {"sort": (("name", "up"),)},
    ],
)
async def test_refused(images: Images, query: dict[str, Any]) -> None:
    """What names no column, operator or direction is refused."""
    with pytest.raises(Invalid):
        await images.list(ADMIN, ImageQuery(limit=9, **query))


@pytest_twisted.ensureDeferred
async def test_default_order(images: Images, new_image: NewImage) -> None:
    """The newest comes first."""
    await make(images, new_image, {"created_at": NOON}, {"created_at": NOON + timedelta(seconds=1)})
    assert [image.name for image in await images.list(ADMIN, ImageQuery(limit=9))] == ["b", "a"]


@pytest_twisted.ensureDeferred
async def test_null_is_smallest(images: Images, new_image: NewImage) -> None:
    """Without a value comes before every value, as Glance sorts on SQLite."""
    await make(images, new_image, {"size": 0}, {}, {"size": 1})
    assert await names(images, sort=(("size", "asc"), ("id", "asc"))) == ["b", "a", "c"]
    assert await names(images, sort=(("size", "desc"), ("id", "asc"))) == ["c", "a", "b"]


@pytest_twisted.ensureDeferred
async def test_marker(images: Images, new_image: NewImage) -> None:
    """A page begins behind its marker, even if the marker does not match the filters itself."""
    made = await make(images, new_image, {}, {"min_ram": 1}, {}, {"min_ram": 1})
    assert await names(images, marker=made[1].id) == ["c", "d"]
    assert await names(images, marker=made[0].id, equal={"min_ram": 1}) == ["b", "d"]
    assert await names(images, marker=made[0].id, limit=2) == ["b", "c"]


@pytest_twisted.ensureDeferred
async def test_marker_without_update(engine: Engine, images: Images, new_image: NewImage) -> None:
    """An image that was never updated is a marker like any other."""

    def forget(connection: Connection) -> None:
        connection.execute(text("UPDATE images SET updated_at = NULL WHERE name = 'b'"))

    made = await make(images, new_image, {}, {}, {})
    await engine.interact(forget)
    for direction in ("asc", "desc"):
        sort = (("updated_at", direction),)
        whole = [str(name) for name in await names(images, sort=sort)]
        assert sorted(whole) == ["a", "b", "c"]
        for number, name in enumerate(whole):
            marker = made["abc".index(name)].id
            assert await names(images, sort=sort, marker=marker) == whole[number + 1 :]


@pytest_twisted.ensureDeferred
async def test_bad_marker(images: Images, new_image: NewImage) -> None:
    """A marker that is unknown, deleted or invisible is refused (A-041); administrators go on behind a deleted one."""
    made = await make(images, new_image, {}, {"owner": "theirs", "visibility": "private"})
    await images.delete(made[0], was="queued")
    for marker in ("unknown", made[0].id, made[1].id):
        with pytest.raises(Invalid):
            await images.list(US, ImageQuery(limit=9, marker=marker))
    found = await images.list(ADMIN, ImageQuery(limit=9, sort=BY_NAME, marker=made[0].id))
    assert [image.name for image in found] == ["b"]


@pytest_twisted.ensureDeferred
async def test_unlisted_marker(images: Images, new_image: NewImage, add_member: Callable[..., Awaitable[None]]) -> None:
    """A marker need not be listed, if it can be seen by its id."""
    made = await make(images, new_image, {"owner": "theirs"}, {})
    await add_member(made[0], "ours", "pending")
    found = await images.list(US, ImageQuery(limit=9, sort=BY_NAME, marker=made[0].id))
    assert [image.name for image in found] == ["b"]


FEW_NAMES: Final = st.sampled_from([None, "", "a", "A", "ä", "b"])
FIELDS: Final = st.fixed_dictionaries(
    {
        "name": FEW_NAMES,
        "status": st.sampled_from(["queued", "active"]),
        "container_format": st.sampled_from([None, "bare", "ovf"]),
        "disk_format": st.sampled_from([None, "raw", "qcow2"]),
        "size": st.sampled_from([None, 0, 1, 2**62]),
        "created_at": st.sampled_from([NOON, NOON + timedelta(microseconds=1), NOON + timedelta(days=1)]),
    }
)
SORTS: Final = st.lists(
    st.tuples(st.sampled_from(SORT_KEYS), st.sampled_from(["asc", "desc"])), max_size=4, unique_by=lambda pair: pair[0]
)


def ordered(listed: list[Image], sort: Sort, rank: Callable[[Any], Any]) -> list[str]:
    """The ids as plain Python sorts them, the least important key first."""
    for key, direction in reversed(sort):
        listed = sorted(listed, key=lambda image: rank(getattr(image, key)), reverse=direction == "desc")
    return [image.id for image in listed]


async def pages(images: Images, owner: str, sort: Sort, limit: int) -> list[str]:
    """All ids, page by page."""
    found: list[str] = []
    marker = None
    query = ImageQuery(limit=limit, sort=sort, equal={"owner": owner})
    while page := await images.list(ADMIN, evolve(query, marker=marker)):
        found += [image.id for image in page]
        marker = found[-1]
    return found


@pytest_twisted.ensureDeferred
async def test_paging(images: Images, rank: Callable[[Any], Any]) -> None:
    """Under any sort, pages of any size show every image once, in the order Python puts them in."""
    from twisted.internet import reactor

    async def check(fields: list[dict[str, Any]], sort: Sort, limit: int) -> None:
        owner = str(uuid.uuid4())
        made = [await images.create(Image(id=str(uuid.uuid4()), owner=owner, **values)) for values in fields]
        assert await pages(images, owner, sort, limit) == ordered(made, sort, rank)

    @settings(max_examples=60, deadline=None)
    @given(fields=st.lists(FIELDS, max_size=7), sort=SORTS, limit=st.integers(1, 4))
    def hold(fields: list[dict[str, Any]], sort: list[tuple[str, str]], limit: int) -> None:
        whole = (*sort, ("created_at", "desc"), ("id", "desc"))
        blockingCallFromThread(reactor, lambda: ensureDeferred(check(fields, whole, limit)))  # type: ignore[arg-type]

    await deferToThread(hold)  # Hypothesis knows plain functions only
