"""Images are created, read, saved and deleted as Glance's tables want it (database.md, section 5)."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
import pytest_twisted
from attrs import evolve
from sqlalchemy import Connection, text
from twisted.internet.defer import DeferredList, ensureDeferred
from twisted.python.failure import Failure

from glancetx.db.claims import Claims, Process
from glancetx.db.engine import Engine
from glancetx.db.images import Images
from glancetx.db.imports import ImportRuns
from glancetx.db.own_schema import claims as claims_table
from glancetx.db.schema import images as images_table
from glancetx.domain.claim import DELETE, IMPORT, UPLOAD, Claim
from glancetx.domain.context import RequestContext, service_context
from glancetx.domain.errors import ImageChanged, ImageExists, ImageNotFound, ImportLost, StatusConflict
from glancetx.domain.image import Image, Location, utc_now
from glancetx.domain.importing import COPY_IMAGE, ImportPlan, ImportRun
from glancetx.domain.limits import UNLIMITED
from glancetx.domain.query import ImageQuery
from glancetx.domain.task import Task

NewImage = Callable[..., Image]
Rows = Callable[..., Awaitable[list[Any]]]
Count = Callable[..., Awaitable[int]]
ADMIN = service_context()
YESTERDAY = utc_now() - timedelta(days=1)
DATA = Location(url="file:///one", metadata={"store": "fast"})


def claim_on(image: Image, process: Process, **fields: Any) -> Claim:
    return Claim(
        **{"id": "c" * 32, "kind": UPLOAD, "image_id": image.id, "store": "file", "process": process.id, **fields}
    )


def full(new_image: NewImage) -> Image:
    return new_image(
        name="grüße",
        status="active",
        visibility="public",
        disk_format="qcow2",
        container_format="bare",
        size=2**40,
        virtual_size=2**41,
        checksum="c" * 32,
        os_hash_algo="sha512",
        os_hash_value="e" * 128,
        min_disk=1,
        min_ram=2**31 - 1,
        protected=True,
        os_hidden=True,
        tags=("b", "a", "ü,'\"\\"),
        properties={"z": "1", "a": "", "quote": "'\"\\", "none": None},
        locations=(DATA, Location(url="file:///two")),
    )


async def execute(engine: Engine, statement: str, **values: Any) -> None:
    def write(connection: Connection) -> None:
        connection.execute(text(statement), values)

    await engine.interact(write)


@pytest_twisted.ensureDeferred
async def test_round_trip(images: Images, new_image: NewImage) -> None:
    """What was created is what is read: every field, child and order."""
    created = await images.create(full(new_image))
    read = await images.get(ADMIN, created.id)
    assert read == created
    assert list(read.properties) == ["z", "a", "quote", "none"]
    assert read.tags == ("b", "a", "ü,'\"\\")


@pytest_twisted.ensureDeferred
async def test_long_texts(images: Images, new_image: NewImage) -> None:
    """What belongs to an image is whole, wherever the database would have to cut it, alone and in a list."""
    ends = 'ü"],[7,"b","\\'
    made = []
    for length in (*range(470, 500), 5_000, 60_000):
        properties = {"a": "x", "b": "x" * (length - len(ends)) + ends, "c": '","z"]' * 5}
        made.append(await images.create(new_image(properties=properties, tags=("\t", "b" * 255), locations=(DATA,))))
    assert [await images.get(ADMIN, image.id) for image in made] == made
    listed = await images.list(ADMIN, ImageQuery(limit=99))
    assert sorted(listed, key=lambda image: image.id) == sorted(made, key=lambda image: image.id)


@pytest_twisted.ensureDeferred
async def test_what_is_asked_at_once(images: Images, new_image: NewImage) -> None:
    """Many requests at once are each told what they may see."""
    mine, other, public = [
        await images.create(new_image(owner=owner, visibility=visibility))
        for owner, visibility in (("ours", "private"), ("theirs", "private"), ("theirs", "public"))
    ]
    ours, theirs = RequestContext(project_id="ours"), RequestContext(project_id="theirs")
    asked = [
        (context, image, seen)
        for context, unseen in ((ours, other), (theirs, mine), (ADMIN, None))
        for image, seen in ((mine, unseen is not mine), (other, unseen is not other), (public, True))
    ] * 20
    calls = [ensureDeferred(images.get(context, image.id)) for context, image, _ in asked]
    calls += [ensureDeferred(images.get(ADMIN, image_id)) for image_id in (mine.id.upper() + "x", "\0", "\U0001f600")]
    found = await DeferredList(calls, consumeErrors=True)
    for (_, image, seen), (succeeded, result) in zip(asked, found, strict=False):
        assert succeeded is seen
        assert result == image if seen else isinstance(result, Failure) and result.check(ImageNotFound)
    assert [succeeded for succeeded, _ in found[-3:]] == [False] * 3


@pytest_twisted.ensureDeferred
async def test_much_of_everything(images: Images, new_image: NewImage) -> None:
    """Properties that some servers cannot put into one text are read all the same, by id and in a list."""
    properties = {f"{number}": "\x01" * 30_000 for number in range(128)}
    created = await images.create(new_image(properties=properties, tags=("a",)))
    assert created.properties == properties
    assert await images.get(ADMIN, created.id) == created
    assert await images.list(ADMIN, ImageQuery(limit=1)) == [created]


@pytest_twisted.ensureDeferred
async def test_bare_image(images: Images, new_image: NewImage) -> None:
    """An image with nothing but an id has defaults and NULLs."""
    created = await images.create(new_image(owner=None))
    assert await images.get(RequestContext(), created.id) == created


@pytest_twisted.ensureDeferred
async def test_created_now(images: Images, new_image: NewImage) -> None:
    """A new image was updated when it was created, to the microsecond."""
    created = await images.create(new_image())
    assert created.created_at == created.updated_at


@pytest_twisted.ensureDeferred
async def test_create_gives_location_ids(images: Images, new_image: NewImage) -> None:
    """The created image knows the numbers of its locations."""
    created = await images.create(new_image(locations=(DATA,)))
    assert created.locations[0].id is not None


@pytest_twisted.ensureDeferred
async def test_duplicate_tags(images: Images, new_image: NewImage) -> None:
    """A tag given twice is kept once."""
    created = await images.create(new_image(tags=("a", "b", "a")))
    assert created.tags == ("a", "b")
    assert (await images.get(ADMIN, created.id)).tags == ("a", "b")


@pytest_twisted.ensureDeferred
async def test_empty_owner(images: Images, new_image: NewImage, rows: Rows) -> None:
    """An empty owner is NULL (D-041)."""
    await images.create(new_image(owner=""))
    assert await rows("SELECT owner FROM images") == [(None,)]


@pytest_twisted.ensureDeferred
async def test_stored_forms(images: Images, new_image: NewImage, rows: Rows) -> None:
    """Times, booleans and metadata have the text forms Glance writes in SQLite (D-011, D-012, D-017)."""
    created = await images.create(full(new_image))
    [row] = await rows("SELECT created_at, deleted, protected, deleted_at FROM images")
    assert row == (created.created_at.strftime("%Y-%m-%d %H:%M:%S.%f"), 0, 1, None)
    stored = await rows("SELECT meta_data, status, deleted FROM image_locations ORDER BY id")
    assert [(json.loads(data), status, deleted) for data, status, deleted in stored] == [
        ({"store": "fast"}, "active", 0),
        ({}, "active", 0),
    ]


@pytest_twisted.ensureDeferred
async def test_id_taken(images: Images, new_image: NewImage, count: Count) -> None:
    """An id is given once; nothing of the second image is written."""
    created = await images.create(new_image())
    with pytest.raises(ImageExists):
        await images.create(evolve(created, tags=("x",), name="second"))
    assert (await images.get(ADMIN, created.id)).tags == ()
    assert await count(images_table) == 1


@pytest_twisted.ensureDeferred
async def test_id_of_deleted(images: Images, new_image: NewImage) -> None:
    """The id of a deleted image stays taken (D-049)."""
    created = await images.create(new_image())
    await images.delete(created, was="queued")
    with pytest.raises(ImageExists):
        await images.create(created)


@pytest_twisted.ensureDeferred
async def test_unknown(images: Images) -> None:
    """An id nobody has is not found."""
    with pytest.raises(ImageNotFound):
        await images.get(ADMIN, "nothing")


@pytest_twisted.ensureDeferred
async def test_id_is_case_sensitive(images: Images, new_image: NewImage) -> None:
    """Ids are compared letter by letter."""
    created = await images.create(new_image(id="aaaaaaaa-0000-4000-8000-000000000000"))
    with pytest.raises(ImageNotFound):
        await images.get(ADMIN, created.id.upper())


@pytest_twisted.ensureDeferred
async def test_other_writers_rows(engine: Engine, images: Images, new_image: NewImage) -> None:
    """Rows as other writers leave them are read: no fraction, no update time, NULL metadata, a tag twice."""
    created = await images.create(new_image(tags=("a",), locations=(DATA,)))
    await execute(engine, "UPDATE images SET created_at = '2020-02-03 04:05:06', updated_at = NULL")
    await execute(engine, "UPDATE image_locations SET meta_data = NULL")
    await execute(
        engine,
        "INSERT INTO image_tags (image_id, value, created_at, deleted)"
        " SELECT image_id, value, created_at, false FROM image_tags",
    )
    read = await images.get(ADMIN, created.id)
    assert read.created_at == read.updated_at == datetime(2020, 2, 3, 4, 5, 6)
    assert (read.tags, read.locations[0].metadata) == (("a",), {})


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("change", ["status = 'pending_delete'", "deleted = true"])
async def test_absent_locations(engine: Engine, images: Images, new_image: NewImage, change: str) -> None:
    """Locations that are deleted or not active are absent (D-086)."""
    created = await images.create(new_image(locations=(DATA, Location(url="file:///two"))))
    await execute(engine, f"UPDATE image_locations SET {change} WHERE value = 'file:///one'")
    read = await images.get(ADMIN, created.id)
    assert [location.url for location in read.locations] == ["file:///two"]


@pytest_twisted.ensureDeferred
async def test_save_fields(images: Images, new_image: NewImage) -> None:
    """A save writes every field, and what it returns is what is read."""
    created = await images.create(new_image(created_at=YESTERDAY))
    wanted = evolve(full(new_image), id=created.id, created_at=created.created_at)
    saved = await images.save(wanted, was="queued")
    assert saved == await images.get(ADMIN, created.id)
    assert saved.created_at == created.created_at
    assert saved.updated_at > created.updated_at


@pytest_twisted.ensureDeferred
async def test_save_keeps_creation(images: Images, new_image: NewImage) -> None:
    """The time of creation never changes (D-041)."""
    created = await images.create(new_image())
    await images.save(evolve(created, created_at=created.created_at - timedelta(days=1)), was="queued")
    assert (await images.get(ADMIN, created.id)).created_at == created.created_at


@pytest_twisted.ensureDeferred
async def test_save_conflict(images: Images, new_image: NewImage) -> None:
    """A save that expects another status changes nothing and tells what it found."""
    created = await images.create(new_image(properties={"a": "1"}))
    with pytest.raises(StatusConflict) as caught:
        await images.save(evolve(created, name="x", properties={}, tags=("t",)), was="active")
    assert (caught.value.expected, caught.value.found) == ("active", "queued")
    assert await images.get(ADMIN, created.id) == created


@pytest_twisted.ensureDeferred
async def test_save_deleted(images: Images, new_image: NewImage) -> None:
    """A save of a deleted image finds nothing."""
    created = await images.create(new_image())
    await images.delete(created, was="queued")
    with pytest.raises(StatusConflict) as caught:
        await images.save(created, was="queued")
    assert caught.value.found is None


@pytest_twisted.ensureDeferred
async def test_race(images: Images, new_image: NewImage) -> None:
    """Of many that save from the same status at once, one succeeds."""
    created = await images.create(new_image(disk_format="raw", container_format="bare"))
    saves = [ensureDeferred(images.save(created.to("saving"), was="queued")) for _ in range(10)]
    outcomes: list[tuple[bool, Any]] = await DeferredList(saves, consumeErrors=True)
    assert [succeeded for succeeded, _ in outcomes].count(True) == 1
    assert all(result.check(StatusConflict) for succeeded, result in outcomes if not succeeded)


@pytest_twisted.ensureDeferred
async def test_property_changes(images: Images, new_image: NewImage, rows: Rows) -> None:
    """Properties are added, changed and removed; a removed one keeps its value in a deleted row (D-042..D-044)."""
    created = await images.create(new_image(properties={"keep": "1", "change": "1", "remove": "1"}))
    saved = await images.save(evolve(created, properties={"keep": "1", "change": "2", "add": "1"}), was="queued")
    assert await images.get(ADMIN, created.id) == saved
    stored = await rows("SELECT name, value, deleted, deleted_at IS NULL FROM image_properties ORDER BY name")
    assert stored == [("add", "1", 0, 1), ("change", "2", 0, 1), ("keep", "1", 0, 1), ("remove", "1", 1, 0)]


@pytest_twisted.ensureDeferred
async def test_property_update_time(images: Images, new_image: NewImage, rows: Rows) -> None:
    """Only a property that changed has a new update time (D-043)."""
    created = await images.create(new_image(created_at=YESTERDAY, properties={"keep": "1", "change": "1"}))
    await images.save(evolve(created, properties={"keep": "1", "change": "2"}), was="queued")
    assert await rows("SELECT name FROM image_properties WHERE updated_at > created_at") == [("change",)]


@pytest_twisted.ensureDeferred
async def test_property_revived(images: Images, new_image: NewImage, rows: Rows) -> None:
    """A property that comes back is the same row, alive without a time of deletion (D-042, D-072)."""
    image = await images.create(new_image(properties={"a": "1"}))
    before = await rows("SELECT id FROM image_properties")
    image = await images.save(evolve(image, properties={}), was="queued")
    image = await images.save(evolve(image, properties={"a": "2"}), was="queued")
    stored = await rows("SELECT id, value, deleted, deleted_at FROM image_properties")
    assert stored == [(before[0][0], "2", 0, None)]
    assert (await images.get(ADMIN, image.id)).properties == {"a": "2"}


@pytest_twisted.ensureDeferred
async def test_property_healed(engine: Engine, images: Images, new_image: NewImage, rows: Rows) -> None:
    """A live property on which Glance left a time of deletion loses it at the next save (D-072)."""
    image = await images.create(new_image(properties={"a": "1"}))
    await execute(engine, "UPDATE image_properties SET deleted_at = '2020-01-01 00:00:00.000000'")
    assert (await images.get(ADMIN, image.id)).properties == {"a": "1"}
    await images.save(image, was="queued")
    assert await rows("SELECT value, deleted, deleted_at FROM image_properties") == [("1", 0, None)]


@pytest_twisted.ensureDeferred
async def test_lock_property(engine: Engine, images: Images, new_image: NewImage) -> None:
    """An import's lock is neither written nor removed by a save, in whatever state its row is (D-045)."""
    image = await images.create(new_image(properties={"os_glance_import_task": "task", "a": "1"}))
    await images.save(evolve(image, properties={"a": "2"}), was="queued")
    assert (await images.get(ADMIN, image.id)).properties["os_glance_import_task"] == "task"
    await execute(engine, "DELETE FROM image_properties WHERE name = 'os_glance_import_task'")
    await images.save(image, was="queued")
    assert (await images.get(ADMIN, image.id)).properties == {"a": "1"}


