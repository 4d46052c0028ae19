"""Imports from the image service of another region: a second service of ours, and a catalog that knows where it is.

Contract rows P-012.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from attrs import define, evolve
from twisted.internet.endpoints import serverFromString
from twisted.internet.task import deferLater
from twisted.web.server import Site

from glancetx.config.settings import AccessSettings, Credentials, ImportSettings, KeystoneSettings, TokenSettings
from glancetx.domain.addresses import FetchRules
from glancetx.domain.importing import GLANCE_DOWNLOAD
from glancetx.testing.fakes import until
from glancetx.testing.keystone import PASSWORD, FakeKeystone, project
from tests.functional.test_web_download import QUICK
from tests.running import DATA, PATIENCE, Api, Reply, Started, settings_in

CONTENT = os.urandom(500_000)
THERE = "RegionTwo"


@define
class Regions:
    """A service, and one of another region; who asks has *token*."""

    here: Api
    there: Api
    keystone: FakeKeystone
    token: str

    async def ask(self, api: Api, method: str, path: str, document: Any = None, **headers: str) -> Reply:
        data = document if isinstance(document, bytes | None) else json.dumps(document).encode()
        return await api.request(method, path, data, X_Auth_Token=self.token, **headers)

    async def create(self, api: Api, **values: Any) -> str:
        wanted = {"name": "x", "disk_format": "raw", "container_format": "bare"} | values
        return str((await self.ask(api, "POST", "/v2/images", wanted)).json["id"])

    async def remote(self, **values: Any) -> str:
        """An active image of the other region."""
        image_id = await self.create(self.there, **values)
        reply = await self.ask(self.there, "PUT", f"/v2/images/{image_id}/file", CONTENT, Content_Type=DATA)
        assert reply.status == 204
        return image_id

    async def fetch(self, remote_id: str, image_id: str, **more: Any) -> Reply:
        method = {"name": GLANCE_DOWNLOAD, "glance_region": THERE, "glance_image_id": remote_id, **more}
        return await self.ask(self.here, "POST", f"/v2/images/{image_id}/import", {"method": method})

    async def show(self, image_id: str) -> Any:
        return (await self.ask(self.here, "GET", f"/v2/images/{image_id}")).json

    async def ended(self, image_id: str) -> Any:
        """The image's task, when it has ended."""
        from twisted.internet import reactor

        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            tasks = (await self.ask(self.here, "GET", f"/v2/images/{image_id}/tasks")).json["tasks"]
            if tasks[-1]["status"] in ("success", "failure"):
                return tasks[-1]
            await deferLater(reactor, 0.05)
        raise AssertionError(tasks)


@pytest_twisted.async_yield_fixture
async def regions(start: Started, tmp_path: Path) -> AsyncIterator[Regions]:
    """The other service's port is the only one that may be fetched from."""
    from twisted.internet import reactor

    fake = FakeKeystone(time.time)
    fake.add("glance", project("service"), ["service"])
    fake.add("red", project("red"), ["member", "reader"])
    port: Any = await serverFromString(reactor, "tcp:0:interface=127.0.0.1").listen(Site(fake))
    url = f"http://127.0.0.1:{port.getHost().port}"
    credentials = Credentials(auth_url=url, username="glance", password=PASSWORD, project_name="service")
    tokens = TokenSettings(keystone=KeystoneSettings(credentials=credentials, retries=0), www_authenticate_uri=url)
    access = AccessSettings(authentication="keystone", tokens=tokens)
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
    there = await start(settings_in(tmp_path / "there", access=access))
    imports = ImportSettings(methods=(GLANCE_DOWNLOAD,), staging=tmp_path / "here" / "staging")
    here = await start(
        settings_in(
            tmp_path / "here",
            access=access,
            imports=imports,
            fetch=FetchRules(allowed_hosts=("127.0.0.1",), allowed_ports=(there.port,)),
            downloads=QUICK,
        )
    )
    places = [{"interface": "public", "region_id": THERE, "url": there.url}]
    places.append({"interface": "internal", "region_id": THERE, "url": f"{there.url}/v2/"})
    places.append({"interface": "admin", "region_id": THERE, "url": "http://10.0.0.1/"})
    fake.catalog = [{"type": "image", "endpoints": places}]
    yield Regions(here, there, fake, fake.issue("red"))
    await port.stopListening()


