"""What a store with an account for each project is told: whose image it is, who asks, and who else may read."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Collection
from copy import copy
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from zope.interface import implementer

from glancetx.domain.context import RequestContext
from glancetx.domain.errors import StoreUnavailable
from glancetx.interfaces import IAuthenticator, IStore, ITenantStore, Stored
from glancetx.testing.fakes import MemoryStore
from tests.running import DATA, PATCH, Api, Reply, Started, settings_in

RED, BLUE = "red", "blue"


@implementer(ITenantStore)
class TenantStore(MemoryStore):
    """In memory, in an account for each project; *calls* are what was done for whom, *readers* the last that was told.

    *meanwhile* is awaited before the readers are set.
    """

    def __init__(self) -> None:
        super().__init__("tenants")
        self.calls: list[tuple[str, str | None, str | None]] = []
        self.readers: dict[str, Collection[str] | None] = {}
        self.meanwhile: list[Callable[[], Awaitable[object]]] = []
        self.owner: str | None = None
        self.token: str | None = None

    def acting_for(self, owner: str | None, token: str | None = None) -> IStore:
        bound = copy(self)
        bound.owner, bound.token = owner, token
        return bound

    async def share(self, url: str, readers: Collection[str] | None) -> None:
        if self.meanwhile:
            await self.meanwhile.pop()()
        self.readers[url] = readers

    async def add(self, image_id: str, body: Any, attempt: str) -> Stored:
        self.calls.append(("add", self.owner, self.token))
        return await super().add(image_id, body, attempt)

    async def get(self, url: str, offset: int = 0, length: int | None = None) -> Any:
        self.calls.append(("get", self.owner, self.token))
        return await super().get(url, offset, length)

    async def delete(self, url: str) -> None:
        self.calls.append(("delete", self.owner, self.token))
        await super().delete(url)


@implementer(IAuthenticator)
class Tokens:
    """The token tells the project; the one of ``root`` is an administrator's."""

    challenge = "Token"

    async def identify(self, header: Any, request_id: str) -> RequestContext:
        token = header("x-auth-token")
        project = token.partition("-")[0]
        admin = project == "root"
        roles = frozenset({"reader", "member"} | ({"admin"} if admin else set()))
        return RequestContext(request_id=request_id, project_id=project, roles=roles, is_admin=admin, token=token)


class Service:
    """A service with that store, and an image of red's in it."""

    def __init__(self, api: Api, store: TenantStore) -> None:
        self.api, self.store = api, store
        self.image = ""

    @property
    def told(self) -> Collection[str] | None:
        return self.store.readers[f"memory://tenants/{self.image}"]

    async def ask(self, token: str, method: str, path: str = "", data: Any = None, **headers: str) -> Reply:
        return await self.api.request(method, f"/v2/images/{self.image}{path}", data, X_Auth_Token=token, **headers)

    async def share(self, project: str) -> Reply:
        return await self.ask("red-1", "POST", "/members", json.dumps({"member": project}).encode())

    async def show(self, visibility: str) -> Reply:
        change = json.dumps([{"op": "replace", "path": "/visibility", "value": visibility}]).encode()
        return await self.ask("root-1", "PATCH", "", change, Content_Type=PATCH)


@pytest_twisted.async_yield_fixture
async def service(start: Started, tmp_path: Path) -> Any:
    store = TenantStore()
    api = await start(settings_in(tmp_path), authenticator=Tokens(), stores={"tenants": store})
    made = Service(api, store)
    document = {"name": "x", "disk_format": "raw", "container_format": "bare"}
    reply = await api.request("POST", "/v2/images", json.dumps(document).encode(), X_Auth_Token="red-1")
    made.image = reply.json["id"]
    assert (await made.ask("red-2", "PUT", "/file", b"data", Content_Type=DATA)).status == 204
    yield made


@pytest_twisted.ensureDeferred
async def test_whose_and_for_whom(service: Service) -> None:
    """Each transfer is for the owner, with the token of who asks; what nobody asks for has none."""
    assert service.told == frozenset()
    assert (await service.show("public")).status == 200
    assert (await service.ask("blue-3", "GET", "/file")).body == b"data"
    assert (await service.ask("root-4", "DELETE")).status == 204
    assert service.store.calls == [("add", RED, "red-2"), ("get", RED, "blue-3"), ("delete", RED, "root-4")]


@pytest_twisted.ensureDeferred
async def test_readers(service: Service) -> None:
    """Members of a shared image; everybody, if it is public or for the community; nobody else."""
    assert (await service.share(BLUE)).status == 200
    assert service.told == {BLUE}
    for visibility, told in (("private", frozenset()), ("public", None), ("community", None), ("shared", {BLUE})):
        assert (await service.show(visibility)).status == 200
        assert service.told == told
    assert (await service.ask("red-1", "DELETE", f"/members/{BLUE}")).status == 204
    assert service.told == frozenset()


@pytest_twisted.ensureDeferred
async def test_changes_at_the_same_time(service: Service) -> None:
    """What is told last is what is true last, also if it changed while the store was told."""
    service.store.meanwhile.append(lambda: service.ask("red-1", "DELETE", f"/members/{BLUE}"))
    assert (await service.share(BLUE)).status == 200
    assert service.told == frozenset()


@pytest.mark.parametrize("again", ["public", "shared"])
@pytest_twisted.ensureDeferred
async def test_store_that_fails(service: Service, again: str) -> None:
    """The change is made, the caller is told that the store was not, and to ask once more repairs it."""

    async def fail() -> None:
        raise StoreUnavailable("The store is down")

    service.store.meanwhile.append(fail)
    assert (await service.show("public")).status == 503
    assert (await service.ask("red-1", "GET")).json["visibility"] == "public"
    assert service.told == frozenset()
    assert (await service.show(again)).status == 200
    assert service.told == (None if again == "public" else frozenset())
    service.store.meanwhile.append(fail)
    assert (await service.ask("blue-1", "GET", "/file")).status == (200 if again == "public" else 404)