@pytest_twisted.ensureDeferred
async def test_tag_changes(images: Images, new_image: NewImage, rows: Rows) -> None:
    """A tag that was removed and comes back is a new row, the old one stays deleted (D-046)."""
    image = await images.create(new_image(tags=("a", "b")))
    image = await images.save(evolve(image, tags=("b", "c")), was="queued")
    image = await images.save(evolve(image, tags=("b", "c", "a")), was="queued")
    stored = await rows("SELECT value, deleted FROM image_tags ORDER BY id")
    assert stored == [("a", 1), ("b", 0), ("c", 0), ("a", 0)]
    assert (await images.get(ADMIN, image.id)).tags == ("b", "c", "a")


@pytest_twisted.ensureDeferred
async def test_location_kept(images: Images, new_image: NewImage, rows: Rows) -> None:
    """A location keeps its row when its metadata changes; an unchanged one is not written (D-048)."""
    places = (DATA, Location(url="file:///two"))
    image = await images.create(new_image(created_at=YESTERDAY, locations=places))
    first, second = image.locations
    changed = evolve(first, metadata={"store": "cheap"})
    saved = await images.save(evolve(image, locations=(changed, second)), was="queued")
    assert saved.locations == (changed, second)
    assert (await images.get(ADMIN, image.id)).locations == (changed, second)
    assert await rows("SELECT id FROM image_locations WHERE updated_at > created_at") == [(first.id,)]


