"""Swift with an account for each project, of a real Keystone: alone, beside glance_store (S-071), in a service."""

from __future__ import annotations

import json
import os
import textwrap
import urllib.error
import urllib.request
import uuid
from collections.abc import AsyncIterator, Collection, Sequence
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from attrs import define
from twisted.internet.defer import CancelledError, Deferred

from glancetx.config.loading import load_settings
from glancetx.config.store_settings import MIB, SwiftAccount, SwiftSettings
from glancetx.domain.claim import UPLOAD, Claim
from glancetx.domain.errors import DataNotFound, StoreUnavailable, StoreWriteDenied
from glancetx.interfaces import IStore
from glancetx.stores.swift_tenants import SwiftTenantStore
from glancetx.testing.fakes import ScriptedSource, until
from glancetx.testing.stores import CONTENT, StoreTests, keep, new_attempt, new_id, read, the_reactor
from tests.functional.conftest import start as start
from tests.integration.stores.test_glance_store import ask_glance_store, environment, glance_python
from tests.integration.stores.test_swift import Made, settings_for
from tests.running import DATA, JSON, Api, Reply, Started
from tests.services.faults import Fault, Faults
from tests.services.keystone import PASSWORD, RealKeystone
from tests.services.objects import SwiftServer

SERVICE = "images"  # its user and its project
LARGE = os.urandom(11 * MIB + 345)


def account(keystone: RealKeystone, user: str = SERVICE) -> SwiftAccount:
    domains = {"user_domain_id": "default", "project_domain_id": "default"}
    return SwiftAccount(auth_address=f"{keystone.url}/v3", user=f"{user}:{user}", key=PASSWORD, **domains)


@define
class Cloud:
    """Keystone and Swift, and what lies there."""

    keystone: RealKeystone
    swift: SwiftServer
    tokens: dict[str, str]

    def token(self, user: str) -> str:
        """A token of a user: the same one for all tests, since Keystone takes its time."""
        if user not in self.tokens:
            self.tokens[user] = self.keystone.issue(user)
        return self.tokens[user]

    def settings(self, **changes: Any) -> SwiftSettings:
        changes = {"multi_tenant": True, "accounts": {"ref1": account(self.keystone)}} | changes
        return settings_for(self.swift, **changes)

    def project(self, name: str) -> str:
        """The id of a project."""
        key = f"id of {name}"
        if key not in self.tokens:
            self.tokens[key] = self.keystone.project_id(name)
        return self.tokens[key]

    @property
    def red(self) -> str:
        return self.project("red")

    def storage(self, project: str) -> str:
        return f"{self.swift.url}/v1/AUTH_{self.project(project)}"

    def call(self, method: str, url: str, user: str, headers: dict[str, str] | None = None) -> Reply:
        """Ask Swift as a user: the answer, whatever its status."""
        sent = {"X-Auth-Token": self.token(user)} | (headers or {})
        try:
            answer = urllib.request.urlopen(urllib.request.Request(url, None, sent, method=method), timeout=60)
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            body = answer.read()
        return Reply(status=answer.status, headers=answer.headers, body=body, length=len(body))

    def remains(self, project: str, container: str) -> list[str]:
        """All containers of a store in the account of a project, and what is in them."""
        storage = self.storage(project)
        found = self.listed(f"{storage}?prefix={container}_")
        return found + [name for each in found for name in self.listed(f"{storage}/{each}")]

    def listed(self, url: str) -> list[str]:
        answer = self.call("GET", url, SERVICE)
        return answer.body.decode().split() if answer.status == 200 else []

    def opens(self, user: str, url: str) -> int:
        """The status when a user reads the object of a location without the service."""
        return self.call("GET", url.removeprefix("swift+"), user).status


@pytest.fixture(scope="module")
def tokens() -> dict[str, str]:
    """Those that were issued, by user."""
    return {}


@pytest.fixture
def cloud(keystone: RealKeystone, keystone_swift: SwiftServer, tokens: dict[str, str]) -> Cloud:
    """The service's account may use those of all projects; the user ``idle`` may not even use its own."""
    if SERVICE not in keystone.users:
        keystone.add_user(SERVICE, SERVICE, "ResellerAdmin")
        keystone.add_user("idle", "idle", "reader")
    return Cloud(keystone, keystone_swift, tokens)


