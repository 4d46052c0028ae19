"""Every command of python-glanceclient that this version serves, by the real client with a static token."""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from pathlib import Path

import pytest

from tests.cloud import ALICE, BOB, CONTENT, PROJECTS, Client, Cloud, Users

FORMATS = ("--disk-format", "raw", "--container-format", "bare")
WONDERLAND, BUILDERS = PROJECTS[ALICE], PROJECTS[BOB]


def rows(printed: str) -> list[list[str]]:
    """The cells of a table, without its head; what was wrapped is put together again."""
    lines = [line for line in printed.splitlines() if line.startswith("|")]
    found: list[list[str]] = []
    for cells in ([cell.strip() for cell in line.strip("|").split("|")] for line in lines[1:]):
        if cells[0]:
            found.append(cells)
        else:
            found[-1] = [old + more for old, more in zip(found[-1], cells, strict=True)]
    return found


def facts(printed: str) -> dict[str, str]:
    """A table of names and values."""
    return {key: value for key, value in rows(printed)}


def names(printed: str) -> list[str]:
    return [row[1] for row in rows(printed)]


def test_create_says_what_it_was_told(users: Users, name: str) -> None:
    """All that can be said about an image without data, which the client checks by our schema first."""
    told = {"id": str(uuid.uuid4()), "name": name, "min_disk": "3", "min_ram": "64", "owner": WONDERLAND}
    told |= {"visibility": "community", "protected": "True", "disk_format": "vdi", "container_format": "ova"}
    told |= {"architecture": "arm64", "os_distro": "debian", "os_version": "12", "instance_uuid": "some"}
    told |= {key: str(uuid.uuid4()) for key in ("kernel_id", "ramdisk_id")}
    options = [word for key, value in told.items() for word in (f"--{key.replace('_', '-')}", value)]
    options += ["--hidden", "True", "--property", "own=a=b", "--tags", "x", "y"]
    created = facts(users.alice.glance("image-create", *options))
    told |= {"os_hidden": "True", "own": "a=b", "status": "queued"}
    for shown in (created, facts(users.alice.glance("image-show", told["id"]))):
        assert {key: shown[key] for key in told} == told
        assert sorted(json.loads(shown["tags"])) == ["x", "y"]
    assert "409" in users.alice.refused("glance", "image-create", "--id", told["id"])


def test_the_schema_is_asked(users: Users) -> None:
    """What our schema does not allow never leaves the client."""
    assert "does not match" in users.alice.refused("glance", "image-create", "--id", "x")


@pytest.mark.parametrize("way", ["file", "pipe"])
def test_data_go_in_and_out(users: Users, name: str, way: str, tmp_path: Path) -> None:
    """Created with data from a file or a pipe; downloaded, with the hash verified by the client."""
    options = ["image-create", *FORMATS, "--name", name]
    if way == "file":
        created = facts(users.alice.glance(*options, "--file", "in.raw"))
    else:
        created = facts(users.alice.glance(*options, data=CONTENT))
    assert (created["status"], created["size"]) == ("active", str(len(CONTENT)))
    assert created["checksum"] == hashlib.md5(CONTENT).hexdigest()
    assert created["os_hash_value"] == hashlib.sha512(CONTENT).hexdigest()
    users.alice.glance("image-download", "--file", tmp_path / "out.raw", created["id"])
    assert (tmp_path / "out.raw").read_bytes() == CONTENT


@pytest.mark.parametrize("way", ["file", "pipe", "sized pipe"])
def test_upload(users: Users, name: str, way: str, tmp_path: Path) -> None:
    """Data for an image that is there, and from there to a pipe; a second upload is refused."""
    image_id = facts(users.alice.glance("image-create", *FORMATS, "--name", name))["id"]
    text = b"some text\n" * 1000
    (tmp_path / "in").write_bytes(text)
    if way == "file":
        users.alice.glance("image-upload", "--file", tmp_path / "in", image_id)
    else:
        size = ["--size", len(text)] if way == "sized pipe" else []
        users.alice.glance("image-upload", *size, image_id, data=text)
    assert users.alice.glance("image-download", image_id) == text.decode()
    assert "409" in users.alice.refused("glance", "image-upload", "--file", tmp_path / "in", image_id)