@pytest_twisted.ensureDeferred
async def test_location_removed(images: Images, new_image: NewImage, rows: Rows) -> None:
    """A removed location is deleted in status and flag, and stays in the table (D-048)."""
    image = await images.create(new_image(locations=(DATA,)))
    await images.save(evolve(image, locations=()), was="queued")
    stored = await rows("SELECT value, status, deleted, deleted_at IS NULL FROM image_locations")
    assert stored == [("file:///one", "deleted", 1, 0)]


@pytest_twisted.ensureDeferred
async def test_location_removed_by_other(engine: Engine, images: Images, new_image: NewImage) -> None:
    """A location somebody else removed meanwhile does not come back by a save."""
    image = await images.create(new_image(locations=(DATA, Location(url="file:///two"))))
    await execute(engine, "UPDATE image_locations SET deleted = true WHERE value = 'file:///one'")
    saved = await images.save(evolve(image, name="new"), was="queued")
    assert [location.url for location in saved.locations] == ["file:///two"]
    assert (await images.get(ADMIN, image.id)).locations == saved.locations


@pytest_twisted.ensureDeferred
async def test_placeholder_survives(engine: Engine, images: Images, new_image: NewImage, rows: Rows) -> None:
    """A location that is not active, which a reader does not see, is left alone by its save (D-031)."""
    image = await images.create(new_image(locations=(DATA,)))
    await execute(engine, "UPDATE image_locations SET status = 'uploading'")
    image = await images.get(ADMIN, image.id)
    await images.save(image, was="queued")
    assert await rows("SELECT status, deleted FROM image_locations") == [("uploading", 0)]