class TestTenants(StoreTests):
    """The suite, in the account of a project, with a token of one of its users; objects in segments of 10 MiB."""

    @pytest.fixture(autouse=True)
    def _cloud(self, cloud: Cloud) -> None:
        self.cloud = cloud

    async def make_store(self) -> IStore:
        self.made = Made(self.cloud.settings())
        assert isinstance(self.made.store, SwiftTenantStore)
        return self.made.store.acting_for(self.cloud.red, self.cloud.token("red"))

    async def dispose(self, store: IStore) -> None:
        await self.made.close()

    async def remains(self, store: IStore) -> Collection[str]:
        return self.cloud.remains("red", self.made.store._settings.container)


def tenants(made: Made) -> SwiftTenantStore:
    assert isinstance(made.store, SwiftTenantStore)
    return made.store


@pytest_twisted.ensureDeferred
async def test_whose_token(cloud: Cloud) -> None:
    """A token that has ended, is another project's, or may not, or none: the service does it, if Swift lets it."""
    red = cloud.red
    made = Made(cloud.settings())
    for token in ("gAAAA-no-token", cloud.token("blue"), cloud.token("idle"), cloud.token("red"), None):
        store = tenants(made).acting_for(red, token)
        stored = await keep(store, CONTENT)
        assert stored.url.startswith(f"swift+{cloud.storage('red')}/")
        assert await read(store, stored.url) == CONTENT
        await store.delete(stored.url)
    assert cloud.remains("red", made.store._settings.container) == []
    powerless = Made(cloud.settings(accounts={"ref1": account(cloud.keystone, "blue")}))
    mine = tenants(powerless).acting_for(red, cloud.token("red"))
    stored = await keep(mine, CONTENT)
    assert await read(mine, stored.url) == CONTENT
    with pytest.raises(StoreUnavailable):
        await read(powerless.store, stored.url)
    with pytest.raises((StoreUnavailable, StoreWriteDenied)):
        await keep(tenants(powerless).acting_for(red, cloud.token("idle")), CONTENT)
    await mine.delete(stored.url)
    for each in (made, powerless):
        await each.store.stop()
        await each.close()


@pytest_twisted.ensureDeferred
async def test_token_that_ends_meanwhile(cloud: Cloud) -> None:
    """From the second segment on the caller's token is not accepted: the service goes on, and nothing is lost."""
    faults = Faults(the_reactor(), cloud.swift.url)
    endpoint = f"{await faults.start()}/v1/AUTH_%(project_id)s"
    made = Made(cloud.settings(endpoint=endpoint, segment_size=5 * MIB))
    store = tenants(made).acting_for(cloud.red, cloud.token("red"))
    image_id = new_id()
    seen: list[str] = []

    def choose(method: str, path: str) -> Fault | None:
        refused = any("-00001" in each for each in seen) and not any(each == "refused" for each in seen)
        seen.append("refused" if refused and method == "HEAD" else path)
        return Fault(status=401) if refused and method == "HEAD" else None

    faults.choose = choose
    stored = await keep(store, LARGE, image_id)
    assert "refused" in seen
    assert store._session._token is None  # type: ignore[attr-defined]
    assert await read(store, stored.url) == LARGE
    faults.choose = lambda method, path: Fault(status=403) if method == "GET" else None
    with pytest.raises(StoreUnavailable):
        await read(tenants(made).acting_for(None, cloud.token("red")), stored.url)
    faults.choose = lambda method, path: None
    await store.delete(stored.url)
    await made.store.stop()
    await faults.stop()
    await made.close()


@pytest_twisted.ensureDeferred
async def test_token_is_shown_to_nobody_else(cloud: Cloud) -> None:
    """A location that leads elsewhere, as anybody may write it, gets no token: neither a caller's nor our own."""
    elsewhere = Faults(the_reactor(), cloud.swift.url)
    address = (await elsewhere.start()).removeprefix("http://")
    made = Made(cloud.settings())
    url = f"swift+http://{address}/v1/AUTH_{cloud.project('red')}/glance_x/x"
    for store in (made.store, tenants(made).acting_for(None, cloud.token("red"))):
        for ask in (store.get, store.size, store.delete):
            with pytest.raises(StoreUnavailable, match="catalog"):
                await ask(url)
    assert elsewhere.requests == []
    await made.store.stop()
    await elsewhere.stop()
    await made.close()


