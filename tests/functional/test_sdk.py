"""openstacksdk's image proxy: every method for what this version serves."""

from __future__ import annotations

import hashlib
import io
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cloud import ADMIN, ALICE, BOB, PROJECTS, Cloud

openstack = pytest.importorskip("openstack")
config, exceptions = pytest.importorskip("openstack.config"), pytest.importorskip("openstack.exceptions")

# The SDK tells of its own future.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::PendingDeprecationWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),  # it leaves files open
]

CONTENT = os.urandom(301_500)
WONDERLAND, BUILDERS = PROJECTS[ALICE], PROJECTS[BOB]


def connect(cloud: Cloud, user: str) -> Any:
    region = config.OpenStackConfig(config_files=[str(cloud.folder / f"{user}.yaml")], load_envvars=False)
    return openstack.connection.Connection(config=region.get_one("https"))


@pytest.fixture(scope="module")
def connections(cloud: Cloud) -> Iterator[dict[str, Any]]:
    found = {user: connect(cloud, user) for user in (ADMIN, ALICE, BOB)}
    yield found
    for connection in found.values():
        connection.close()


@pytest.fixture
def alice(connections: dict[str, Any]) -> Any:
    return connections[ALICE].image


@pytest.fixture
def bob(connections: dict[str, Any]) -> Any:
    return connections[BOB].image


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """For the images of this test only."""
    return f"{request.node.originalname} {uuid.uuid4().hex[:6]}"


def make(proxy: Any, name: str, **values: Any) -> Any:
    """An image with data."""
    image = proxy.create_image(name, data=CONTENT, disk_format="raw", container_format="bare", **values)
    return proxy.get_image(image.id)


def test_create_find_get(alice: Any, bob: Any, name: str) -> None:
    """With data at once; found by name and by id; by strangers not at all."""
    image = make(alice, name, tags=["x"], min_ram=64, visibility="private", own="a")
    assert (image.status, image.size, image.owner_id) == ("active", len(CONTENT), WONDERLAND)
    assert (image.min_ram, image.visibility, image.tags, image.properties["own"]) == (64, "private", ["x"], "a")
    assert image.checksum == hashlib.md5(CONTENT).hexdigest()
    assert (image.hash_algo, image.hash_value) == ("sha512", hashlib.sha512(CONTENT).hexdigest())
    assert alice.find_image(name).id == alice.find_image(image.id).id == alice.get_image(image.id).id == image.id
    assert bob.find_image(name) is None
    assert bob.find_image(image.id) is None
    with pytest.raises(exceptions.NotFoundException):
        bob.get_image(image.id)


def test_create_by_cloud_layer(connections: dict[str, Any], name: str, tmp_path: Path) -> None:
    """The high-level methods, which verify hashes: the same file is not uploaded twice."""
    cloud = connections[ALICE]
    path, copy = tmp_path / "in.raw", tmp_path / "out.raw"
    path.write_bytes(CONTENT)
    values = {"disk_format": "raw", "container_format": "bare", "validate_checksum": True, "meta": {"answer": "42"}}
    image = cloud.create_image(name, filename=str(path), wait=True, timeout=60, **values)
    assert image.properties["answer"] == "42"
    assert cloud.create_image(name, filename=str(path), wait=True, timeout=60, **values).id == image.id
    assert [each.id for each in cloud.list_images() if each.name == name] == [image.id]
    assert cloud.get_image(name).id == cloud.get_image_by_id(image.id).id == image.id
    assert [each.id for each in cloud.search_images(name)] == [image.id]
    assert cloud.get_image_id(name) == image.id
    cloud.download_image(name, output_path=str(copy))
    assert copy.read_bytes() == CONTENT
    assert cloud.update_image_properties(cloud.get_image(name), meta={"answer": "43"})
    assert cloud.get_image(name).properties["answer"] == "43"
    assert cloud.delete_image(name, wait=True, timeout=60)
    assert cloud.get_image(name) is None


def test_upload(alice: Any, name: str) -> None:
    """First the record, then the data; and both in one call."""
    image = alice.create_image(name, disk_format="raw", container_format="bare", allow_duplicates=True, data=None)
    assert image.status == "queued"
    image.data = io.BytesIO(CONTENT)
    image.upload(alice)
    assert alice.wait_for_status(alice.get_image(image.id), "active", wait=60).size == len(CONTENT)
    other = alice.upload_image(name=f"{name} 2", container_format="bare", disk_format="raw", data=CONTENT)
    assert alice.get_image(other.id).status == "active"


@pytest.mark.parametrize("way", ["response", "stream", "file", "path"])
def test_download(alice: Any, name: str, way: str, tmp_path: Path) -> None:
    """Into memory, piece by piece, into an open file, to a path."""
    image, path = make(alice, name), tmp_path / "out.raw"
    if way == "response":
        assert alice.download_image(image).content == CONTENT
    elif way == "stream":
        response = alice.download_image(image, stream=True)
        assert b"".join(response.iter_content(10_000)) == CONTENT
        assert response.headers["Content-MD5"] == hashlib.md5(CONTENT).hexdigest()
    elif way == "file":
        with path.open("wb") as file:
            alice.download_image(image, output=file)
        assert path.read_bytes() == CONTENT
    else:
        alice.download_image(image, output=str(path), chunk_size=65536)
        assert path.read_bytes() == CONTENT