@pytest_twisted.ensureDeferred
async def test_delete(
    images: Images, new_image: NewImage, rows: Rows, add_member: Callable[..., Awaitable[None]]
) -> None:
    """Deleting marks the image and all its children at one time, and the rows stay (D-049)."""
    image = await images.create(new_image(tags=("a",), properties={"b": "c"}, locations=(DATA,)))
    await add_member(image, "theirs")
    await images.delete(image, was="queued")
    with pytest.raises(ImageNotFound):
        await images.get(ADMIN, image.id)
    [(status, deleted, deleted_at, updated_at)] = await rows(
        "SELECT status, deleted, deleted_at, updated_at FROM images"
    )
    assert (status, deleted, deleted_at) == ("deleted", 1, updated_at)
    for table in ("image_properties", "image_tags", "image_members", "image_locations"):
        assert await rows(f"SELECT deleted, deleted_at FROM {table}") == [(1, deleted_at)]
    assert await rows("SELECT status FROM image_locations") == [("deleted",)]


@pytest_twisted.ensureDeferred
async def test_delete_keeps_earlier_times(images: Images, new_image: NewImage, rows: Rows) -> None:
    """A property deleted before its image keeps the time of its own deletion."""
    image = await images.create(new_image(properties={"b": "c"}))
    image = await images.save(evolve(image, properties={}), was="queued")
    before = await rows("SELECT deleted_at FROM image_properties")
    await images.delete(image, was="queued")
    assert await rows("SELECT deleted_at FROM image_properties") == before