@pytest.mark.parametrize("when", ["container", "segment", "manifest"])
@pytest_twisted.ensureDeferred
async def test_nothing_is_left(cloud: Cloud, when: str) -> None:
    """An upload that is cancelled, or dies and is discarded by another process, leaves no container either."""
    made, other = Made(cloud.settings(segment_size=5 * MIB)), Made(cloud.settings(segment_size=5 * MIB))
    settings = made.store._settings
    other.store._settings = settings
    red, image_id, attempt = cloud.red, new_id(), new_attempt()
    store: Any = tenants(made).acting_for(red, cloud.token("red"))
    container = store._container(image_id)
    await store._check_container(container)
    if when != "container":
        await store._api.call("PUT", container, f"{image_id}-{attempt}-00001", body=[b"data"])
    if when == "manifest":
        headers = {"X-Object-Manifest": f"{container}/{image_id}-{attempt}-", "X-Object-Meta-Glancetx-Attempt": attempt}
        await store._api.call("PUT", container, image_id, headers=headers)
    await tenants(other).acting_for(red).discard(image_id, attempt)
    assert cloud.remains("red", settings.container) == []
    await tenants(other).acting_for(red).discard(image_id, attempt)
    if when == "container":
        source = ScriptedSource(LARGE, held=True)
        adding = Deferred.fromCoroutine(store.add(image_id, source, attempt))
        await until(the_reactor(), lambda: source.started)
        adding.cancel()
        with pytest.raises(CancelledError):
            await adding
        assert cloud.remains("red", settings.container) == []
    for each in (made, other):
        await each.store.stop()
        await each.close()


@pytest_twisted.ensureDeferred
async def test_shares(cloud: Cloud) -> None:
    """Whom the store is told about may read the data without us; nobody else, and nobody any more when it is over."""
    made = Made(cloud.settings(admin_tenants=(cloud.project("admin"),)))
    tenant, red = tenants(made), cloud.red
    url = (await keep(tenant.acting_for(red, cloud.token("red")), CONTENT)).url
    container = url.removeprefix("swift+").rpartition("/")[0]
    readers: tuple[Sequence[str] | None, ...] = ([], [cloud.project("blue")], None, [])
    for shared, statuses in zip(readers, [(403, 403), (200, 403), (200, 200), (403, 403)], strict=True):
        await tenant.share(url, shared)
        assert (cloud.opens("blue", url), cloud.opens("idle", url)) == statuses
        head = cloud.call("HEAD", container, SERVICE)
        assert head.headers["X-Container-Write"] == f"{cloud.project('admin')}:*"
    await tenant.delete(url)
    with pytest.raises(DataNotFound):
        await tenant.share(url, [])
    await made.store.stop()
    await made.close()


# Beside the released glance_store


@define
class TheirSide:
    """The released glance_store with the same configuration, asked by users."""

    cloud: Cloud
    config: Path

    async def ask(self, user: str, *arguments: str) -> str:
        """What it answers."""
        python, cloud = glance_python(), self.cloud
        catalog = [
            {"type": "object-store", "endpoints": [{"publicURL": cloud.storage(user), "region": "RegionOne"}]},
        ]
        caller = {
            "auth_token": cloud.token(user),
            "user_id": cloud.keystone.user_id(user),
            "project_id": cloud.project(user),
            "service_catalog": catalog,
        }
        env = environment() | {"CALLER": json.dumps(caller)}
        return await ask_glance_store(python, env, str(self.config), *arguments)


def store_text(cloud: Cloud, container: str) -> str:
    return f"""
        [glance_store]
        stores = swift
        default_store = swift
        swift_store_multi_tenant = true
        swift_store_container = {container}
        swift_store_create_container_on_put = true
        swift_store_auth_address = {cloud.keystone.url}/v3
        swift_store_user = {SERVICE}:{SERVICE}
        swift_store_key = {PASSWORD}
        swift_store_large_object_size = 6
        swift_store_large_object_chunk_size = 5
    """


@pytest.mark.parametrize("content", [b"a small image", LARGE], ids=["small", "large"])
@pytest_twisted.ensureDeferred
async def test_beside_glance_store(cloud: Cloud, tmp_path: Path, content: bytes) -> None:
    """Both ways: what one of us has stored and shared is read by members and deleted by the other; same locations."""
    config, path = tmp_path / "glance-api.conf", tmp_path / "data"
    config.write_text(textwrap.dedent(store_text(cloud, f"c{uuid.uuid4().hex}")))
    settings = load_settings([config]).stores.others[0]
    assert isinstance(settings, SwiftSettings)
    made, theirs = Made(settings), TheirSide(cloud, config)
    path.write_bytes(content)
    image_id, red, blue = new_id(), cloud.red, cloud.project("blue")
    size = len(content) if len(content) < MIB else 0  # with a known size it fails (S-077)
    url = await theirs.ask("red", "add", "swift", image_id, str(path), str(size))
    await theirs.ask("red", "share", url, blue)
    member = tenants(made).acting_for(red, cloud.token("blue"))
    assert await read(member, url) == content
    await tenants(made).acting_for(red, cloud.token("red")).delete(url)
    assert cloud.remains("red", settings.container) == []
    ours = await keep(tenants(made).acting_for(red, cloud.token("red")), content, image_id)
    assert (ours.url, ours.size) == (url, len(content))
    await tenants(made).share(url, [blue])
    await theirs.ask("blue", "get", url, str(path))
    assert path.read_bytes() == content
    await theirs.ask("red", "delete", url)
    with pytest.raises(DataNotFound):
        await made.store.size(url)
    assert cloud.remains("red", settings.container) == []
    await made.store.stop()
    await made.close()


