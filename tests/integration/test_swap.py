"""One configuration file, policy file, database and store: a real Glance and we, in turn and at once, see the same."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest
from attrs import frozen

from tests.running import DATA, PATCH, Daemon
from tests.services.glance import RealGlance, find_venv


def person(user: str, project: str, roles: str = "member,reader") -> dict[str, str]:
    return {"X-User-Id": user, "X-Project-Id": project, "X-Tenant-Id": project, "X-Roles": roles}


ADMIN: Final = person("root", "admins", "admin,member,reader")
OWNER: Final = person("ann", "red")
FRIEND: Final = person("bob", "blue")
OPTIONS: Final = """
[DEFAULT]
enabled_backends = one:file,two:file
show_multiple_locations = true
show_image_direct_url = true
[glance_store]
default_backend = one
[one]
filesystem_store_datadir = {folder}/one
store_description = the first
[two]
filesystem_store_datadir = {folder}/two
[os_glance_staging_store]
filesystem_store_datadir = {folder}/staging
[os_glance_tasks_store]
filesystem_store_datadir = {folder}/tasks
[oslo_policy]
policy_file = {folder}/policy.yaml
[glancetx]
authentication = trusted
"""
HEADERS: Final = ("content-type", "content-md5", "content-length", "content-range")


@frozen
class Side:
    """One of the two services, while it runs."""

    port: int

    def call(
        self, method: str, path: str, body: Any = None, who: Mapping[str, str] = OWNER, **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        sent = {**who, "X-Identity-Status": "Confirmed", **{name.replace("_", "-"): v for name, v in headers.items()}}
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
            sent.setdefault("Content-Type", PATCH if method == "PATCH" else "application/json")
        try:
            connection.request(method, path, body, sent)
            answer = connection.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            return answer.status, found, answer.read()
        finally:
            connection.close()

    def do(self, method: str, path: str, body: Any = None, who: Mapping[str, str] = OWNER, **headers: str) -> Any:
        """The document of an answer that must be a good one."""
        status, _, content = self.call(method, path, body, who, **headers)
        assert status < 300, (method, path, status, content)
        return json.loads(content) if content else None

    def everything(self) -> dict[str, Any]:
        """All that each caller is told of all images, and what their data look like."""
        found: dict[str, Any] = {}
        for name, who in (("admin", ADMIN), ("owner", OWNER), ("friend", FRIEND)):
            for hidden in ("false", "true"):
                listed = self.do("GET", f"/v2/images?limit=1000&sort=id:asc&os_hidden={hidden}", who=who)
                found[f"{name} {hidden}"] = [tidy(image) for image in listed["images"]]
        for image in self.do("GET", "/v2/images?limit=1000&sort=id:asc&visibility=all", who=ADMIN)["images"]:
            path = f"/v2/images/{image['id']}"
            found[path] = tidy(self.do("GET", path, who=ADMIN))
            for below in ("members", "file"):
                status, headers, content = self.call("GET", f"{path}/{below}", who=ADMIN)
                told = {header: headers.get(header) for header in HEADERS} if below == "file" and content else None
                found[f"{path}/{below}"] = (status, told, hashlib.sha256(content).hexdigest())
        return found


def tidy(image: Any) -> Any:
    """The order of tags means nothing."""
    return {**image, "tags": sorted(image["tags"])}


class Pair:
    """Glance and we on the same files; either runs, or both."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ours = Daemon(folder)  # writes a file of its own, which is then written over
        self._glance = RealGlance(find_venv(), folder, OPTIONS.format(folder=folder))
        (folder / "policy.yaml").write_text('"publicize_image": "role:member"\n')
        for name in ("one", "two", "staging", "tasks"):
            (folder / name).mkdir()

    def glance(self) -> Side:
        if not self._glance.running:
            self._glance.start()
        return Side(self._glance.port)

    def ours(self) -> Side:
        self._ours.start()
        return Side(self._ours.port)

    def stop(self) -> None:
        self._glance.stop()
        self._ours.stop()

    def files(self) -> dict[str, str]:
        """Every file of the stores, by the digest of its content."""
        paths = [path for name in ("one", "two") for path in (self.folder / name).iterdir()]
        return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths if path.is_file()}


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    pair = Pair(tmp_path)
    yield pair
    pair.stop()