@pytest_twisted.ensureDeferred
async def test_delete_conflict(images: Images, new_image: NewImage) -> None:
    """Deleting an image that is in another status leaves it as it is."""
    image = await images.create(new_image(tags=("a",)))
    with pytest.raises(StatusConflict):
        await images.delete(image, was="active")
    assert await images.get(ADMIN, image.id) == image


@pytest_twisted.ensureDeferred
async def test_take(images: Images, new_image: NewImage, process: Process, rows: Rows) -> None:
    """A save may note a claim in the same transaction."""
    image = await images.create(new_image())
    await images.save(image, was="queued", take=claim_on(image, process))
    stored = await rows("SELECT id, kind, image_id, store, process FROM glancetx_claims")
    assert stored == [("c" * 32, "upload", image.id, "file", process.id)]


@pytest_twisted.ensureDeferred
async def test_take_with_conflict(images: Images, new_image: NewImage, process: Process, count: Count) -> None:
    """A save that fails notes no claim."""
    image = await images.create(new_image())
    with pytest.raises(StatusConflict):
        await images.save(image, was="active", take=claim_on(image, process))
    assert await count(claims_table) == 0


@pytest_twisted.ensureDeferred
async def test_release(images: Images, new_image: NewImage, process: Process, count: Count) -> None:
    """A save may drop a claim in the same transaction."""
    image = await images.create(new_image())
    claim = claim_on(image, process)
    image = await images.save(image, was="queued", take=claim)
    await images.save(image, was="queued", release=claim)
    assert await count(claims_table) == 0