# In a service


@define
class Served:
    """A service with that store, and its users."""

    api: Api
    cloud: Cloud
    container: str

    async def ask(self, user: str, method: str, path: str, data: Any = None, **headers: str) -> Reply:
        token = self.cloud.token(user)
        return await self.api.request(method, f"/v2/images{path}", data, X_Auth_Token=token, **headers)

    async def create(self, user: str, **values: str) -> str:
        document = {"name": "x", "disk_format": "raw", "container_format": "bare"} | values
        reply = await self.ask(user, "POST", "", json.dumps(document).encode())
        assert reply.status == 201, reply
        return str(reply.json["id"])

    def url(self, image_id: str, project: str = "red") -> str:
        return f"swift+{self.cloud.storage(project)}/{self.container}_{image_id}/{image_id}"

    async def show_to(self, image_id: str, visibility: str) -> None:
        change = [{"op": "replace", "path": "/visibility", "value": visibility}]
        kind = "application/openstack-images-v2.1-json-patch"
        reply = await self.ask("admin", "PATCH", f"/{image_id}", json.dumps(change).encode(), Content_Type=kind)
        assert reply.status == 200, reply


def service_text(cloud: Cloud, tmp_path: Path) -> str:
    return f"""
        [DEFAULT]
        node_staging_uri = file://{tmp_path}/staging
        [database]
        connection = sqlite:///{tmp_path}/db.sqlite
        [paste_deploy]
        flavor = keystone
        [keystone_authtoken]
        auth_url = {cloud.keystone.url}
        www_authenticate_uri = {cloud.keystone.url}
        auth_type = password
        username = glance
        password = {PASSWORD}
        project_name = service
        user_domain_name = Default
        project_domain_name = Default
    """


@pytest_twisted.async_yield_fixture
async def served(cloud: Cloud, start: Started, tmp_path: Path) -> AsyncIterator[Served]:
    container, config = f"c{uuid.uuid4().hex}", tmp_path / "glance-api.conf"
    config.write_text(textwrap.dedent(service_text(cloud, tmp_path) + store_text(cloud, container)))
    yield Served(await start(load_settings([config])), cloud, container)


@pytest_twisted.async_yield_fixture
async def audited(cloud: Cloud, start: Started, tmp_path: Path) -> AsyncIterator[Served]:
    """Beside a directory, with an auditor and a replicator."""
    container, config = f"c{uuid.uuid4().hex}", tmp_path / "glance-api.conf"
    stores = f"""
        [DEFAULT]
        enabled_backends = far:swift, near:file
        [glancetx]
        audit_rate = 10000000000
        audit_period = 0
        [glance_store]
        default_backend = far
        [near]
        filesystem_store_datadir = {tmp_path}/near
        [far]
    """
    mine = [line for line in store_text(cloud, container).splitlines() if "swift_" in line]
    text = service_text(cloud, tmp_path) + stores + "\n".join(mine)
    config.write_text("\n".join(line.strip() for line in text.splitlines()))
    yield Served(await start(load_settings([config])), cloud, container)


@pytest_twisted.ensureDeferred
async def test_service(served: Served) -> None:
    """Uploads go to the owner's account, where members, and everybody for a public image, may read them."""
    cloud, image = served.cloud, await served.create("red", visibility="shared")
    blue = cloud.project("blue")
    member = json.dumps({"member": blue}).encode()
    assert (await served.ask("red", "POST", f"/{image}/members", member)).status == 200
    assert (await served.ask("red", "PUT", f"/{image}/file", LARGE, Content_Type=DATA)).status == 204
    url = served.url(image)
    assert (cloud.opens("red", url), cloud.opens("blue", url), cloud.opens("idle", url)) == (200, 200, 403)
    assert (await served.ask("blue", "GET", f"/{image}/file")).body == LARGE
    assert (await served.ask("idle", "GET", f"/{image}/file")).status == 404
    assert (await served.ask("red", "DELETE", f"/{image}/members/{blue}")).status == 204
    assert cloud.opens("blue", url) == 403
    assert (await served.ask("blue", "GET", f"/{image}/file")).status == 404
    assert (await served.ask("red", "POST", f"/{image}/members", member)).status == 200
    assert cloud.opens("blue", url) == 200
    for visibility, status in (("private", 403), ("public", 200), ("community", 200), ("shared", 403)):
        await served.show_to(image, visibility)
        assert cloud.opens("idle", url) == status
    part = await served.ask("admin", "GET", f"/{image}/file", Range="bytes=7-5242999")
    assert (part.status, part.body) == (206, LARGE[7:5243000])
    assert (await served.ask("red", "DELETE", f"/{image}")).status == 204
    assert cloud.remains("red", served.container) == []


