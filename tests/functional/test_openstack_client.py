"""Every ``openstack image`` command this version serves, by the real client."""

from __future__ import annotations

import hashlib
import re
import uuid
from pathlib import Path
from typing import Any

import pytest

from tests.cloud import ALICE, BOB, CONTENT, PROJECTS, Client, Cloud, Users

WONDERLAND, BUILDERS = PROJECTS[ALICE], PROJECTS[BOB]


def names(listed: list[dict[str, Any]]) -> list[str]:
    return [row["Name"] for row in listed]


def test_create_says_what_it_was_told(users: Users, name: str) -> None:
    """All that can be said about an image without data is kept, and shown again by id and by name."""
    own_id = str(uuid.uuid4())
    options = ["--id", own_id, "--container-format", "ovf", "--disk-format", "qcow2", "--min-disk", 3, "--min-ram", 512]
    options += ["--protected", "--community", "--property", "os_distro=debian", "--property", "own=a=b", "--tag", "x"]
    created = users.alice.ask("create", *options, "--tag", "y", name)
    for shown in (created, users.alice.ask("show", own_id), users.alice.ask("show", name)):
        facts = ("id", "name", "status", "container_format", "disk_format", "min_disk", "min_ram", "protected", "owner")
        told = [own_id, name, "queued", "ovf", "qcow2", 3, 512, True, WONDERLAND]
        assert [shown[fact] for fact in facts] == told
        assert shown["visibility"] == "community"
        assert sorted(shown["tags"]) == ["x", "y"]
        assert (shown["properties"]["os_distro"], shown["properties"]["own"]) == ("debian", "a=b")
    assert "409" in users.alice.refused("openstack", "image", "create", "--id", own_id, name)


@pytest.mark.parametrize("way", ["file", "pipe"])
def test_create_with_data(users: Users, name: str, way: str, tmp_path: Path) -> None:
    """The data come from a file, whose size is known, or from a pipe, whose size is not; they are saved unchanged."""
    if way == "file":
        created = users.alice.ask("create", "--file", "in.raw", "--disk-format", "raw", name)
    else:
        created = users.alice.ask("create", "--disk-format", "raw", name, data=CONTENT)
    assert (created["status"], created["size"]) == ("active", len(CONTENT))
    assert created["checksum"] == hashlib.md5(CONTENT).hexdigest()
    assert created["properties"]["os_hash_value"] == hashlib.sha512(CONTENT).hexdigest()
    users.alice.openstack("save", "--file", tmp_path / "out.raw", name)
    assert (tmp_path / "out.raw").read_bytes() == CONTENT
    assert "301500" in users.alice.openstack("show", created["id"])
    assert "301.5K" in users.alice.openstack("show", "--human-readable", created["id"])


def test_save_to_a_pipe(users: Users, name: str) -> None:
    """Without ``--file`` the data are written to standard output."""
    text = b"some text\n" * 1000
    users.alice.openstack("create", "--disk-format", "raw", name, data=text)
    assert users.alice.openstack("save", name) == text.decode()


def test_wrong_format_is_refused(users: Users, name: str) -> None:
    """Data that are no qcow2 are told to be none; no image of them remains."""
    said = users.alice.refused("openstack", "image", "create", "--file", "in.raw", "--disk-format", "qcow2", name)
    assert "415" in said
    assert users.alice.ask("list", "--name", name, "--status", "active") == []


def test_list_filters(users: Users, name: str) -> None:
    """Each filter keeps what has it, and drops what has not."""
    options = ["--disk-format", "raw", "--container-format", "bare"]
    one, two, three = (f"{name} {number}" for number in (1, 2, 3))
    users.alice.openstack("create", *options, "--private", "--tag", "a", "--property", f"mine={name}", one)
    users.alice.openstack("create", *options, "--community", "--tag", "a", "--tag", "b", two)
    users.alice.openstack("create", *options, "--shared", "--file", "in.raw", "--property", f"mine={name}", three)

    def listed(*filters: str, by: Client = users.alice) -> list[str]:
        return sorted(found for found in names(by.ask("list", *filters)) if found.startswith(name))

    assert listed() == [one, two, three]
    assert listed("--private") == [one]
    assert listed("--community") == [two]
    assert listed("--shared") == [three]
    assert listed("--public") == []
    assert listed("--all") == [one, two, three]
    assert listed("--property", f"mine={name}") == [one, three]
    assert listed("--property", f"mine={name}", "--tag", "a") == [one]
    assert listed("--tag", "a", "--tag", "b") == [two]
    assert listed("--name", two) == [two]
    assert listed("--status", "active") == [three]
    assert listed("--status", "queued") == [one, two]
    assert listed("--project", WONDERLAND) == [one, two, three]
    assert listed("--project", BUILDERS) == []
    assert listed(by=users.bob) == []
    assert listed("--community", by=users.bob) == [two]
    assert listed("--project", WONDERLAND, by=users.admin) == [one, three]
    rows = [row for row in users.alice.ask("list", "--long") if row["Name"] == three]
    assert [(row["Size"], row["Status"], row["Visibility"], row["Project"]) for row in rows] == [
        (len(CONTENT), "active", "shared", WONDERLAND)
    ]


