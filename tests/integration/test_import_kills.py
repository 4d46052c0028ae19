"""Two nodes on one MariaDB are killed again and again, each at a random moment, while images are imported.

``GLANCETX_KILLS`` tells how often; CI does it a few times. Whatever the moment: no import is stuck, each ends well or
with a reason, and no byte is left that belongs to nobody.
"""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field

from tests.running import DATA, PATIENCE, Daemon
from tests.services.keystone import RealKeystone
from tests.services.mariadb import MariaDb
from tests.services.source import Source, serving

KILLS = int(os.environ.get("GLANCETX_KILLS", "3"))
CONTENT = os.urandom(6 * 1024 * 1024)
METHODS = ("glance-direct", "web-download", "copy-image", "glance-download")
STORES = ("fast", "cheap")
THERE = "RegionKills"


@define
class Nodes:
    """Both nodes, and what was asked of them: the ids of images by the method."""

    daemons: list[Daemon]
    folder: Path
    source: Source
    token: str
    remote: str  # the image in the other region
    asked: dict[str, str] = field(factory=dict)

    def call(self, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes]:
        """One request to a node that answers; it may have been obeyed before, by one that was killed."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            try:
                status, answer = random.choice(self.daemons).call(
                    method, path, body, X_Auth_Token=self.token, **headers
                )
            except OSError:
                continue
            if status < 500:
                return status, answer
            time.sleep(0.05)
        raise AssertionError("no node answers")

    def ask(self, method: str, path: str, document: Any = None) -> Any:
        body = None if document is None else json.dumps(document).encode()
        return json.loads(self.call(method, path, body)[1])

    def begin(self, method: str) -> None:
        """Begin one import by this method; what comes of it is told by `outcome`."""
        image_id = self.ask("POST", "/v2/images", {"disk_format": "raw", "container_format": "bare"})["id"]
        named: dict[str, Any] = {"name": method}
        document: dict[str, Any] = {"method": named, "all_stores": True}
        if method == "web-download":
            named["uri"] = f"{self.source.url}/x?rate=8000000"
        elif method == "glance-download":
            named |= {"glance_region": THERE, "glance_image_id": self.remote}
        else:
            place = "stage" if method == "glance-direct" else "file"
            self.call("PUT", f"/v2/images/{image_id}/{place}", CONTENT, Content_Type=DATA)
        self.call("POST", f"/v2/images/{image_id}/import", json.dumps(document).encode())
        self.asked[image_id] = method

    def outcome(self, image_id: str) -> str | None:
        """How an import ended, and that it is right; None as long as it goes on."""
        image = self.ask("GET", f"/v2/images/{image_id}")
        tasks = self.ask("GET", f"/v2/images/{image_id}/tasks")["tasks"]
        goes_on = [each for each in tasks if each["status"] in ("pending", "processing")]
        if goes_on or image["status"] in ("importing", "saving") or "os_glance_import_task" in image:
            return None
        ended = tasks[-1]["status"] if tasks else "not begun"
        if ended == "failure":
            assert tasks[-1]["message"]
            assert self.asked[image_id] == "glance-download"  # whose token dies with the process that knows it
        if ended == "success":
            assert (image["status"], set(image["stores"].split(","))) == ("active", set(STORES))
            assert image["os_glance_failed_import"] == image["os_glance_importing_to_stores"] == ""
        for name in (image.get("stores") or "").split(",") if image["status"] == "active" else ():
            assert Path(self.folder, name, image_id).read_bytes() == CONTENT
        return str(ended)

    def owned(self) -> dict[str, set[str]]:
        """The files that should be there, by folder."""
        files: dict[str, set[str]] = {name: set() for name in (*STORES, "staging")}
        for image_id in self.asked:
            image = self.ask("GET", f"/v2/images/{image_id}")
            for name in (image.get("stores") or "").split(",") if image["status"] == "active" else ():
                files[name].add(image_id)
            if image["status"] == "uploading":
                files["staging"].add(image_id)
        return files

    def found(self) -> dict[str, set[str]]:
        return {name: {path.name for path in Path(self.folder, name).iterdir()} for name in (*STORES, "staging")}


@pytest.fixture
def there(keystone: RealKeystone, tmp_path: Path) -> Iterator[Daemon]:
    """An image service of another region."""
    (tmp_path / "there").mkdir()
    daemon = Daemon(tmp_path / "there")
    daemon.configure(keystone.authentication)
    daemon.start()
    keystone.add_endpoint("image", daemon.url, THERE)
    yield daemon
    daemon.stop()


def remote_image(there: Daemon, token: str) -> str:
    document = json.dumps({"disk_format": "raw", "container_format": "bare"}).encode()
    image_id = str(json.loads(there.call("POST", "/v2/images", document, X_Auth_Token=token)[1])["id"])
    path = f"/v2/images/{image_id}/file"
    assert there.call("PUT", path, CONTENT, X_Auth_Token=token, Content_Type=DATA)[0] == 204
    return image_id


@pytest.fixture
def nodes(keystone: RealKeystone, there: Daemon, tmp_path: Path) -> Iterator[Nodes]:
    server = MariaDb()
    token = keystone.issue("admin")
    with serving(CONTENT) as source:
        daemons = []
        try:
            server.start()
            server.create("kills")
            for name in ("one", "two"):
                (tmp_path / name).mkdir()
                daemons.append(Daemon(tmp_path / name))
                daemons[-1].configure(f"""
                    [DEFAULT]
                    enabled_backends = fast:file, cheap:file
                    enabled_import_methods = [glance-direct,web-download,copy-image,glance-download]
                    [database]
                    connection = {server.url("kills")}
                    [glance_store]
                    default_backend = fast
                    [fast]
                    filesystem_store_datadir = {tmp_path}/fast
                    [cheap]
                    filesystem_store_datadir = {tmp_path}/cheap
                    [os_glance_staging_store]
                    filesystem_store_datadir = {tmp_path}/staging
                    [import_filtering_opts]
                    allowed_hosts = 127.0.0.1
                    allowed_ports = {source.port},{there.port}
                """)
                daemons[-1].configure(keystone.authentication)
                daemons[-1].start()
            yield Nodes(daemons, tmp_path, source, token, remote_image(there, token))
        finally:
            for daemon in daemons:
                daemon.stop()
            server.remove()


def test_killed_at_random(nodes: Nodes) -> None:
    """0 stuck, 0 orphans, and every import right, or failed with a reason."""
    started = time.monotonic()
    for kill in range(KILLS):
        for method in METHODS:
            nodes.begin(method)
        time.sleep(random.uniform(0, 1.5))
        victim = nodes.daemons[kill % 2]
        victim.signal(signal.SIGKILL)
        victim.wait()
        victim.start()
    killed = time.monotonic() - started
    deadline = time.monotonic() + max(60.0, PATIENCE)
    left = dict(nodes.asked)
    outcomes: Counter[tuple[str, str]] = Counter()
    while left and time.monotonic() < deadline:
        for image_id, method in list(left.items()):
            if (outcome := nodes.outcome(image_id)) is not None:
                outcomes[method, outcome] += 1
                del left[image_id]
    settled = time.monotonic() - started - killed
    assert not left, [nodes.ask("GET", f"/v2/images/{image_id}") for image_id in left]
    while (owned := nodes.owned()) != (found := nodes.found()) and time.monotonic() < deadline + 120:
        time.sleep(1.0)
    assert found == owned
    print(f"{KILLS} kills in {killed:.0f} s, settled {settled:.0f} s later: {dict(outcomes)}")
