"""Keystone's tokens, and headers of an authenticating proxy, on real sockets; Keystone is a site of ours here.

tests/integration/test_keystone.py has a real one.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from attrs import define
from twisted.internet.defer import ensureDeferred, maybeDeferred
from twisted.internet.endpoints import serverFromString
from twisted.web.server import Site

from glancetx.access.open import UNVERIFIED
from glancetx.config.settings import AccessSettings, Credentials, KeystoneSettings, TokenSettings
from glancetx.domain.access_rules import AccessRule
from glancetx.domain.context import RequestContext
from glancetx.interfaces import HeaderReader
from glancetx.testing.fakes import ScriptedSource
from glancetx.testing.keystone import PASSWORD, FakeKeystone, project
from tests.running import Api, Started, settings_in

IMAGES = "/v2/images"
LOGIN = "http://public.example:5000"


@define
class Cloud:
    """A Keystone on a socket, and how a service is told of it. *offset*: how far its clock goes ahead of ours."""

    fake: FakeKeystone
    port: Any
    folder: Path
    offset: float = 0

    def settings(self, **access: Any) -> Any:
        credentials = Credentials(
            auth_url=f"http://127.0.0.1:{self.port.getHost().port}",
            username="glance",
            password=PASSWORD,
            project_name="service",
        )
        tokens = TokenSettings(
            keystone=KeystoneSettings(credentials=credentials, retries=0), www_authenticate_uri=LOGIN
        )
        return settings_in(self.folder, access=AccessSettings(authentication="keystone", tokens=tokens, **access))


@pytest_twisted.async_yield_fixture
async def cloud(tmp_path: Path) -> AsyncIterator[Cloud]:
    from twisted.internet import reactor

    fake = FakeKeystone(lambda: time.time() + cloud.offset)
    port = await serverFromString(reactor, "tcp:0:interface=127.0.0.1").listen(Site(fake))
    cloud = Cloud(fake, port, tmp_path)
    fake.add("glance", project("service"), ["service"])
    for name in ("red", "blue"):
        fake.add(name, project(name), ["member", "reader"])
    fake.add("root", project("admin"), ["admin"])
    yield cloud
    await maybeDeferred(cloud.port.stopListening)


@pytest_twisted.async_yield_fixture
async def api(start: Started, cloud: Cloud) -> AsyncIterator[Api]:
    yield await start(cloud.settings())


@pytest_twisted.ensureDeferred
async def test_a_project_has_its_images(cloud: Cloud, api: Api) -> None:
    """What one project makes another one does not see, but an administrator does."""
    red, blue, root = (cloud.fake.issue(name) for name in ("red", "blue", "root"))
    created = await api.request("POST", IMAGES, b'{"name": "x"}', X_Auth_Token=red)
    assert (created.status, created.json["owner"]) == (201, "red-id")
    path = f"{IMAGES}/{created.json['id']}"
    statuses = [(await api.request("GET", path, X_Auth_Token=token)).status for token in (red, blue, root)]
    assert statuses == [200, 404, 200]


@pytest.mark.parametrize(
    ("accept", "body"),
    [
        ("application/json", {"message": f"{UNVERIFIED}<br /><br />\n\n\n", "code": "401 Unauthorized"}),
        ("text/plain", f"401 Unauthorized\n\n{UNVERIFIED}\n\n"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_who_is_turned_away_is_told_where_to_log_in(api: Api, accept: str, body: Any) -> None:
    """In Glance's shape (A-012); on a path that does not exist as well."""
    for path, headers in [(IMAGES, {}), (IMAGES, {"X_Auth_Token": "unknown"}), ("/v2/nothing", {})]:
        reply = await api.request("GET", path, Accept=accept, **headers)
        assert (reply.status, reply.header("WWW-Authenticate")) == (401, f'Keystone uri="{LOGIN}"')
        if isinstance(body, dict):
            assert reply.json == body | {"title": "Unauthorized"}
        else:
            assert reply.body.decode().strip() == body.strip()


@pytest_twisted.ensureDeferred
async def test_nobody_is_asked_about_versions_and_health(cloud: Cloud, api: Api) -> None:
    """Clients look at the versions before they log in."""
    assert (await api.request("GET", "/versions")).status == 200
    assert (await api.request("GET", "/healthcheck")).status == 200
    assert not cloud.fake.requests