def test_list_sorts_and_pages(users: Users, cloud: Cloud, name: str) -> None:
    """Keys and directions, a most, and a marker."""
    ids = {}
    for letter, ram in (("a", 1), ("b", 2), ("c", 2)):
        ids[letter] = users.alice.ask("create", "--property", f"of={name}", "--min-ram", ram, f"{name} {letter}")["id"]
    for place, letter in enumerate("abc", start=1):  # younger than what other tests make
        cloud.postdate(ids[letter], 600 * place)

    def letters(*options: object) -> str:
        found = names(users.alice.ask("list", "--property", f"of={name}", *options))
        return "".join(each[-1] for each in found)

    assert letters() == "abc"
    assert letters("--sort", "name:desc") == "cba"
    assert letters("--sort", "created_at:asc") == "abc"
    assert letters("--sort", "status:asc,name:desc") == "cba"
    assert letters("--limit", 2) == "bc"  # the newest; what has come is sorted by the client
    assert letters("--max-items", 1) == "c"
    assert letters("--marker", ids["c"]) == "ab"
    assert letters("--sort", "name:desc", "--marker", ids["b"]) == "a"


def test_set(users: Users, name: str) -> None:
    """Everything that can be changed is."""
    image_id = users.alice.ask("create", name)["id"]
    known = {"architecture": "x86_64", "os_distro": "debian", "os_version": "12"}
    known |= {key: str(uuid.uuid4()) for key in ("kernel_id", "ramdisk_id", "instance_id")}
    options = [f"--{key.replace('_', '-')}={value}" for key, value in known.items()]
    options += ["--name", f"{name} new", "--min-disk", "2", "--min-ram", "64", "--container-format", "ova"]
    options += ["--disk-format", "vdi", "--protected", "--community", "--tag", "x", "--tag", "y", "--property", "a=b"]
    users.alice.openstack("set", *options, image_id)
    shown = users.alice.ask("show", image_id)
    facts = ("name", "min_disk", "min_ram", "container_format", "disk_format", "protected", "visibility")
    assert [shown[fact] for fact in facts] == [f"{name} new", 2, 64, "ova", "vdi", True, "community"]
    assert sorted(shown["tags"]) == ["x", "y"]
    assert {key: shown["properties"][key] for key in (*known, "a")} == known | {"a": "b"}
    users.alice.openstack("set", "--unprotected", "--private", image_id)
    assert users.alice.ask("show", image_id)["visibility"] == "private"
    users.alice.openstack("set", "--shared", image_id)
    users.admin.openstack("set", "--public", "--project", BUILDERS, image_id)
    shown = users.bob.ask("show", image_id)
    assert (shown["visibility"], shown["owner"]) == ("public", BUILDERS)


def test_set_what_may_not_be(users: Users, name: str) -> None:
    """Members publish nothing, give nothing away, and change no format of what has data; strangers nothing at all."""
    image_id = users.alice.ask("create", "--file", "in.raw", "--disk-format", "raw", name)["id"]
    for options in (["--public"], ["--project", BUILDERS], ["--disk-format", "vdi"]):
        assert "403" in users.alice.refused("openstack", "image", "set", *options, image_id)
    assert "No Image found" in users.bob.refused("openstack", "image", "set", "--name", "stolen", image_id)
    shown = users.alice.ask("show", image_id)
    facts = ("name", "visibility", "owner", "disk_format")
    assert [shown[fact] for fact in facts] == [name, "shared", WONDERLAND, "raw"]


