"""Talking to Keystone as ourselves: our own token, other people's, and what happens when it does not answer."""

from __future__ import annotations

import json
from typing import Any

import pytest
import pytest_twisted
from attrs import evolve, frozen
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.task import Clock
from twisted.logger import capturedLogs

from glancetx.config.settings import Credentials, KeystoneSettings
from glancetx.domain.access_rules import AccessRule
from glancetx.domain.errors import IdentityUnavailable
from glancetx.keystone.client import AFTER_REFUSAL, Keystone, versioned
from glancetx.outgoing.exchange import Exchange
from glancetx.testing.keystone import PASSWORD, FakeKeystone, project
from glancetx.testing.network import in_memory

NOW = 1_800_000_000.0
OURS = Credentials(
    auth_url="http://keystone.example:5000",
    username="glance",
    password=PASSWORD,
    user_domain_name="Default",
    project_name="service",
    project_domain_name="Default",
)


@frozen
class Scene:
    """A Keystone, the time there, and us."""

    clock: Clock
    fake: FakeKeystone
    urls: list[str]
    exchange: Exchange

    def client(self, credentials: Credentials = OURS, **settings: Any) -> Keystone:
        clock: Any = self.clock
        return Keystone(KeystoneSettings(credentials=credentials, **settings), self.exchange, clock)

    @property
    def logins(self) -> int:
        return sum(method == "POST" for method, _ in self.fake.requests)


@pytest.fixture
def scene() -> Scene:
    clock: Any = Clock()
    clock.advance(NOW)
    fake = FakeKeystone(clock.seconds)
    fake.add("glance", project("service"), ["service"])
    fake.add("demo", project("demo"), ["Member", "reader"])
    urls: list[str] = []
    stub = in_memory(fake)

    def send(method: str, url: str, **options: Any) -> Deferred[Any]:
        urls.append(url)
        return stub(method, url, **options)

    return Scene(clock, fake, urls, Exchange(send, clock, timeout=30))


@pytest.mark.parametrize(
    ("url", "root"),
    [
        ("http://ks:5000", "http://ks:5000/v3"),
        ("http://ks:5000/", "http://ks:5000/v3"),
        ("http://ks:5000/v3", "http://ks:5000/v3"),
        ("http://ks:5000/v3/", "http://ks:5000/v3"),
        ("http://ks:35357/v2.0/", "http://ks:35357/v3"),
        ("https://cloud/identity", "https://cloud/identity/v3"),
        ("https://cloud/identity/v3", "https://cloud/identity/v3"),
    ],
)
def test_any_url_of_keystone_will_do(url: str, root: str) -> None:
    """With a version, with another one, or without any."""
    assert versioned(url) == root


@pytest_twisted.ensureDeferred
async def test_a_token_is_validated(scene: Scene) -> None:
    """Everything that policies ask for is there; roles as they are written."""
    facts = await scene.client().validate(scene.fake.issue("demo"))
    assert facts is not None
    assert (facts.user_id, facts.user_domain_id) == ("demo-id", "default")
    assert (facts.project_id, facts.project_domain_id) == ("demo-id", "default")
    assert (facts.domain_id, facts.system_scope, facts.is_admin_project) == (None, None, True)
    assert facts.roles == ("Member", "reader")
    assert facts.access_rules is None
    assert facts.expires_at == NOW + 3600


@pytest_twisted.ensureDeferred
async def test_scopes_are_told_apart(scene: Scene) -> None:
    """A token of a domain, of the system, or of nothing."""
    scene.fake.add("root", {"system": {"all": True}}, ["admin"])
    scene.fake.add("boss", {"domain": {"id": "d1", "name": "d"}}, ["admin"])
    scene.fake.add("nobody")
    client = scene.client()
    system, domain, nothing = [await client.validate(scene.fake.issue(name)) for name in ("root", "boss", "nobody")]
    assert system is not None
    assert domain is not None
    assert nothing is not None
    assert (system.system_scope, system.domain_id, system.project_id) == ("all", None, None)
    assert (domain.system_scope, domain.domain_id, domain.project_id) == (None, "d1", None)
    assert (nothing.system_scope, nothing.domain_id, nothing.project_id, nothing.roles) == (None, None, None, ())


@pytest_twisted.ensureDeferred
async def test_restrictions_of_a_credential_are_told(scene: Scene) -> None:
    """Keystone knows such tokens only if we say that we respect them."""
    rule = {"id": "r", "service": "image", "method": "GET", "path": "/v2/images/*"}
    scene.fake.add("robot", project("demo"), ["member"], [rule])
    scene.fake.add("idle", project("demo"), ["member"], [])
    client = scene.client()
    robot, idle = [await client.validate(scene.fake.issue(name)) for name in ("robot", "idle")]
    assert robot is not None
    assert idle is not None
    assert robot.access_rules == (AccessRule("image", "GET", "/v2/images/*"),)
    assert idle.access_rules == ()


