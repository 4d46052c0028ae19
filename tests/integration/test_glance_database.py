"""One database, opened by a real Glance 33 and by us, in either order (database.md, D-080).

``GLANCETX_GLANCE_VENV`` names a virtual environment with Glance. Without one these tests are skipped, or fail if
``GLANCETX_REQUIRE_SERVICES`` is 1.
"""

from __future__ import annotations

import json
import os
import subprocess
import uuid
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from attrs import evolve, frozen
from sqlalchemy import Connection

from glancetx.config.settings import DatabaseSettings
from glancetx.db.engine import Engine, transact
from glancetx.db.images import Images
from glancetx.db.migrations import look, prepare
from glancetx.db.sealing import Seal
from glancetx.domain.context import RequestContext, service_context
from glancetx.domain.errors import ConfigurationError, ImageExists, ImageNotFound
from glancetx.domain.image import Image, Location
from glancetx.domain.query import SORT_KEYS, DateFilter, ImageQuery
from tests.services.uwsgi import glance_venv, nursery, run_manage

ADMIN = service_context()
START = datetime(2026, 1, 1)

Call = tuple[str | None, str, list[Any], dict[str, Any]]  # who calls (None: an admin), what, with which arguments
Question = tuple[str | None, ImageQuery, dict[str, Any]]  # who asks, what of us, and the same filters in Glance's words

# Runs in Glance's own environment: reads calls of its database interface from standard input, one a line, and writes
# what each returned, or the name of the exception it raised.
GLANCE_SIDE = """
import json, sys
from datetime import datetime
from types import SimpleNamespace
from oslo_config import cfg
from oslo_db import options
from glance.common import config
from glance.db.sqlalchemy import api

cfg.CONF([f"--config-file={sys.argv[1]}"], project="glance", default_config_dirs=[])

def plain(value):
    if isinstance(value, datetime):
        return value.isoformat(" ", "microseconds")
    if isinstance(value, list):
        return [plain(each) for each in value]
    if hasattr(value, "to_dict") and not isinstance(value, dict):
        value = value.to_dict()
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items() if name != "members"}
    return value if isinstance(value, (str, int, float, type(None))) else str(type(value))

def moment(values):
    return {n: datetime.fromisoformat(v) if n in ("created_at", "updated_at") else v for n, v in values.items()}

for line in sys.stdin:
    context, function, args, kwargs = json.loads(line)
    context = SimpleNamespace(owner=context["owner"], project_id=context["owner"], is_admin=context["is_admin"],
                              read_only=False, can_see_deleted=False, user_id="u", tenant=context["owner"])
    if function in ("image_create", "image_update"):
        args = [moment(arg) if isinstance(arg, dict) else arg for arg in args]
    try:
        result = getattr(api, function)(context, *args, **kwargs)
    except Exception as error:
        result = {"raised": type(error).__name__, "text": str(error)}
    print("=>" + json.dumps(plain(result)), flush=True)
"""