@pytest.mark.parametrize("more", [{}, {"glance_service_interface": "internal"}, {"glance_region": THERE.lower()}])
@pytest_twisted.ensureDeferred
async def test_downloaded(regions: Regions, more: dict[str, str]) -> None:
    """The data and the formats come along, and the properties whose names begin as configured."""
    remote_id = await regions.remote(hw_disk_bus="scsi", os_distro="debian", other="no", disk_format="raw")
    image_id = await regions.create(regions.here, disk_format="qcow2", mine="yes")
    assert (await regions.fetch(remote_id, image_id, **more)).status == 202
    task = await regions.ended(image_id)
    assert task["status"] == "success", task
    image = await regions.show(image_id)
    assert (image["status"], image["size"], image["disk_format"]) == ("active", len(CONTENT), "raw")
    assert image["os_hash_value"] == hashlib.sha512(CONTENT).hexdigest()
    assert (image["hw_disk_bus"], image["os_distro"], image["mine"]) == ("scsi", "debian", "yes")
    assert "other" not in image
    assert (await regions.ask(regions.here, "GET", f"/v2/images/{image_id}/file")).body == CONTENT
    assert regions.token not in json.dumps(task)
    database = b"".join(path.read_bytes() for path in regions.here.folder.glob("db.sqlite*"))
    assert regions.token.encode() not in database


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"glance_region": "nowhere"}, "public glance endpoint not found for region nowhere"),
        ({"glance_service_interface": "admin"}, "not allowed"),
        ({"glance_image_id": "00000000-0000-0000-0000-000000000000"}, "status 404"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_not_downloaded(regions: Regions, more: dict[str, str], reason: str) -> None:
    """The image is as it was, and the task says why."""
    remote_id = await regions.remote(hw_disk_bus="scsi")
    image_id = await regions.create(regions.here, disk_format="qcow2")
    assert (await regions.fetch(remote_id, image_id, **more)).status == 202
    task = await regions.ended(image_id)
    assert task["status"] == "failure"
    assert reason in task["message"]
    image = await regions.show(image_id)
    assert (image["status"], image["disk_format"], image["size"]) == ("queued", "qcow2", None)
    assert "hw_disk_bus" not in image


@pytest_twisted.ensureDeferred
async def test_not_active(regions: Regions) -> None:
    """Only what is active there has data."""
    remote_id = await regions.create(regions.there)
    image_id = await regions.create(regions.here)
    await regions.fetch(remote_id, image_id)
    assert "should be active instead of queued" in (await regions.ended(image_id))["message"]


@pytest_twisted.ensureDeferred
async def test_damaged(regions: Regions) -> None:
    """What comes must have the digest that it has there."""
    remote_id = await regions.remote()
    path = regions.there.folder / "images" / remote_id
    path.write_bytes(CONTENT[:-1] + bytes([CONTENT[-1] ^ 1]))
    image_id = await regions.create(regions.here)
    await regions.fetch(remote_id, image_id)
    assert (await regions.ended(image_id))["status"] == "failure"
    assert (await regions.show(image_id))["status"] == "queued"


@pytest.mark.parametrize(
    ("method", "status"),
    [
        ({"glance_region": None}, 400),
        ({"glance_image_id": None}, 400),
        ({"glance_image_id": "nope"}, 400),
        ({"glance_image_id": 5}, 400),
    ],
)
@pytest_twisted.ensureDeferred
async def test_refused(regions: Regions, method: dict[str, Any], status: int) -> None:
    """What is no image of a region."""
    image_id = await regions.create(regions.here)
    remote_id = "00000000-0000-0000-0000-000000000000"
    assert (await regions.fetch(remote_id, image_id, **method)).status == status


@pytest_twisted.ensureDeferred
async def test_token_is_lost(regions: Regions, start: Started) -> None:
    """A process that goes on for one that has ended does not know the token: the import fails, and says so."""
    from twisted.internet import reactor

    remote_id = await regions.remote()
    image_id = await regions.create(regions.here)
    settings = evolve(regions.here.service.settings, downloads=evolve(QUICK, fetch_max_rate=100_000))
    slow = await start(settings)
    regions.here = slow
    await regions.fetch(remote_id, image_id)
    await until(reactor, lambda: any((slow.folder / "staging").iterdir()))
    await slow.service.stopService()
    regions.here = await start(settings)
    task = await regions.ended(image_id)
    assert (task["status"], "ask again" in task["message"]) == ("failure", True)
    assert (await regions.show(image_id))["status"] == "queued"
