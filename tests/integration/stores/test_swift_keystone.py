"""The Swift store with accounts of a real Keystone."""

from __future__ import annotations

import urllib.error
import urllib.request
from typing import Any

import pytest
import pytest_twisted
from attrs import evolve

from glancetx.config.store_settings import SwiftAccount
from glancetx.domain.errors import DataNotFound, StoreUnavailable
from glancetx.testing.stores import CONTENT, keep, new_id, read
from tests.integration.stores.test_swift import Made, settings_for
from tests.services.keystone import PASSWORD, RealKeystone
from tests.services.objects import SwiftServer

DOMAINS = {"user_domain_id": "default", "project_domain_id": "default"}


async def use(made: Made) -> str:
    """All that a store does, once; where the data was."""
    stored = await keep(made.store, CONTENT)
    assert await read(made.store, stored.url, 5, 10) == CONTENT[5:15]
    await made.store.delete(stored.url)
    with pytest.raises(DataNotFound):
        await made.store.size(stored.url)
    return stored.url


def account(keystone: RealKeystone, **values: Any) -> SwiftAccount:
    return SwiftAccount(auth_address=f"{keystone.url}/v3", **(DOMAINS | values))


@pytest_twisted.ensureDeferred
async def test_password(keystone: RealKeystone, keystone_swift: SwiftServer) -> None:
    """A user and a project; the catalog tells where their storage is."""
    accounts = {"ref1": account(keystone, user="red:red", key=PASSWORD)}
    made = Made(settings_for(keystone_swift, accounts=accounts))
    await use(made)
    await made.store.stop()
    await made.close()


@pytest_twisted.ensureDeferred
async def test_application_credential(keystone: RealKeystone, keystone_swift: SwiftServer) -> None:
    """An application credential in place of a password."""
    secret = keystone.add_credential("red", "for-swift")
    known = account(keystone, application_credential_id=secret["id"], application_credential_secret=secret["secret"])
    made = Made(settings_for(keystone_swift, accounts={"ref1": known}))
    await use(made)
    await made.store.stop()
    await made.close()


@pytest_twisted.ensureDeferred
async def test_revoked_token(keystone: RealKeystone, keystone_swift: SwiftServer) -> None:
    """A token that Keystone takes back, here between two segments, is replaced by another."""
    accounts = {"ref1": account(keystone, user="red:red", key=PASSWORD)}
    made = Made(settings_for(keystone_swift, accounts=accounts))
    session: Any = made.sessions.default
    await use(made)
    keystone.revoke((await session.enter()).token)
    await use(made)
    await made.store.stop()
    await made.close()


@pytest_twisted.ensureDeferred
async def test_refused(keystone: RealKeystone, keystone_swift: SwiftServer) -> None:
    """A wrong password, a service that is not in the catalog, no Keystone at all: the store is unavailable."""
    good = account(keystone, user="red:red", key=PASSWORD)
    for changes in (
        {"accounts": {"ref1": evolve(good, key="wrong")}},
        {"accounts": {"ref1": evolve(good, auth_address="http://127.0.0.1:9/v3")}},
        {"accounts": {"ref1": good}, "service_type": "no-such-store"},
        {"accounts": {"ref1": good}, "region": "nowhere"},
    ):
        made = Made(settings_for(keystone_swift, **changes))
        with pytest.raises(StoreUnavailable) as caught:
            await keep(made.store, b"data")
        assert PASSWORD not in str(caught.value)
        await made.store.stop()
        await made.close()


@pytest.mark.parametrize("who", ["ResellerAdmin", "allowed"])
@pytest_twisted.ensureDeferred
async def test_images_in_accounts_of_their_owners(
    keystone: RealKeystone, keystone_swift: SwiftServer, who: str
) -> None:
    """What a Glance with swift_store_multi_tenant has stored is read, and deleted, by whom Swift lets in."""
    image_id, reader = new_id(), who.lower()
    keystone.add_user(reader, reader, "ResellerAdmin" if who == "ResellerAdmin" else "member")
    storage = f"{keystone_swift.url}/v1/AUTH_{keystone.project_id('blue')}"
    container = f"{storage}/glance_{image_id}"
    mine = f"{keystone.project_id(reader)}:*" if who == "allowed" else ""
    token = keystone.issue("blue")
    assert call("PUT", container, token, {"X-Container-Read": mine, "X-Container-Write": mine}) == 201
    assert call("PUT", f"{container}/{image_id}", token, {}, CONTENT) == 201
    url = f"swift+http://{container.removeprefix('http://')}/{image_id}"
    stranger = Made(settings_for(keystone_swift, accounts={"ref1": account(keystone, user="red:red", key=PASSWORD)}))
    with pytest.raises(StoreUnavailable):
        await stranger.store.get(url)
    mine_store = Made(
        settings_for(keystone_swift, accounts={"ref1": account(keystone, user=f"{reader}:{reader}", key=PASSWORD)})
    )
    assert await read(mine_store.store, url) == CONTENT
    assert await read(mine_store.store, url, 5, 10) == CONTENT[5:15]
    await mine_store.store.delete(url)
    with pytest.raises(DataNotFound):
        await mine_store.store.size(url)
    assert call("HEAD", container, token, {}) == (404 if who == "ResellerAdmin" else 204)
    for made in (stranger, mine_store):
        await made.store.stop()
        await made.close()


def call(method: str, url: str, token: str, headers: dict[str, str], body: bytes | None = None) -> int:
    """The status of a request to Swift."""
    request = urllib.request.Request(url, body, headers | {"X-Auth-Token": token}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as reply:
            return int(reply.status)
    except urllib.error.HTTPError as error:
        return error.code