@frozen
class Glance:
    """A real Glance on the database of *settings*."""

    venv: Path
    config: Path
    settings: DatabaseSettings

    def manage(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run glance-manage."""
        return run_manage(self.venv, "glance", [f"--config-file={self.config}", *arguments])

    def calls(self, *calls: Call) -> list[Any]:
        """Call Glance's database interface, each time as a user of a project, or as an admin if that is None."""
        lines = [
            json.dumps([{"owner": project, "is_admin": project is None}, function, args, kwargs])
            for project, function, args, kwargs in calls
        ]
        words = ["-c", str(self.config)]
        done = nursery(self.venv, "glance").run(GLANCE_SIDE, words, os.environ, data="\n".join(lines))
        assert done.returncode == 0, done.stderr
        return [json.loads(line[2:]) for line in done.stdout.splitlines() if line.startswith("=>")]

    def call(self, function: str, *args: Any, **kwargs: Any) -> Any:
        """Call Glance's database interface once, as an admin."""
        return self.calls((None, function, list(args), kwargs))[0]


def find_venv() -> Path:
    """Where Glance is installed; without it the test ends here."""
    return glance_venv("glance-manage")


def make_glance(venv: Path, folder: Path) -> Glance:
    settings = DatabaseSettings(connection=f"sqlite:///{folder}/glance.sqlite")
    config = folder / "glance-api.conf"
    config.write_text(f"[database]\nconnection = {settings.connection}\n")
    return Glance(venv, config, settings)


@pytest.fixture
def glance(tmp_path: Path) -> Glance:
    """A Glance whose database does not exist yet."""
    return make_glance(find_venv(), tmp_path)


@pytest.fixture
def synced(glance: Glance) -> Glance:
    """A Glance whose database it has made itself."""
    done = glance.manage("db", "sync")
    assert done.returncode == 0, done.stderr
    return glance


@pytest_twisted.async_yield_fixture
async def engine(synced: Glance) -> AsyncIterator[Engine]:
    """Our engine on the database Glance has made."""
    from twisted.internet import reactor

    started = Engine(reactor, synced.settings)
    await started.start()
    await started.interact(prepare)
    yield started
    await started.stop()


@pytest.fixture
def images(engine: Engine) -> Images:
    return Images(engine)


def full(**fields: Any) -> Image:
    """An image with everything."""
    return Image(
        **{
            "id": str(uuid.uuid4()),
            "name": "grüße",
            "status": "active",
            "owner": "ours",
            "visibility": "private",
            "disk_format": "qcow2",
            "container_format": "bare",
            "size": 2**40,
            "virtual_size": 2**41,
            "checksum": "c" * 32,
            "os_hash_algo": "sha512",
            "os_hash_value": "e" * 128,
            "min_disk": 1,
            "min_ram": 2**31 - 1,
            "tags": ("a", "b"),
            "properties": {"x": "1", "ü": "'\"\\"},
            "locations": (Location(url="file:///one", metadata={"store": "fast"}),),
            "created_at": START,
            **fields,
        }
    )


def glance_values(image: Image) -> dict[str, Any]:
    """The same image as Glance's database interface wants it; tags are set by another call."""
    names = (
        "id", "name", "status", "owner", "visibility", "disk_format", "container_format", "size", "virtual_size",
        "checksum", "os_hash_algo", "os_hash_value", "min_disk", "min_ram", "protected", "os_hidden", "created_at",
        "updated_at",
    )  # fmt: skip
    values = {name: getattr(image, name) for name in names}
    values |= {name: values[name].isoformat(" ", "microseconds") for name in ("created_at", "updated_at")}
    values["properties"] = dict(image.properties)
    values["locations"] = [
        {"url": place.url, "metadata": dict(place.metadata), "status": "active"} for place in image.locations
    ]
    return values


def as_glance_reads(image: Image, found: dict[str, Any]) -> dict[str, Any]:
    """What of *found*, an image as Glance's interface returns it, can be compared with `glance_values`."""
    values: dict[str, Any] = {name: found[name] for name in glance_values(image)}
    values["properties"] = {each["name"]: each["value"] for each in found["properties"] if not each["deleted"]}
    values["locations"] = [
        {name: place[name] for name in ("url", "metadata", "status")} for place in found["locations"]
    ]
    return values


def dump(connection: Connection) -> dict[str, Any]:
    """Everything SQLite knows of Glance's tables, whatever words they were made with; not the indexes that are ours."""

    def ask(pragma: str) -> list[Any]:
        return [tuple(row) for row in connection.exec_driver_sql(f"PRAGMA {pragma}")]

    tables = connection.exec_driver_sql(
        "SELECT name, sql FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'glancetx%'"
    ).all()
    found = {}
    for name, sql in tables:
        # of an index made by the table itself, the name is SQLite's and says nothing
        indexes = {
            (
                None if index.startswith("sqlite_") else index,
                unique,
                tuple(row[2] for row in ask(f"index_info({index})")),
            )
            for _, index, unique, *_ in ask(f"index_list({name})")
            if not index.startswith("glancetx")
        }
        found[name] = {
            "columns": {
                (column, kind, null, default, key) for _, column, kind, null, default, key in ask(f"table_info({name})")
            },
            "indexes": indexes,
            "references": {row[2:] for row in ask(f"foreign_key_list({name})")},
            "checks": sql.count("CHECK"),
            "constraints": {word.strip('",') for word in sql.split("CONSTRAINT ")[1:] for word in word.split()[:1]},
        }
    return found


def test_ours_satisfies_glance(glance: Glance) -> None:
    """Glance finds nothing to do in a database that we made, and changes nothing."""
    transact(glance.settings, prepare)
    before = transact(glance.settings, dump)
    checked = glance.manage("db", "check")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    synced = glance.manage("db", "sync")
    assert synced.returncode == 0, synced.stderr
    assert glance.manage("db", "version").stdout.strip() == "2024_1_contract01"
    assert transact(glance.settings, dump) == before
    assert transact(glance.settings, look).current


def test_schemas_agree(glance: Glance, tmp_path: Path) -> None:
    """Our tables are Glance's: columns, types, defaults, keys, indexes, checks, names."""
    transact(glance.settings, prepare)
    ours = transact(glance.settings, dump)
    folder = tmp_path / "theirs"
    folder.mkdir()
    other = make_glance(glance.venv, folder)
    assert other.manage("db", "sync").returncode == 0
    theirs = transact(other.settings, dump)
    assert ours.keys() == theirs.keys()
    for name, table in theirs.items():
        assert ours[name] == table, name


def test_theirs_is_left_alone(synced: Glance) -> None:
    """In a database that Glance made we add our own tables, and Glance still finds nothing to do."""
    before = transact(synced.settings, dump)
    transact(synced.settings, prepare)
    assert transact(synced.settings, dump) == before
    assert synced.manage("db", "check").returncode == 0


@pytest.mark.parametrize("revision", ["zed_contract01", "2024_1_expand01"])
def test_older_is_refused(glance: Glance, revision: str) -> None:
    """A database of an older Glance is refused, and good again once Glance has brought it forward."""
    done = glance.manage("db", "upgrade", "--version", revision)
    assert done.returncode == 0, done.stderr
    with pytest.raises(ConfigurationError, match="glance-manage db sync"):
        transact(glance.settings, prepare)
    assert glance.manage("db", "sync").returncode == 0
    transact(glance.settings, prepare)
    assert transact(glance.settings, look).current


@pytest_twisted.ensureDeferred
async def test_we_read_theirs(synced: Glance, images: Images) -> None:
    """An image that Glance wrote is what we read."""
    image = full()
    synced.calls(
        (None, "image_create", [glance_values(image)], {}),
        (None, "image_tag_set_all", [image.id, list(image.tags)], {}),
    )
    found = await images.get(RequestContext(project_id="ours"), image.id)
    places = tuple(evolve(place, id=None) for place in found.locations)
    wanted = evolve(image, tags=found.tags, updated_at=found.updated_at)
    assert evolve(found, locations=places) == wanted
    assert set(found.tags) == set(image.tags)


@pytest_twisted.ensureDeferred
async def test_they_read_ours(synced: Glance, images: Images) -> None:
    """An image that we created, saved and saved again is what Glance reads."""
    image = await images.create(full(name=None, status="queued", size=None))
    image = await images.save(evolve(image, properties={}, tags=("a",), locations=()), was="queued")
    location = Location(url="file:///two", metadata={"store": "cheap"})
    changed = full(id=image.id, created_at=image.created_at, tags=("b", "c"), locations=(location,))
    image = await images.save(changed, was="queued")
    found, tags = synced.calls((None, "image_get", [image.id], {}), (None, "image_tag_get_all", [image.id], {}))
    assert as_glance_reads(image, found) == glance_values(image)
    assert set(tags) == {"b", "c"}


@pytest_twisted.ensureDeferred
async def test_taking_turns(synced: Glance, images: Images) -> None:
    """Each can change what the other wrote; a property that comes and goes between the two lives."""
    image = await images.create(full(status="queued"))
    synced.call("image_update", image.id, {"properties": {"y": "2"}, "name": "theirs"}, purge_props=True)
    found = await images.get(ADMIN, image.id)
    assert (found.name, found.properties) == ("theirs", {"y": "2"})
    await images.save(evolve(found, properties={"x": "3"}), was="queued")
    synced.call("image_update", image.id, {"properties": {"x": "4", "y": "5"}}, purge_props=True)
    found = await images.get(ADMIN, image.id)
    assert found.properties == {"x": "4", "y": "5"}
    assert [place.url for place in found.locations] == ["file:///one"]


@pytest_twisted.ensureDeferred
async def test_purge_spares_the_living(synced: Glance, engine: Engine, images: Images) -> None:
    """A property that Glance revived survives Glance's purge, once we have saved its image (D-070, D-072)."""
    image = await images.create(full(status="queued"))
    for properties in ({}, {"x": "1"}):
        synced.call("image_update", image.id, {"properties": properties}, purge_props=True)

    def grow_old(connection: Connection) -> None:
        statement = "UPDATE image_properties SET deleted_at = '2020-01-01 00:00:00.000000' WHERE deleted_at NOT NULL"
        connection.exec_driver_sql(statement)

    await engine.interact(grow_old)
    found = await images.get(ADMIN, image.id)
    assert found.properties == {"x": "1"}
    await images.save(found, was="queued")
    assert synced.manage("db", "purge", "--age_in_days", "1").returncode == 0
    assert (await images.get(ADMIN, image.id)).properties == {"x": "1"}


@pytest_twisted.ensureDeferred
async def test_deleted_by_either(synced: Glance, images: Images) -> None:
    """What one deletes is gone for the other, and its id stays taken."""
    ours, theirs = await images.create(full()), await images.create(full())
    await images.delete(ours, was="active")
    found = synced.calls(
        (None, "image_get", [ours.id], {}),
        (None, "image_create", [glance_values(ours)], {}),
        (None, "image_destroy", [theirs.id], {}),
    )
    assert [each.get("raised") for each in found[:2]] == ["ImageNotFound", "Duplicate"]
    with pytest.raises(ImageNotFound):
        await images.get(ADMIN, theirs.id)
    with pytest.raises(ImageExists):
        await images.create(theirs)


async def fill(glance: Glance, images: Images) -> None:
    """Images of every owner, visibility and kind, some alike in what is sorted by, some without a value."""
    number = 0
    memberships = []
    for owner, visibility in product(("ours", "theirs"), ("private", "shared", "community", "public")):
        for name, size in ((None, None), ("a", 0), ("b", None), ("b", 2**40)):
            number += 1
            image = full(
                id=f"{number:08d}-0000-4000-8000-000000000000", owner=owner, visibility=visibility,
                name=name, size=size,
                created_at=START + timedelta(seconds=number % 5), os_hidden=number % 7 == 0,
                disk_format=("raw", None)[number % 2], properties={"n": f"{number % 3}"},
                tags=("x", "y")[: number % 3], status=("active", "killed", "queued")[number % 3],
            )  # fmt: skip
            await images.create(image)
            if owner == "theirs":
                status = ("pending", "accepted", "rejected")[number % 3]
                memberships.append({"image_id": image.id, "member": "ours", "status": status, "can_share": False})
    glance.calls(*((None, "image_member_create", [values], {}) for values in memberships))


Filters = tuple[tuple[dict[str, Any], dict[str, Any]], ...]
FILTERS: Filters = (
    ({}, {}),
    ({"equal": {"name": "b"}}, {"name": "b"}),
    ({"equal": {"id": "00000003-0000-4000-8000-000000000000"}}, {"id": "00000003-0000-4000-8000-000000000000"}),
    ({"any_of": {"name": ("a", "b")}}, {"name": "in:a,b"}),
    ({"equal": {"size": "0"}}, {"size": "0"}),
    ({"equal": {"size": "zero"}}, {"size": "zero"}),
    ({"equal": {"status": "killed"}}, {"status": "killed"}),
    ({"equal": {"owner": "theirs"}}, {"owner": "theirs"}),
    ({"equal": {"checksum": "c" * 32}}, {"checksum": "c" * 32}),
    ({"minimum": {"size": 1}}, {"size_min": 1}),
    ({"maximum": {"size": 1}}, {"size_max": 1}),
    ({"os_hidden": True}, {"os_hidden": True}),
    ({"tags": ("x", "y")}, {"tags": ["x", "y"]}),
    ({"properties": {"n": "1"}}, {"properties": {"n": "1"}}),
    (
        {"dates": (DateFilter("created_at", "gt", START + timedelta(seconds=2)),)},
        {"created_at": "gt:2026-01-01T00:00:02Z"},
    ),
    ({"dates": (DateFilter("created_at", "neq", START),)}, {"created_at": "neq:2026-01-01T00:00:00Z"}),
)


@pytest.fixture
def filters() -> Filters:
    """In our words, and in Glance's."""
    return FILTERS


async def compare(glance: Glance, images: Images, questions: list[Question]) -> None:
    """Ask both the same; the ids must come in the same order."""
    calls: list[Call] = []
    for project, query, filters in questions:
        visible = {} if query.visibility is None else {"visibility": query.visibility}
        kwargs = {
            "filters": {"deleted": False, "os_hidden": query.os_hidden, **visible, **filters},
            "limit": query.limit,
            "marker": query.marker,
            "sort_key": [key for key, _ in query.sort],
            "sort_dir": [direction for _, direction in query.sort],
            "member_status": query.member_status,
        }
        calls.append((project, "image_get_all", [], kwargs))
    for (project, query, _), found in zip(questions, glance.calls(*calls), strict=True):
        context = RequestContext(project_id=project, is_admin=project is None)
        listed = await images.list(context, query)
        assert [image.id for image in listed] == [image["id"] for image in found], (project, query)


@pytest_twisted.ensureDeferred
async def test_same_lists(synced: Glance, images: Images, filters: Filters) -> None:
    """For every visibility, member status and filter, a project and an admin are listed what Glance lists."""
    await fill(synced, images)
    visibilities = (None, "all", "public", "private", "shared", "community")
    sees: list[Question] = [
        (project, ImageQuery(limit=99, visibility=visibility, member_status=status), {})
        for project in ("ours", "theirs", "others", None)
        for visibility in visibilities
        for status in ("accepted", "pending", "rejected", "all")
    ]
    finds: list[Question] = [
        (project, ImageQuery(limit=99, **ours), theirs) for project in ("ours", None) for ours, theirs in filters
    ]
    await compare(synced, images, sees + finds)


@pytest_twisted.ensureDeferred
async def test_same_orders(synced: Glance, images: Images) -> None:
    """Every sort key and direction orders as Glance does, also images without a value."""
    await fill(synced, images)
    sorts = [
        tuple(dict([(key, direction), ("created_at", direction), ("id", direction)]).items())
        for key in SORT_KEYS
        for direction in ("asc", "desc")
    ]
    sorts.append((("name", "asc"), ("size", "desc"), ("created_at", "asc"), ("id", "desc")))
    await compare(synced, images, [(None, ImageQuery(limit=99, sort=sort), {}) for sort in sorts])


@pytest_twisted.ensureDeferred
async def test_same_pages(synced: Glance, images: Images) -> None:
    """Behind any marker, by keys without NULL, comes the page that Glance shows."""
    await fill(synced, images)
    everything = await images.list(ADMIN, ImageQuery(limit=99))
    sorts = [
        (("created_at", "desc"), ("id", "desc")),
        (("created_at", "asc"), ("id", "asc")),
        (("status", "asc"), ("created_at", "desc"), ("id", "desc")),
    ]
    queries = [ImageQuery(limit=5, sort=sort, marker=image.id) for sort in sorts for image in everything]
    await compare(synced, images, [(None, query, {}) for query in queries])


def test_sealed_urls_are_those_of_glance(glance: Glance) -> None:
    """What one side has encrypted, the other reads: URLs of each length up to two blocks."""
    key, urls = "0123456789abcdef", [f"file:///{'x' * length}" for length in range(33)]
    seal = Seal.of(key)
    program = """
import json, sys
from glance.common import crypt
key, ours, urls = json.load(sys.stdin)
print(json.dumps([[crypt.urlsafe_decrypt(key, each) for each in ours], [crypt.urlsafe_encrypt(key, u) for u in urls]]))
"""
    question = json.dumps([key, [seal.close(url) for url in urls], urls])
    done = nursery(glance.venv, "glance").run(program, ["-c"], os.environ, data=question)
    assert done.returncode == 0, done.stderr
    read, written = json.loads(done.stdout.splitlines()[-1])
    assert read == urls
    assert [seal.open(each) for each in written] == urls