@pytest_twisted.ensureDeferred
async def test_unknown_tokens_are_told(scene: Scene) -> None:
    """Never issued, revoked, expired: none is valid; an expired one is on request."""
    client, demo = scene.client(), scene.fake.issue("demo")
    assert await client.validate("never-issued") is None
    scene.clock.advance(3601)
    assert await client.validate(demo) is None
    expired = await client.validate(demo, allow_expired=True)
    assert expired is not None
    assert expired.expires_at == NOW + 3600
    scene.fake.revoke(demo)
    assert await client.validate(demo, allow_expired=True) is None


@pytest_twisted.ensureDeferred
async def test_our_token_is_used_again(scene: Scene) -> None:
    """One login serves until shortly before the token's end."""
    client, demo = scene.client(), scene.fake.issue("demo")
    await client.validate(demo)
    scene.clock.advance(3539)
    await client.validate(demo)
    assert scene.logins == 1
    scene.clock.advance(1)
    await client.validate(demo)
    assert scene.logins == 2


@pytest_twisted.ensureDeferred
async def test_a_short_token_is_not_renewed_all_the_time(scene: Scene) -> None:
    """Of a short life the last tenth is left out, not the last minute."""
    scene.fake.lifetime = 50
    client = scene.client()
    for _ in range(4):
        await client.token()
        scene.clock.advance(11)
    assert scene.logins == 1
    scene.clock.advance(1.1)
    await client.token()
    assert scene.logins == 2


@pytest_twisted.ensureDeferred
async def test_our_token_is_renewed_when_it_is_refused(scene: Scene) -> None:
    """It may be revoked; the request is sent again with a new one, and only once."""
    client, demo = scene.client(), scene.fake.issue("demo")
    await client.validate(demo)
    scene.fake.revoke((await client.token()).text)
    assert await client.validate(demo) is not None
    assert scene.logins == 2
    first = await client.token()
    scene.fake.broken = 401
    with pytest.raises(IdentityUnavailable):
        await client.validate(demo)
    scene.fake.broken = None
    scene.clock.advance(AFTER_REFUSAL)
    assert await client.token() is not first


@pytest_twisted.ensureDeferred
async def test_a_refused_login_is_not_repeated_at_once(scene: Scene) -> None:
    """Or Keystone would lock our account, and every request of a client would cost a login."""
    client = scene.client(evolve(OURS, password="wrong"))
    for _ in range(5):
        with pytest.raises(IdentityUnavailable):
            await client.validate("x")
    assert scene.logins == 1
    scene.clock.advance(AFTER_REFUSAL)
    with pytest.raises(IdentityUnavailable):
        await client.validate("x")
    assert scene.logins == 2