@pytest_twisted.ensureDeferred
async def test_service_imports(served: Served) -> None:
    """An administrator's upload of another project's image, and an import, go to the owner's account."""
    cloud = served.cloud
    image, other = await served.create("red"), await served.create("red", visibility="community")
    assert (await served.ask("admin", "PUT", f"/{image}/file", CONTENT, Content_Type=DATA)).status == 204
    assert (await served.ask("red", "PUT", f"/{other}/stage", CONTENT, Content_Type=DATA)).status == 204
    wanted = json.dumps({"method": {"name": "glance-direct"}}).encode()
    assert (await served.ask("red", "POST", f"/{other}/import", wanted, Content_Type=JSON)).status == 202
    while (await served.ask("red", "GET", f"/{other}")).json["status"] != "active":
        pass
    assert cloud.opens("red", served.url(image)) == 200
    await until(the_reactor(), lambda: cloud.opens("idle", served.url(other)) == 200)
    for each in (image, other):
        assert (await served.ask("red", "GET", f"/{each}/file")).body == CONTENT
        assert (await served.ask("red", "DELETE", f"/{each}")).status == 204
    assert cloud.remains("red", served.container) == []


@pytest_twisted.ensureDeferred
async def test_service_recovers(served: Served) -> None:
    """What an upload of a process that died left in the owner's account is removed: the claim tells whose it is."""
    cloud, service = served.cloud, served.api.service
    image = await served.create("red")
    claim = Claim(id=new_attempt(), kind=UPLOAD, image_id=image, store="swift", process="", owner=cloud.red)
    await service._claims.take(claim)
    await keep(service._stores.acting_for(cloud.red).default, LARGE, image, claim.id)
    assert cloud.opens("red", served.url(image)) == 200
    await service.background.reaper.run_once()
    assert cloud.remains("red", served.container) == []
    assert await service._claims.existing([claim.id]) == set()


@pytest_twisted.ensureDeferred
async def test_service_audits_and_repairs(audited: Served, tmp_path: Path) -> None:
    """Copies in the account of a project are read, found damaged, and made anew there, for the same readers."""
    cloud, background = audited.cloud, audited.api.service.background
    image = await audited.create("red", visibility="community")
    assert (await audited.ask("red", "PUT", f"/{image}/stage", LARGE, Content_Type=DATA)).status == 204
    wanted = json.dumps({"method": {"name": "glance-direct"}, "all_stores": True}).encode()
    assert (await audited.ask("red", "POST", f"/{image}/import", wanted, Content_Type=JSON)).status == 202
    while (await audited.ask("red", "GET", f"/{image}")).json["status"] != "active":
        pass
    url, near = audited.url(image), tmp_path / "near" / image
    await until(the_reactor(), lambda: cloud.opens("idle", url) == 200)
    assert await background.auditor.run_once() == 2
    assert await background.replicator.run_once() == 0

    def damage() -> None:
        put = urllib.request.Request(url.removeprefix("swift+"), LARGE[::-1], method="PUT")
        put.add_header("X-Auth-Token", cloud.token("red"))
        urllib.request.urlopen(put, timeout=60).close()

    def lose() -> None:
        container = url.removeprefix("swift+").rpartition("/")[0]
        for name in [*cloud.listed(container), ""]:
            assert cloud.call("DELETE", f"{container}/{name}".rstrip("/"), "red").status == 204

    for harm in (damage, lose, near.unlink):
        harm()
        await background.auditor.run_once()
        assert await background.replicator.run_once() == 1
        shown = (await audited.ask("red", "GET", f"/{image}")).json
        assert (shown["status"], sorted(shown["stores"].split(","))) == ("active", ["far", "near"])
        for store in ("far", "near"):
            assert (await audited.ask("red", "GET", f"/{image}/file?prefer={store}")).body == LARGE
        assert near.read_bytes() == LARGE
        assert cloud.opens("idle", url) == 200
    assert (await audited.ask("red", "DELETE", f"/{image}")).status == 204
    assert cloud.remains("red", audited.container) == []
