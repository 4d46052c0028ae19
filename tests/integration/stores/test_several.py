"""A service with several kinds of stores at once, behind networks that break: S3, VMware and a directory."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from attrs import define, evolve
from twisted.internet.defer import Deferred

from glancetx.config.settings import FilesystemSettings, StoresSettings
from glancetx.config.store_settings import MIB
from glancetx.testing.fakes import until
from glancetx.testing.stores import the_reactor
from glancetx.transfer import failover, relay
from tests.functional.conftest import start as start
from tests.integration.stores.test_s3 import settings_for as s3_settings
from tests.integration.stores.test_vmware import settings_for as vmware_settings
from tests.running import DATA, JSON, Api, Reply, Started, settings_in
from tests.services.faults import Fault, Faults
from tests.services.objects import S3Server
from tests.services.vcsim import Vcenter

CONTENT = os.urandom(9 * MIB + 77)
EVERYWHERE = ["cloud", "farm", "disk"]


@define
class Several:
    """The service, an image that is in every store, and the networks between."""

    api: Api
    image: str
    cloud: Faults
    farm: Faults

    async def get(self, query: str = "", **headers: str) -> Reply:
        return await self.api.request("GET", f"/v2/images/{self.image}/file{query}", **headers)


@pytest_twisted.async_yield_fixture
async def several(start: Started, tmp_path: Path, moto: S3Server, vcenter: Vcenter) -> AsyncIterator[Several]:
    """An image in S3, which is the heaviest store, in VMware, and in a directory, the lightest."""
    cloud, farm = Faults(the_reactor(), moto.url), Faults(the_reactor(), f"https://{vcenter.host}", vcenter.files)
    s3 = evolve(s3_settings(moto), host=await cloud.start(), identifier="cloud", weight=30)
    host = (await farm.start()).removeprefix("https://")
    vmware = vmware_settings(vcenter, host=host, cafile=None, insecure=True, retries=2)
    stores = StoresSettings(
        multiple=True,
        default="disk",
        filesystems=(FilesystemSettings(identifier="disk", datadir=tmp_path / "images", weight=10),),
        others=(s3, evolve(vmware, identifier="farm", weight=20)),
        order=tuple(EVERYWHERE),
    )
    api = await start(settings_in(tmp_path, stores=stores))
    yield Several(api, await imported(api), cloud, farm)
    for each in (cloud, farm):
        each.choose = lambda method, path: None
        await each.stop()


async def imported(api: Api) -> str:
    """An image whose data was imported into every store, from one read."""
    image = await api.create()
    assert (await api.request("PUT", f"/v2/images/{image}/stage", CONTENT, Content_Type=DATA)).status == 204
    wanted = json.dumps({"method": {"name": "glance-direct"}, "all_stores": True}).encode()
    reply = await api.request("POST", f"/v2/images/{image}/import", wanted, Content_Type=JSON)
    assert reply.status == 202, reply
    while (shown := await api.show(image))["status"] != "active":
        assert shown["status"] in ("uploading", "importing"), shown
    assert sorted(shown["stores"].split(",")) == sorted(EVERYWHERE)
    return image


def gets(faults: Faults) -> int:
    return sum(request.startswith("GET") and "?uploads" not in request for request in faults.requests)


@pytest_twisted.ensureDeferred
async def test_weight_and_wish(several: Several) -> None:
    """The heaviest store is read, or the one that is preferred; nobody else is asked."""
    for query, asked in (("", several.cloud), ("?prefer=farm", several.farm), ("?prefer=disk", None)):
        before = {id(each): gets(each) for each in (several.cloud, several.farm)}
        assert (await several.get(query)).body == CONTENT
        for each in (several.cloud, several.farm):
            assert (gets(each) > before[id(each)]) is (each is asked)


@pytest.mark.parametrize("fault", [Fault(status=404), Fault(received=0), Fault(lie=-7)], ids=str)
@pytest_twisted.ensureDeferred
async def test_falls_over_at_the_beginning(several: Several, fault: Fault) -> None:
    """A store that cannot be read, has nothing, or has another length, is passed over; the client notices nothing."""
    several.cloud.choose = lambda method, path: fault
    reply = await several.get()
    assert (reply.status, reply.body) == (200, CONTENT)
    assert gets(several.farm)
    several.farm.choose = lambda method, path: fault
    reply = await several.get(Range=f"bytes={3 * MIB}-{6 * MIB}")
    assert (reply.status, reply.body) == (206, CONTENT[3 * MIB : 6 * MIB + 1])


@pytest_twisted.ensureDeferred
async def test_falls_over_in_the_middle(several: Several) -> None:
    """One store after the other breaks off and cannot be reached again: the next goes on, byte for byte."""

    def dies(faults: Faults, sent: int) -> None:
        left = [Fault(sent=sent)]
        faults.choose = lambda method, path: (left.pop() if left else Fault(received=0)) if method == "GET" else None

    dies(several.cloud, 2 * MIB)
    dies(several.farm, 3 * MIB)
    reply = await several.get()
    assert (reply.status, reply.body) == (200, CONTENT)


@pytest_twisted.ensureDeferred
async def test_falls_silent(several: Several, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that stalls in the middle is left for another copy, long before its own patience is at its end."""
    monkeypatch.setattr(relay, "SILENCE", 0.5)
    several.cloud.choose = lambda method, path: Fault(sent=2 * MIB, end="stall") if method == "GET" else None
    reply = await several.get()
    assert (reply.status, reply.body) == (200, CONTENT)
    assert (gets(several.cloud), gets(several.farm)) == (1, 1)