def test_upload_of_another_size(users: Users, name: str) -> None:
    """Data which are not as long as announced are refused, and the image waits for better ones."""
    image_id = facts(users.alice.glance("image-create", *FORMATS, "--name", name))["id"]
    users.alice.refused("glance", "image-upload", "--size", 7, "--file", "in.raw", image_id)
    assert facts(users.alice.glance("image-show", image_id))["status"] == "queued"
    users.alice.glance("image-upload", "--size", len(CONTENT), "--file", "in.raw", image_id)
    assert facts(users.alice.glance("image-show", image_id))["status"] == "active"


def test_list_filters(users: Users, name: str) -> None:
    """Each filter keeps what has it, and drops what has not."""
    one, two, three = (f"{name} {number}" for number in (1, 2, 3))
    users.alice.glance("image-create", "--name", one, "--visibility", "private", "--tags", "a", "--property", "p=1")
    users.alice.glance(
        "image-create", "--name", two, "--visibility", "community", "--tags", "a", "b", "--hidden", "True"
    )
    made = facts(users.alice.glance("image-create", *FORMATS, "--name", three, "--file", "in.raw", "--property", "p=1"))

    def listed(*filters: str, by: Client = users.alice) -> list[str]:
        return sorted(found for found in names(by.glance("image-list", *filters)) if found.startswith(name))

    assert listed() == [one, three]
    assert listed("--visibility", "private") == [one]
    assert listed("--visibility", "all", "--hidden", "True") == [two]
    assert listed("--tag", "a") == [one]
    assert listed("--tag", "a", "--tag", "b", "--hidden", "True") == [two]
    assert listed("--property-filter", "p=1") == [one, three]
    assert listed("--property-filter", "p=1", "--tag", "a") == [one]
    assert listed("--property-filter", "status=active") == [three]
    assert listed("--checksum", made["checksum"]) == [three]
    assert listed("--hash", made["os_hash_value"]) == [three]
    assert listed("--owner", BUILDERS) == []
    assert listed("--owner", WONDERLAND, by=users.admin) == [one, three]
    assert listed(by=users.bob) == []
    verbose = [row for row in rows(users.alice.glance("--verbose", "image-list")) if row[1] == three]
    assert verbose == [[made["id"], three, "raw", "bare", str(len(CONTENT)), "active", WONDERLAND]]


def test_list_sorts_and_pages(users: Users, name: str) -> None:
    """Sorted by us, in pages of any size, which the client follows by our links."""
    for letter, text in (("a", b"1"), ("b", b"22"), ("c", b"22")):
        users.alice.glance("image-create", *FORMATS, "--name", f"{name} {letter}", "--tags", name[-6:], data=text)

    def letters(*options: object) -> str:
        return "".join(found[-1] for found in names(users.alice.glance("image-list", "--tag", name[-6:], *options)))

    assert letters("--sort-key", "name", "--sort-dir", "asc") == "abc"
    assert letters("--sort", "name:desc") == "cba"
    assert letters("--sort", "size:desc,name:asc") == "bca"
    by_size = ["--sort-key", "size", "--sort-key", "name", "--sort-dir", "desc", "--sort-dir", "asc"]
    assert letters(*by_size) == "bca"
    assert letters(*by_size, "--page-size", 1) == "bca"
    assert letters("--sort", "size:asc,name:desc", "--page-size", 2) == "acb"
    assert letters("--sort", "name", "--limit", 2) == "cb"
    assert letters("--sort", "name:asc", "--page-size", 1, "--limit", 2) == "ab"


def test_update(users: Users, name: str) -> None:
    """Base attributes and properties are changed, added and removed."""
    image_id = facts(users.alice.glance("image-create", "--name", name, "--property", "a=b", "--property", "c=d"))["id"]
    told = {"name": f"{name} new", "min_disk": "2", "min_ram": "64", "container_format": "ova", "disk_format": "vdi"}
    told |= {"protected": "True", "visibility": "community", "os_distro": "debian", "kernel_id": str(uuid.uuid4())}
    options = [word for key, value in told.items() for word in (f"--{key.replace('_', '-')}", value)]
    options += ["--hidden", "True", "--property", "c=e", "--property", "f=g", "--remove-property", "a"]
    users.alice.glance("image-update", *options, image_id)
    shown = facts(users.alice.glance("image-show", image_id))
    assert {key: shown[key] for key in told} == told
    assert (shown["os_hidden"], shown["c"], shown["f"], "a" in shown) == ("True", "e", "g", False)
    assert "403" in users.alice.refused("glance", "image-update", "--visibility", "public", image_id)
    users.admin.glance("image-update", "--visibility", "public", "--owner", BUILDERS, image_id)
    shown = facts(users.bob.glance("image-show", image_id))
    assert (shown["visibility"], shown["owner"]) == ("public", BUILDERS)