@pytest_twisted.ensureDeferred
async def test_nothing_of_a_refused_upload_is_read(cloud: Cloud, api: Api) -> None:
    """A token is judged before the first byte of the body is asked for."""
    image_id = await create(api, cloud.fake.issue("red"))
    source = ScriptedSource(b"x", held=True)
    reply = await api.upload(image_id, source, X_Auth_Token="unknown", Expect="100-continue")
    assert reply.status == 401


@pytest_twisted.ensureDeferred
async def test_an_upload_outlives_its_token(cloud: Cloud, api: Api) -> None:
    """What began with a good token ends well, although the token was revoked meanwhile."""
    token = cloud.fake.issue("red")
    image_id = await create(api, token)
    source = ScriptedSource(b"a" * 1000, held=True)
    done = ensureDeferred(api.upload(image_id, source, X_Auth_Token=token))
    while (await api.request("GET", f"{IMAGES}/{image_id}", X_Auth_Token=token)).json["status"] != "saving":
        assert not done.called
    cloud.fake.revoke(token)
    cloud.offset = 7200
    source.send(b"b" * 1000)
    source.end()
    assert (await done).status == 204
    shown = await api.request("GET", f"{IMAGES}/{image_id}", X_Auth_Token=cloud.fake.issue("red"))
    assert (shown.json["status"], shown.json["size"]) == ("active", 2000)


@pytest_twisted.ensureDeferred
async def test_keystone_comes_and_goes(cloud: Cloud, api: Api) -> None:
    """Who is known is served meanwhile; who is not is told to come again, and is served then."""
    known, other = cloud.fake.issue("red"), cloud.fake.issue("blue")
    assert (await api.request("GET", IMAGES, X_Auth_Token=known)).status == 200
    cloud.fake.broken = 503
    assert (await api.request("GET", IMAGES, X_Auth_Token=known)).status == 200
    reply = await api.request("GET", IMAGES, X_Auth_Token=other)
    assert (reply.status, reply.header("WWW-Authenticate")) == (503, None)
    assert int(reply.header("Retry-After") or 0) > 0
    cloud.fake.broken = None
    assert (await api.request("GET", IMAGES, X_Auth_Token=other)).status == 200


@pytest_twisted.ensureDeferred
async def test_a_service_starts_without_keystone(start: Started, cloud: Cloud) -> None:
    """Nobody answers at all: requests get a 503 until somebody does."""
    from twisted.internet import reactor

    number = cloud.port.getHost().port
    settings = cloud.settings()
    await cloud.port.stopListening()
    api = await start(settings)
    token = cloud.fake.issue("red")
    reply = await api.request("GET", IMAGES, X_Auth_Token=token)
    assert (reply.status, reply.header("Retry-After") is not None) == (503, True)
    cloud.port = await serverFromString(reactor, f"tcp:{number}:interface=127.0.0.1").listen(Site(cloud.fake))
    assert (await api.request("GET", IMAGES, X_Auth_Token=token)).status == 200


@pytest_twisted.ensureDeferred
async def test_other_scopes_may_nothing(cloud: Cloud, api: Api) -> None:
    """A token of the whole cloud or of a domain is refused, as is one without any scope (config.md, section 6)."""
    red = cloud.fake.issue("red")
    image_id = await create(api, red)
    cloud.fake.add("cloud", {"system": {"all": True}}, ["admin", "member", "reader"])
    cloud.fake.add("boss", {"domain": {"id": "d1"}}, ["admin", "member", "reader"])
    cloud.fake.add("nobody")
    for name in ("cloud", "boss", "nobody"):
        token = cloud.fake.issue(name)
        listed = await api.request("GET", IMAGES, X_Auth_Token=token)
        created = await api.request("POST", IMAGES, b'{"name": "x"}', X_Auth_Token=token)
        shown = await api.request("GET", f"{IMAGES}/{image_id}", X_Auth_Token=token)
        assert (listed.status, created.status, shown.status) == (403, 403, 404)
        assert listed.json["message"].startswith("You are not authorized to complete get_images action.")