def make(side: Side, **values: Any) -> str:
    document = {"name": "x", "disk_format": "raw", "container_format": "bare", **values}
    return str(side.do("POST", "/v2/images", document)["id"])


def fill(side: Side, image_id: str, data: bytes, **headers: str) -> None:
    side.do("PUT", f"/v2/images/{image_id}/file", data, OWNER, Content_Type=DATA, **headers)


def populate(side: Side) -> list[str]:
    """Images of every kind, made by one side."""
    queued = make(side, name="queued", os_distro="debian", empty="")
    plain, public = make(side, name="plain ü 漢", tags=["b", "a"]), make(side, visibility="public", min_ram=512)
    shared, hidden = make(side, visibility="shared", of="friends"), make(side, os_hidden=True, min_disk=3)
    away, off = make(side, visibility="community", name=None), make(side, protected=True)
    for image_id in (plain, public, shared, hidden, off):
        fill(side, image_id, os.urandom(70_000))
    fill(side, away, b"in the second store", X_Image_Meta_Store="two")
    side.do("POST", f"/v2/images/{shared}/members", {"member": "blue"})
    side.do("PUT", f"/v2/images/{shared}/members/blue", {"status": "accepted"}, FRIEND)
    side.do("PUT", f"/v2/images/{plain}/tags/later")
    side.do("POST", f"/v2/images/{off}/actions/deactivate", who=ADMIN)
    gone = make(side)
    fill(side, gone, b"deleted again")
    side.do("DELETE", f"/v2/images/{gone}")
    return [queued, plain, public, shared, hidden, away, off]


def work_on(side: Side, images: list[str]) -> None:
    """Change, fill and remove what the other side has made."""
    queued, plain, public, shared, hidden, away, off = images
    fill(side, queued, b"filled by the other one", X_Image_Meta_Store="two")
    side.do(
        "PATCH",
        f"/v2/images/{plain}",
        [
            {"op": "replace", "path": "/name", "value": "changed"},
            {"op": "add", "path": "/added", "value": "ü"},
            {"op": "replace", "path": "/tags", "value": ["c", "a"]},
        ],
    )
    side.do("PATCH", f"/v2/images/{public}", [{"op": "replace", "path": "/os_hidden", "value": True}])
    side.do("DELETE", f"/v2/images/{shared}/members/blue")
    side.do("PATCH", f"/v2/images/{shared}", [{"op": "remove", "path": "/of"}])
    side.do("POST", f"/v2/images/{off}/actions/reactivate", who=ADMIN)
    for image_id in (hidden, away):
        side.do("DELETE", f"/v2/images/{image_id}")


def test_in_turn(pair: Pair) -> None:
    """Stop the one, start the other, and nothing differs; four times, with work by each in between."""
    glance = pair.glance()
    images = populate(glance)
    before, files = glance.everything(), pair.files()
    pair.stop()

    ours = pair.ours()
    assert ours.everything() == before
    assert pair.files() == files
    work_on(ours, images)
    more = populate(ours)
    before, files = ours.everything(), pair.files()
    pair.stop()

    glance = pair.glance()
    assert glance.everything() == before
    assert pair.files() == files
    work_on(glance, more)
    before, files = glance.everything(), pair.files()
    pair.stop()

    ours = pair.ours()
    assert ours.everything() == before
    assert pair.files() == files


def test_at_once(pair: Pair) -> None:
    """What one does the other sees at once, and goes on with."""
    sides = [pair.glance(), pair.ours()]
    for one, other in (sides, sides[::-1]):
        images = populate(one)
        assert other.everything() == one.everything()
        work_on(other, images)
        assert one.everything() == other.everything()
        again = str(uuid.uuid4())
        assert make(one, id=again) == again
        assert other.call("POST", "/v2/images", {"id": again})[0] == 409
        fill(other, again, b"half and half")
        one.do("DELETE", f"/v2/images/{again}")
        assert other.call("GET", f"/v2/images/{again}")[0] == 404
    left = {path.rpartition("/")[2] for path in pair.files()}
    listed = sides[0].do("GET", "/v2/images?limit=1000&visibility=all", who=ADMIN)["images"]
    hidden = sides[0].do("GET", "/v2/images?limit=1000&visibility=all&os_hidden=true", who=ADMIN)["images"]
    assert left == {image["id"] for image in [*listed, *hidden] if image["size"]}
