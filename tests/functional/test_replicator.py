"""``glancetx-replicator`` between two daemons, and between one and a folder (P-120..P-126)."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.functional.test_crash import create, show
from tests.nursery import run_command
from tests.running import DATA, PATCH, Daemon

CONTENT = os.urandom(3_000_000)


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Daemon]:
    (tmp_path / "other").mkdir()
    daemon = Daemon(tmp_path / "other")
    daemon.start()
    yield daemon
    daemon.stop()


@pytest.fixture
def first(daemon: Daemon) -> Daemon:
    daemon.start()
    return daemon


def run(*words: object, status: int = 0, whole: bool = False) -> str:
    done = run_command("glancetx-replicator", *words, whole=whole)
    assert done.returncode == status, done
    return done.stdout + done.stderr


def made(daemon: Daemon, data: bytes = CONTENT, **values: Any) -> str:
    document = {"name": "x", "disk_format": "raw", "container_format": "bare", **values}
    image_id: str = json.loads(daemon.call("POST", "/v2/images", json.dumps(document).encode())[1])["id"]
    assert daemon.call("PUT", f"/v2/images/{image_id}/file", data, Content_Type=DATA)[0] == 204
    return image_id


def data_of(daemon: Daemon, image_id: str) -> bytes:
    return daemon.call("GET", f"/v2/images/{image_id}/file")[1]


def place(daemon: Daemon) -> str:
    """As glance-replicator names servers."""
    return f"127.0.0.1:{daemon.port}"


def test_livecopy(first: Daemon, other: Daemon) -> None:
    """Images come with their ids, all that is said of them, and their bytes; again, only what has changed."""
    full = made(first, tags=["a", "b"], os_distro="debian", visibility="public", min_ram=7, protected=True)
    hidden, empty, queued = made(first, os_hidden=True), made(first, b""), create(first)
    assert "3 images" in run("size", place(first))
    text = run("livecopy", place(first), place(other))
    assert text == "Images: 3 copied, 1 left out.\n"
    same = {"created_at", "updated_at", "owner"}
    for image_id in (full, hidden, empty):
        one, copy = show(first, image_id), show(other, image_id)
        assert {k: v for k, v in one.items() if k not in same} == {k: v for k, v in copy.items() if k not in same}
    assert data_of(other, full) == CONTENT
    assert show(other, queued) is None
    run("compare", place(first), place(other))
    change = json.dumps([{"op": "replace", "path": "/os_distro", "value": "other"}]).encode()
    assert first.call("PATCH", f"/v2/images/{full}", change, Content_Type=PATCH)[0] == 200
    assert "os_distro is 'other'" in run("compare", place(first), place(other), status=1)
    assert run("livecopy", place(first), place(other)) == "Images: 1 changed, 2 there already, 1 left out.\n"
    assert show(other, full)["os_distro"] == "other"
    run("compare", place(first), place(other))
    lonely = made(other)
    assert f"{lonely}: not at" in run("compare", place(other), place(first), status=1)


def test_what_ended_early_is_gone_on_with(first: Daemon, other: Daemon) -> None:
    """An image that is there without its data gets it; an unknown one in the middle does not keep the rest."""
    one, two = made(first), made(first)
    body = {"id": one, "name": "x", "disk_format": "raw", "container_format": "bare"}
    assert other.call("POST", "/v2/images", json.dumps(body).encode())[0] == 201
    (first.images / two).unlink()
    text = run("livecopy", place(first), place(other), status=1)
    assert two in text
    assert "Images: 1 copied, 1 failed." in text
    assert data_of(other, one) == CONTENT


def test_damaged_on_the_way(first: Daemon, other: Daemon) -> None:
    """Other bytes than the digest says never become an active image."""
    image_id = made(first)
    (first.images / image_id).write_bytes(CONTENT[:-1] + bytes([CONTENT[-1] ^ 1]))
    run("livecopy", place(first), place(other), status=1)
    assert (show(other, image_id) or {"status": "queued"})["status"] == "queued"


def test_dump_and_load(first: Daemon, other: Daemon, tmp_path: Path) -> None:
    """A folder holds what glance-replicator's would; what was written in part is gone on with, and never taken."""
    folder = tmp_path / "dump"
    one, two = made(first, os_distro="debian"), made(first, b"small")
    folder.mkdir()
    (folder / f"{one}.part").write_bytes(CONTENT[:1_000_000])
    assert run("dump", place(first), folder) == "Images: 2 copied.\n"
    assert (folder / f"{one}.img").read_bytes() == CONTENT
    assert sorted(path.name for path in folder.iterdir()) == sorted([one, f"{one}.img", two, f"{two}.img"])
    assert json.loads((folder / one).read_text())["os_distro"] == "debian"
    assert run("dump", place(first), folder) == "Images: 2 there already.\n"
    (folder / f"{two}.img").unlink()
    assert run("load", place(other), folder) == "Images: 1 copied, 1 left out.\n"
    assert data_of(other, one) == CONTENT
    assert show(other, one)["os_distro"] == "debian"
    assert run("load", place(other), folder) == "Images: 1 there already, 1 left out.\n"


def test_a_wrong_part_is_thrown_away(first: Daemon, tmp_path: Path) -> None:
    """If what was there is of other bytes, the digest tells, and the next dump begins anew."""
    image_id, folder = made(first), tmp_path / "dump"
    folder.mkdir()
    (folder / f"{image_id}.part").write_bytes(b"?" * 1000)
    assert "1 failed" in run("dump", place(first), folder, status=1)
    assert list(folder.iterdir()) == []
    assert run("dump", place(first), folder) == "Images: 1 copied.\n"


def test_old_dumps_are_read(other: Daemon, tmp_path: Path) -> None:
    """A record in the words of version 1 of the API, as glance-replicator wrote it."""
    image_id = "11111111-2222-4333-8444-555555555555"
    record = {
        "id": image_id,
        "name": "old",
        "status": "active",
        "size": "5",
        "is_public": "True",
        "min_ram": "3",
        "disk_format": "raw",
        "container_format": "bare",
        "property-os_distro": "debian",
        "deleted": "False",
        "protected": "False",
        "created_at": "2012-01-01T00:00:00",
    }
    folder = tmp_path / "old"
    folder.mkdir()
    (folder / image_id).write_text(json.dumps(record))
    (folder / f"{image_id}.img").write_bytes(b"hello")
    assert run("load", place(other), folder) == "Images: 1 copied.\n"
    shown = show(other, image_id)
    assert (shown["visibility"], shown["os_distro"], shown["min_ram"], shown["size"]) == ("public", "debian", 3, 5)


def test_nobody_there(tmp_path: Path) -> None:
    """One line, and no traceback."""
    text = run("size", "127.0.0.1:1", status=1, whole=True)
    assert text.startswith("Error: 127.0.0.1:1")
    assert "Traceback" not in text