@pytest_twisted.ensureDeferred
async def test_restricted_credentials_are_restricted(cloud: Cloud, api: Api) -> None:
    """What no rule names is refused like a bad token, whatever the version in the path."""
    rules = [
        {"service": "image", "method": "GET", "path": "/v2/images"},
        {"service": "image", "method": "POST", "path": "/v2/images"},
        {"service": "image", "method": "GET", "path": "/v2/images/*"},
        {"service": "compute", "method": "DELETE", "path": "/v2/images/*"},
    ]
    cloud.fake.add("robot", project("red"), ["member", "reader"], rules)
    token = cloud.fake.issue("robot")
    image_id = await create(api, token)
    cases = [
        ("GET", IMAGES, 200),
        ("GET", "/v2.5/images?limit=1", 200),
        ("GET", f"{IMAGES}/{image_id}", 200),
        ("GET", f"{IMAGES}/{image_id}/members", 401),
        ("GET", f"{IMAGES}/{image_id}%2Fmembers", 401),
        ("HEAD", IMAGES, 401),
        ("DELETE", f"{IMAGES}/{image_id}", 401),
        ("GET", "/v2/schemas/image", 401),
        ("GET", "/v2/nothing", 401),
    ]
    for method, path, status in cases:
        reply = await api.request(method, path, X_Auth_Token=token)
        assert (method, path, reply.status) == (method, path, status)
        assert (reply.header("WWW-Authenticate") is not None) == (status == 401)
    cloud.fake.add("nova", project("service"), ["service"])
    reply = await api.request("DELETE", f"{IMAGES}/{image_id}", X_Auth_Token=token, X_Service_Token="unknown")
    assert reply.status == 401
    service = cloud.fake.issue("nova")
    reply = await api.request("DELETE", f"{IMAGES}/{image_id}", X_Auth_Token=token, X_Service_Token=service)
    assert reply.status == 204


@pytest_twisted.ensureDeferred
async def test_strangers_may_only_read(start: Started, cloud: Cloud, tmp_path: Path) -> None:
    """With allow_anonymous_access, what policies let them read; no change, and no body of one is read (A-012)."""
    (tmp_path / "policy.yaml").write_text('get_images: "@"\nget_image: "@"\nadd_image: "@"\n')
    settings = cloud.settings(allow_anonymous=True, config_dirs=(tmp_path,))
    api = await start(settings)
    public = await api.request("POST", IMAGES, b'{"visibility": "public"}', X_Auth_Token=cloud.fake.issue("root"))
    listed = await api.request("GET", IMAGES)
    assert (listed.status, [image["id"] for image in listed.json["images"]]) == (200, [public.json["id"]])
    path = f"{IMAGES}/{public.json['id']}"
    for method, where in [("POST", IMAGES), ("PATCH", path), ("DELETE", path), ("PUT", f"{path}/tags/x")]:
        reply = await api.request(method, where)
        assert (reply.status, reply.json["message"][:16]) == (403, "Read-only access")


@pytest_twisted.ensureDeferred
async def test_headers_of_a_proxy(start: Started, tmp_path: Path) -> None:
    """The project and the roles are what the proxy says; without its word nobody is let in."""
    api = await start(settings_in(tmp_path, access=AccessSettings(authentication="trusted")))
    red = {"X_Identity_Status": "Confirmed", "X_Project_Id": "red", "X_Roles": "member,reader"}
    created = await api.request("POST", IMAGES, b'{"name": "x"}', **red)
    assert (created.status, created.json["owner"]) == (201, "red")
    path = f"{IMAGES}/{created.json['id']}"
    others: list[dict[str, str]] = [red | {"X_Project_Id": "blue"}, red | {"X_Roles": "admin", "X_Project_Id": "blue"}]
    assert [(await api.request("GET", path, **who)).status for who in others] == [404, 200]
    refused = await api.request("GET", IMAGES, **red | {"X_Identity_Status": "Invalid"})
    assert (refused.status, refused.header("WWW-Authenticate")) == (401, None)


class Rules:
    """An embedding application's own authenticator: everybody may do one thing."""

    challenge = "Riddle"

    async def identify(self, header: HeaderReader, request_id: str) -> RequestContext:
        rules = (AccessRule("image", "GET", "/v2/images"),)
        return RequestContext(request_id=request_id, is_admin=True, roles=frozenset({"admin"}), access_rules=rules)


@pytest_twisted.ensureDeferred
async def test_any_authenticator_may_restrict(start: Started, tmp_path: Path) -> None:
    """Access rules of a context hold, whoever made it."""
    api = await start(settings_in(tmp_path), authenticator=Rules())
    assert (await api.request("GET", IMAGES)).status == 200
    refused = await api.request("GET", "/v2/schemas/image")
    assert (refused.status, refused.header("WWW-Authenticate")) == (401, "Riddle")


async def create(api: Api, token: str) -> str:
    document = json.dumps({"disk_format": "raw", "container_format": "bare"}).encode()
    reply = await api.request("POST", IMAGES, document, X_Auth_Token=token)
    assert reply.status == 201, reply
    return str(reply.json["id"])