def test_unset(users: Users, name: str) -> None:
    """Tags and properties go; those which are not there are told."""
    users.alice.openstack("create", "--tag", "x", "--tag", "y", "--property", "a=b", "--property", "c=d", name)
    users.alice.openstack("unset", "--tag", "x", "--property", "a", name)
    shown = users.alice.ask("show", name)
    assert shown["tags"] == ["y"]
    assert "a" not in shown["properties"]
    assert shown["properties"]["c"] == "d"
    assert "nonexistent" in users.alice.refused("openstack", "image", "unset", "--tag", "x", name)
    assert "nonexistent" in users.alice.refused("openstack", "image", "unset", "--property", "a", name)


def test_hide(users: Users, name: str) -> None:
    """A hidden image is only in the list of hidden ones."""
    image_id = users.alice.ask("create", name)["id"]
    users.alice.openstack("set", "--hidden", image_id)
    assert name not in names(users.alice.ask("list"))
    assert name in names(users.alice.ask("list", "--hidden"))
    users.alice.openstack("set", "--unhidden", image_id)
    assert name in names(users.alice.ask("list"))
    assert name not in names(users.alice.ask("list", "--hidden"))


def test_deactivate(users: Users, name: str, tmp_path: Path) -> None:
    """Its owner reads a deactivated image no more; activated again it is as before."""
    image_id = users.alice.ask("create", "--file", "in.raw", "--disk-format", "raw", name)["id"]
    users.alice.openstack("set", "--deactivate", image_id)
    assert users.alice.ask("show", image_id)["status"] == "deactivated"
    users.alice.refused("openstack", "image", "save", "--file", tmp_path / "out.raw", image_id)
    users.alice.openstack("set", "--activate", image_id)
    users.alice.openstack("save", "--file", tmp_path / "out.raw", image_id)
    assert (tmp_path / "out.raw").read_bytes() == CONTENT


def test_share(users: Users, name: str, tmp_path: Path) -> None:
    """A project is added, accepts, is listed, reads, rejects, and is removed."""
    image_id = users.alice.ask("create", "--file", "in.raw", "--disk-format", "raw", "--shared", name)["id"]
    assert "No Image found" in users.bob.refused("openstack", "image", "show", image_id)
    added = users.alice.ask("add", "project", image_id, BUILDERS)
    assert (added["member_id"], added["status"]) == (BUILDERS, "pending")
    assert name in names(users.bob.ask("list", "--shared", "--member-status", "pending"))
    assert name not in names(users.bob.ask("list"))
    users.bob.openstack("set", "--accept", "--project", BUILDERS, image_id)
    assert name in names(users.bob.ask("list"))
    users.bob.openstack("save", "--file", tmp_path / "out.raw", image_id)
    assert (tmp_path / "out.raw").read_bytes() == CONTENT
    rows = users.alice.ask("member", "list", image_id)
    assert rows == [{"Image ID": image_id, "Member ID": BUILDERS, "Status": "accepted"}]
    assert users.alice.ask("member", "get", image_id, BUILDERS)["status"] == "accepted"
    users.bob.openstack("set", "--reject", "--project", BUILDERS, image_id)
    assert name in names(users.bob.ask("list", "--member-status", "rejected"))
    users.bob.openstack("set", "--pending", "--project", BUILDERS, image_id)
    assert users.alice.ask("member", "get", image_id, BUILDERS)["status"] == "pending"
    users.alice.openstack("remove", "project", image_id, BUILDERS)
    assert users.alice.ask("member", "list", image_id) == []
    assert "No Image found" in users.bob.refused("openstack", "image", "show", image_id)


def test_delete(users: Users, cloud: Cloud, name: str) -> None:
    """Several at once, by id and by name; a protected one stays; data are gone with their image."""
    ids = [users.alice.ask("create", "--file", "in.raw", f"{name} {number}")["id"] for number in (1, 2, 3)]
    users.alice.openstack("set", "--protected", ids[2])
    users.alice.openstack("delete", ids[0], f"{name} 2")
    assert "protected" in users.alice.refused("openstack", "image", "delete", ids[2])
    assert "No Image found" in users.alice.refused("openstack", "image", "show", ids[0])
    assert [each for each in ids if each in cloud.stored()] == [ids[2]]
    users.alice.openstack("set", "--unprotected", ids[2])
    users.alice.openstack("delete", ids[2])
    assert [each for each in ids if each in cloud.stored()] == []


def test_nothing_went_wrong(cloud: Cloud) -> None:
    """After all of it the log has no error."""
    assert re.findall(r"Traceback|#error|#critical", cloud.daemon.log.read_text()) == []