@pytest_twisted.ensureDeferred
async def test_release_of_lost_claim(images: Images, new_image: NewImage, process: Process) -> None:
    """Whoever was taken for dead, and its upload undone and begun anew by another, cannot publish any more."""
    image = await images.create(new_image(disk_format="raw", container_format="bare"))
    lost, current = claim_on(image, process), claim_on(image, process, id="d" * 32)
    saving = await images.save(image.to("saving"), was="queued", take=lost)
    await images.requeue(lost)
    await images.save(image.to("saving"), was="queued", take=current)
    with pytest.raises(StatusConflict):
        await images.save(evolve(saving.to("active"), locations=(DATA,)), was="saving", release=lost)
    found = await images.get(ADMIN, image.id)
    assert (found.status, found.locations) == ("saving", ())


@pytest_twisted.ensureDeferred
async def test_release_of_claim_taken_over(
    images: Images, claims: Claims, new_image: NewImage, process: Process
) -> None:
    """While others are about to undo an upload, it cannot be published: its data is going."""
    image = await images.create(new_image(disk_format="raw", container_format="bare"))
    claim = claim_on(image, process)
    saving = await images.save(image.to("saving"), was="queued", take=claim)
    assert await claims.orphans()
    with pytest.raises(StatusConflict):
        await images.save(saving.to("active"), was="saving", release=claim)


@pytest_twisted.ensureDeferred
async def test_delete_releases(images: Images, new_image: NewImage, process: Process, count: Count) -> None:
    """A delete drops its claim in the same transaction."""
    image = await images.create(new_image())
    claim = claim_on(image, process)
    image = await images.save(image, was="queued", take=claim)
    await images.delete(image, was="queued", release=claim)
    assert await count(claims_table) == 0


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("first", ["import", "delete"])
async def test_import_ends_while_deleted(
    images: Images, claims: Claims, new_image: NewImage, process: Process, engine: Engine, first: str
) -> None:
    """Whose data is being removed gets no more by an import; what it got before is removed as well."""
    image = await images.create(evolve(full(new_image), locations=(DATA,)))
    runs, copy = ImportRuns(engine), Location(url="file:///two", metadata={"store": "slow"})
    copying, deleting = claim_on(image, process, kind=IMPORT), claim_on(image, process, kind=DELETE, id="d" * 32)
    plan = ImportPlan(method=COPY_IMAGE, stores=("slow",), multiple=True)
    task = Task(id="1" * 36, type="api_image_import", owner="ours", image_id=image.id)
    run = ImportRun(task_id=task.id, image_id=image.id, claim=copying.id, host="here", plan=plan)
    image = await runs.begin("active", task, run, copying, lambda each: each)

    async def ends() -> None:
        await runs.end(run, copying, task, lambda each: evolve(each, locations=(*each.locations, copy)))

    if first == "import":
        await ends()
    doomed = await images.doom(image, deleting)
    if first == "delete":
        with pytest.raises(ImportLost):
            await ends()
    assert [each.url for each in doomed.locations] == [DATA.url, copy.url][: 1 + (first == "import")]
    await images.delete(doomed, was="active", release=deleting)
    with pytest.raises(StatusConflict):
        await images.doom(image, deleting)