@pytest_twisted.ensureDeferred
async def test_slow_store(several: Several, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that stalls holds its own transfers and no others: uploads, downloads and records go on."""
    monkeypatch.setattr(relay, "SILENCE", 1000.0)
    monkeypatch.setattr(failover, "PATIENCE", 1000.0)  # on a busy machine another copy would be opened beside
    several.cloud.choose = lambda method, path: Fault(sent=1000, end="stall") if method == "GET" else None
    waiting = [Deferred.fromCoroutine(several.get()) for _ in range(8)]
    await until(the_reactor(), lambda: gets(several.cloud) >= 8)
    for query in ("?prefer=farm", "?prefer=disk"):
        assert (await several.get(query)).body == CONTENT
    image = await several.api.create()
    assert (await several.api.upload(image, CONTENT, X_Image_Meta_Store="farm")).status == 204
    assert (await several.api.show(image))["stores"] == "farm"
    assert not any(each.called for each in waiting)
    for each in waiting:
        each.addErrback(lambda _: None)
        each.cancel()


@pytest_twisted.ensureDeferred
async def test_removes_copies(several: Several) -> None:
    """Copies are removed one by one; a store that does not answer keeps its copy, and the last one stays."""
    api = several.api
    several.farm.choose = lambda method, path: Fault(received=0)
    path = f"/{several.image}"
    assert (await api.request("DELETE", f"/v2/stores/farm{path}")).status == 503
    assert "farm" in (await api.show(several.image))["stores"]
    several.farm.choose = lambda method, path: None
    for store, left in (("farm", "cloud,disk"), ("cloud", "disk")):
        assert (await api.request("DELETE", f"/v2/stores/{store}{path}")).status == 204
        assert sorted((await api.show(several.image))["stores"].split(",")) == left.split(",")
        assert (await api.request("DELETE", f"/v2/stores/{store}{path}")).status in (403, 404)
    assert (await api.request("DELETE", f"/v2/stores/disk{path}")).status == 403
    assert (await api.request("DELETE", f"/v2/stores/none{path}")).status == 409
    assert (await several.get()).body == CONTENT


@pytest_twisted.ensureDeferred
async def test_shows_stores(several: Several) -> None:
    """Each has its kind and its weight; secrets stay inside."""
    reply = await several.api.request("GET", "/v2/info/stores/detail")
    found: dict[str, Any] = {each["id"]: each for each in reply.json["stores"]}
    assert [(each["type"], each["weight"]) for each in found.values()] == [("s3", 30), ("vmware", 20), ("file", 10)]
    assert found["disk"]["default"] == "true"
    assert b"secret" not in reply.body