def test_images(alice: Any, bob: Any, name: str) -> None:
    """Lists are filtered and sorted by us, and followed from page to page."""
    for number, tags in enumerate((["a"], ["a", "b"], ["b"])):
        alice.create_image(f"{name} {number}", tags=[*tags, name], min_ram=number, allow_duplicates=True)
    make(alice, f"{name} 3", meta={"is_hidden": True}, own=name)

    def listed(**query: Any) -> list[str]:
        return [image.name[-1] for image in alice.images(**query) if image.name.startswith(name)]

    assert sorted(listed()) == ["0", "1", "2"]
    assert sorted(listed(tag="a")) == ["0", "1"]
    assert listed(name=f"{name} 1") == ["1"]
    assert listed(is_hidden=True) == ["3"]
    assert listed(visibility="public") == []
    assert listed(min_ram=2) == ["2"]
    assert listed(sort="name:asc") == ["0", "1", "2"]
    assert listed(sort_key="name", sort_dir="desc") == ["2", "1", "0"]
    assert listed(sort="name:asc", limit=1) == ["0", "1", "2"]
    assert listed(sort="name:asc", limit=2, paginated=False, tag=name) == ["0", "1"]
    assert listed(status="active", is_hidden=True, size_min=len(CONTENT), size_max=len(CONTENT)) == ["3"]
    assert listed(own=name, is_hidden=True) == ["3"]
    assert listed(owner=BUILDERS) == []
    assert [image.name for image in bob.images()] == []


def test_update(alice: Any, name: str) -> None:
    """Attributes and properties, changed, added and removed."""
    image = make(alice, name, first="1")
    changed = alice.update_image(image, name=f"{name} new", min_disk=3, is_protected=True, is_hidden=True, second="2")
    assert (changed.name, changed.min_disk, changed.is_protected, changed.is_hidden) == (f"{name} new", 3, True, True)
    changed = alice.get_image(image.id)
    assert changed.properties == {"second": "2"}  # as the SDK means it: what it is not told to keep is removed
    alice.update_image_properties(changed, meta={"first": "one"})
    assert alice.get_image(image.id).properties == {"first": "one", "second": "2"}
    with pytest.raises(exceptions.ForbiddenException):
        alice.update_image(image.id, visibility="public")
    with pytest.raises(exceptions.ForbiddenException):
        alice.delete_image(image.id)
    alice.update_image(image.id, is_protected=False)
    alice.delete_image(image.id)
    assert alice.find_image(image.id) is None
    with pytest.raises(exceptions.NotFoundException):
        alice.delete_image(image.id, ignore_missing=False)


def test_tags(alice: Any, name: str) -> None:
    """One at a time."""
    image = alice.create_image(name, allow_duplicates=True)
    for tag in ("x", "y"):
        alice.add_tag(image, tag)
    alice.remove_tag(image, "x")
    assert alice.get_image(image.id).tags == ["y"]
    with pytest.raises(exceptions.NotFoundException):
        alice.remove_tag(image, "x")


def test_deactivate(alice: Any, connections: dict[str, Any], name: str) -> None:
    """Its data are for administrators until it is reactivated."""
    image = make(alice, name)
    alice.deactivate_image(image)
    assert alice.get_image(image.id).status == "deactivated"
    assert connections[ADMIN].image.download_image(image.id).content == CONTENT
    alice.reactivate_image(image)
    assert alice.get_image(image.id).status == "active"
    assert alice.download_image(image).content == CONTENT


def test_members(alice: Any, bob: Any, name: str) -> None:
    """A project is added, accepts, sees, and is removed."""
    image = make(alice, name)
    assert alice.add_member(image, member_id=BUILDERS).status == "pending"
    assert [member.member_id for member in alice.members(image)] == [BUILDERS]
    assert bob.update_member(BUILDERS, image, status="accepted").status == "accepted"
    assert alice.get_member(BUILDERS, image).status == alice.find_member(BUILDERS, image).status == "accepted"
    assert [each.id for each in bob.images(name=name)] == [image.id]
    assert bob.download_image(image.id).content == CONTENT
    alice.remove_member(BUILDERS, image)
    assert list(alice.members(image)) == []
    assert alice.find_member(BUILDERS, image) is None
    assert bob.find_image(image.id) is None


@pytest.mark.parametrize("schema", ["image", "images", "member", "members"])
def test_schemas(alice: Any, schema: str) -> None:
    """Each is there, and is named as asked."""
    found = getattr(alice, f"get_{schema}_schema")()
    assert found.name == schema
    assert found.properties


def test_wrong_format(alice: Any, name: str) -> None:
    """The status of a refusal arrives."""
    image = alice.create_image(name, disk_format="qcow2", container_format="bare", allow_duplicates=True)
    image.data = io.BytesIO(CONTENT)
    assert image.upload(alice).status_code == 415
    assert alice.get_image(image.id).status == "queued"