@pytest.mark.parametrize("status", [300, 400, 403, 500, 503])
@pytest_twisted.ensureDeferred
async def test_trouble_is_not_a_verdict(scene: Scene, status: int) -> None:
    """No status but 404 says that a token is not valid."""
    client, demo = scene.client(), scene.fake.issue("demo")
    await client.token()
    scene.fake.broken = status
    with pytest.raises(IdentityUnavailable):
        await client.validate(demo)
    scene.fake.broken = None
    assert await client.validate(demo) is not None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"null",
        b"{}",
        b'{"token": []}',
        b'{"token": {}}',
        b'{"token": {"expires_at": "tomorrow"}}',
        b'{"token": {"expires_at": "2030-01-01T00:00:00Z", "roles": {}}}',
        b'{"token": {"expires_at": "2030-01-01T00:00:00Z", "roles": [{"name": 1}]}}',
        b'{"token": {"expires_at": "2030-01-01T00:00:00Z", "project": "x"}}',
        b'{"token": {"expires_at": "2030-01-01T00:00:00Z", "application_credential": {"access_rules": {}}}}',
    ],
)
@pytest_twisted.ensureDeferred
async def test_odd_answers_are_trouble(scene: Scene, body: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be understood opens no door, and closes none for long."""
    client, demo = scene.client(), scene.fake.issue("demo")
    await client.token()
    with monkeypatch.context() as patch:
        patch.setattr(scene.fake, "render", lambda request: body)
        with pytest.raises(IdentityUnavailable):
            await client.validate(demo)
    assert await client.validate(demo) is not None


@pytest_twisted.ensureDeferred
async def test_trouble_is_logged_once_and_without_secrets(scene: Scene) -> None:
    """One line when it begins, one when it is over; no token, no password."""
    client, demo = scene.client(), scene.fake.issue("demo")
    with capturedLogs() as events:
        await client.token()
        scene.fake.broken = 500
        for _ in range(3):
            with pytest.raises(IdentityUnavailable) as caught:
                await client.validate(demo)
        scene.fake.broken = None
        await client.validate(demo)
    ours = [event for event in events if event["log_namespace"].startswith("glancetx.keystone")]
    assert [event["log_level"].name for event in ours] == ["error", "debug", "debug", "info"]
    written = json.dumps([str(event) for event in events]) + str(caught.value)
    assert "status 500" in str(ours[0]["reason"])
    for secret in (demo, PASSWORD, (await client.token()).text):
        assert secret not in written


@pytest_twisted.ensureDeferred
async def test_the_catalog_says_where_the_identity_service_is(scene: Scene) -> None:
    """By interface and region; without a fitting entry it is where we logged in."""

    def place(interface: str, region: str, url: str) -> dict[str, str]:
        return {"interface": interface, "region_id": region, "region": region, "url": url}

    endpoints = [
        place("public", "one", "http://public.example"),
        place("internal", "one", "http://internal.example/identity/"),
        place("internal", "two", "http://two.example/v3/"),
    ]
    scene.fake.catalog = [{"type": "image", "endpoints": []}, {"type": "identity", "endpoints": endpoints}]
    asked: list[tuple[dict[str, Any], str]] = [
        ({}, "http://internal.example/identity/v3"),
        ({"region_name": "two"}, "http://two.example/v3"),
        ({"interface": "public"}, "http://public.example/v3"),
        ({"interface": "admin"}, "http://keystone.example:5000/v3"),
    ]
    for settings, root in asked:
        await scene.client(**settings).validate("x")
        assert scene.urls[-2] == "http://keystone.example:5000/v3/auth/tokens"
        assert scene.urls[-1] == f"{root}/auth/tokens?nocatalog=1"
    client = scene.client()
    assert await client.endpoint("identity") == "http://internal.example/identity"
    assert await client.endpoint("identity", "public") == "http://public.example"
    assert await client.endpoint("identity", region="two") == "http://two.example/v3"
    assert await client.endpoint("volumev3") is None


@pytest_twisted.ensureDeferred
async def test_the_catalog_of_somebody_else(scene: Scene) -> None:
    """It is asked for with that token; a bad one has none."""
    image = {"interface": "public", "region": "one", "url": "http://images.example/"}
    scene.fake.catalog = [{"type": "image", "endpoints": [image]}]
    client, demo = scene.client(), scene.fake.issue("demo")
    found = await client.catalog(demo)
    assert found is not None
    assert found.endpoint("image", "public") == found.endpoint("image", "public", "one") == "http://images.example"
    assert found.endpoint("image", "public", "two") is None
    assert await client.catalog("unknown") is None
    scene.fake.broken = 500
    with pytest.raises(IdentityUnavailable):
        await client.catalog(demo)


@pytest.mark.parametrize("endpoints", [{}, [{"interface": "internal", "url": 1}], "x"])
@pytest_twisted.ensureDeferred
async def test_an_odd_catalog_is_trouble(scene: Scene, endpoints: Any) -> None:
    """It says nothing about a caller's token."""
    scene.fake.catalog = [{"type": "identity", "endpoints": endpoints}]
    with pytest.raises(IdentityUnavailable):
        await scene.client().validate(scene.fake.issue("demo"))


@pytest_twisted.ensureDeferred
async def test_any_request_can_be_sent_in_our_name(scene: Scene) -> None:
    """Below the identity API by a path, elsewhere by a URL; the status is the caller's to judge."""
    client = scene.client()
    reply = await client.request("GET", "/limits?service_id=x")
    assert (reply.status, scene.urls[-1]) == (200, "http://keystone.example:5000/v3/limits?service_id=x")
    await client.request("GET", "http://elsewhere.example/v2", headers={"X-Other": "1"})
    assert scene.urls[-1] == "http://elsewhere.example/v2"


def test_one_login_serves_all_who_wait(scene: Scene) -> None:
    """Those who come while it is under way do not begin another one."""
    waiting: list[tuple[str, Deferred[Any]]] = []
    stub = in_memory(scene.fake)
    clock: Any = scene.clock

    def send(method: str, url: str, **options: Any) -> Deferred[Any]:
        deferred: Deferred[Any] = Deferred()
        waiting.append((method, deferred))
        return deferred.addCallback(lambda _: stub(method, url, **options))

    client = Keystone(KeystoneSettings(credentials=OURS), Exchange(send, clock, timeout=30), clock)
    tokens = [Deferred.fromCoroutine(client.validate(scene.fake.issue("demo"))) for _ in range(5)]
    assert [method for method, _ in waiting] == ["POST"]
    waiting[0][1].callback(None)
    assert [method for method, _ in waiting] == ["POST", *["GET"] * 5]
    for _, deferred in waiting[1:]:
        deferred.callback(None)
    assert all(token.result is not None for token in tokens)


@pytest_twisted.ensureDeferred
async def test_a_keystone_that_is_down_is_no_verdict(scene: Scene) -> None:
    """Nobody answers: that says nothing about the token."""
    clock: Any = scene.clock

    def send(method: str, url: str, **options: Any) -> Deferred[Any]:
        raise ConnectionRefusedError

    client = Keystone(KeystoneSettings(credentials=OURS), Exchange(send, clock, timeout=30), clock)
    with pytest.raises(IdentityUnavailable):
        await client.validate("x")