def test_tags(users: Users, name: str) -> None:
    """One is added, and added again, and removed; of any letters."""
    image_id = facts(users.alice.glance("image-create", "--name", name))["id"]
    for tag in ("büro & co", "plain", "plain"):
        users.alice.glance("image-tag-update", image_id, tag)
    assert sorted(json.loads(facts(users.alice.glance("image-show", image_id))["tags"])) == ["büro & co", "plain"]
    users.alice.glance("image-tag-delete", image_id, "büro & co")
    assert json.loads(facts(users.alice.glance("image-show", image_id))["tags"]) == ["plain"]
    assert "404" in users.alice.refused("glance", "image-tag-delete", image_id, "none")


def test_deactivate(users: Users, name: str, tmp_path: Path) -> None:
    """Its owner reads a deactivated image no more, its administrator does; reactivated it is as before."""
    created = users.alice.glance("image-create", *FORMATS, "--name", name, "--file", "in.raw")
    image_id = facts(created)["id"]
    users.alice.glance("image-deactivate", image_id)
    assert facts(users.alice.glance("image-show", image_id))["status"] == "deactivated"
    assert "403" in users.alice.refused("glance", "image-download", "--file", tmp_path / "out.raw", image_id)
    users.admin.glance("image-download", "--file", tmp_path / "out.raw", image_id)
    users.alice.glance("image-reactivate", image_id)
    users.alice.glance("image-download", "--file", tmp_path / "out.raw", image_id)
    assert (tmp_path / "out.raw").read_bytes() == CONTENT


def test_members(users: Users, name: str) -> None:
    """A project is added, accepts, is listed, rejects, and is removed."""
    image_id = facts(users.alice.glance("image-create", "--name", name))["id"]
    assert "404" in users.bob.refused("glance", "image-show", image_id)
    assert rows(users.alice.glance("member-create", image_id, BUILDERS)) == [[image_id, BUILDERS, "pending"]]
    assert "409" in users.alice.refused("glance", "member-create", image_id, BUILDERS)
    assert name in names(users.bob.glance("image-list", "--member-status", "pending"))
    assert name not in names(users.bob.glance("image-list"))
    for status in ("accepted", "rejected", "pending", "accepted"):
        users.bob.glance("member-update", image_id, BUILDERS, status)
        assert rows(users.alice.glance("member-list", "--image-id", image_id)) == [[image_id, BUILDERS, status]]
    assert name in names(users.bob.glance("image-list"))
    assert facts(users.bob.glance("member-get", image_id, BUILDERS))["status"] == "accepted"
    assert "403" in users.alice.refused("glance", "member-update", image_id, BUILDERS, "rejected")
    users.alice.glance("member-delete", image_id, BUILDERS)
    assert "404" in users.bob.refused("glance", "image-show", image_id)


def test_delete(users: Users, cloud: Cloud, name: str) -> None:
    """Several at once; a protected one stays; data are gone with their image."""
    create = ("image-create", *FORMATS, "--name", name, "--file", "in.raw")
    one, two = (facts(users.alice.glance(*create))["id"] for _ in range(2))
    kept = facts(users.alice.glance(*create, "--protected", "True"))["id"]
    users.alice.refused("glance", "image-delete", one, two, kept)
    assert "404" in users.alice.refused("glance", "image-show", one)
    assert [each for each in (one, two, kept) if each in cloud.stored()] == [kept]
    users.alice.glance("image-update", "--protected", "False", kept)
    users.alice.glance("image-delete", kept)
    assert kept not in cloud.stored()


@pytest.mark.parametrize("model", ["image", "images", "member", "members"])
def test_explain(users: Users, model: str) -> None:
    """Our schemas, as the client shows them: each attribute with what it is."""
    explained = facts(users.alice.glance("explain", model))
    expected = {"image": "os_hash_value", "images": "next", "member": "status", "members": "members"}
    assert expected[model] in explained
    assert model != "image" or all(explained.values())


def test_wrong_token(users: Users) -> None:
    """Who is not known is told so, which is what the client makes of a 401."""
    wrong = Client("nobody", users.alice.url, users.alice.folder, users.alice.ca, "", "gtx_guessed")
    assert "Invalid OpenStack Identity credentials" in wrong.refused("glance", "image-list")


def test_nothing_went_wrong(cloud: Cloud) -> None:
    """After all of it the log has no error."""
    assert re.findall(r"Traceback|#error|#critical", cloud.daemon.log.read_text()) == []