@pytest_twisted.ensureDeferred
async def test_requeue(images: Images, new_image: NewImage, process: Process, count: Count) -> None:
    """Undoing an upload queues the image without sizes and sums, and drops the claim."""
    image = await images.create(new_image(disk_format="raw", container_format="bare", name="kept"))
    claim = claim_on(image, process)
    sized = evolve(image.to("saving"), size=5, virtual_size=5, checksum="c", os_hash_algo="a", os_hash_value="v")
    await images.save(sized, was="queued", take=claim)
    await images.requeue(claim)
    found = await images.get(ADMIN, image.id)
    assert evolve(found, updated_at=image.updated_at) == image
    assert await count(claims_table) == 0


@pytest_twisted.ensureDeferred
async def test_requeue_twice(images: Images, new_image: NewImage, process: Process) -> None:
    """Without its claim an upload is not undone: another may have begun."""
    image = await images.create(new_image(disk_format="raw", container_format="bare"))
    claim = claim_on(image, process)
    saving = await images.save(image.to("saving"), was="queued", take=claim)
    await images.requeue(claim)
    await images.save(saving, was="queued")
    await images.requeue(claim)
    assert (await images.get(ADMIN, image.id)).status == "saving"


@pytest_twisted.ensureDeferred
async def test_requeue_of_deleted(images: Images, new_image: NewImage, process: Process, count: Count) -> None:
    """Undoing the upload of an image that was deleted only drops the claim."""
    image = await images.create(new_image(disk_format="raw", container_format="bare"))
    claim = claim_on(image, process)
    saving = await images.save(image.to("saving"), was="queued", take=claim)
    await images.delete(saving, was="saving")
    await images.requeue(claim)
    assert await count(claims_table) == 0
    with pytest.raises(ImageNotFound):
        await images.get(ADMIN, image.id)


@pytest_twisted.ensureDeferred
async def test_updated_at_is_now(images: Images, new_image: NewImage) -> None:
    """A save carries the present time (D-084)."""
    image = await images.create(new_image())
    before = utc_now().replace(microsecond=0)  # some databases keep no more
    saved = await images.save(image, was="queued")
    assert before <= saved.updated_at <= utc_now()


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    "other", [{"name": "theirs"}, {"properties": {"a": "2"}}, {"properties": {}}, {"tags": ("t",)}, {"locations": ()}]
)
async def test_save_of_what_changed(images: Images, new_image: NewImage, other: dict[str, Any]) -> None:
    """A save tells that the record is not the one it began with, and writes nothing."""
    base = await images.create(new_image(properties={"a": "1"}, locations=(DATA,)))
    changed = await images.save(evolve(base, **other), was="queued")
    with pytest.raises(ImageChanged):
        await images.save(evolve(base, name="ours"), was="queued", base=base)
    assert await images.get(ADMIN, base.id) == changed
    saved = await images.save(evolve(changed, name="ours"), was="queued", base=changed)
    assert saved.name == "ours"


@pytest_twisted.ensureDeferred
async def test_upload_keeps_changes(images: Images, new_image: NewImage, process: Process) -> None:
    """What others change while data is on its way is kept by the beginning and the end of an upload."""
    image = await images.create(new_image(disk_format="raw", container_format="bare"))
    await images.save(evolve(image, name="first"), was="queued")
    claim = claim_on(image, process)
    saving = await images.begin(image.to("saving"), "queued", claim, UNLIMITED, None)
    assert (saving.name, saving.status) == ("first", "saving")
    await images.save(evolve(saving, properties={"a": "1"}, tags=("t",)), was="saving")
    ready = evolve(saving.to("active"), size=5, checksum="c" * 32, locations=(DATA,))
    active = await images.publish(ready, "saving", claim)
    assert active == await images.get(ADMIN, image.id)
    assert (active.name, active.properties, active.tags) == ("first", {"a": "1"}, ("t",))
    assert (active.status, active.size, active.checksum) == ("active", 5, "c" * 32)
    assert [place.url for place in active.locations] == [DATA.url]
