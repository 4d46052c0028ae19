"""Identifying callers by Keystone's tokens: what is remembered, for whom, and what a Keystone that is down means."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import pytest
import pytest_twisted
from attrs import define, evolve
from twisted.internet.defer import Deferred, fail
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from zope.interface.verify import verifyObject

from glancetx.access.open import UNVERIFIED
from glancetx.access.tokens import LONGEST_TOKEN, TokenAuthenticator
from glancetx.config.settings import Credentials, KeystoneSettings, TokenSettings
from glancetx.domain.access_rules import AccessRule
from glancetx.domain.context import RequestContext
from glancetx.domain.errors import IdentityUnavailable, NotAuthenticated
from glancetx.interfaces import IAuthenticator
from glancetx.keystone import Keystone
from glancetx.outgoing.exchange import Exchange
from glancetx.testing.keystone import PASSWORD, FakeKeystone, project
from glancetx.testing.network import in_memory

NOW = 1_800_000_000.0
ACCOUNT = KeystoneSettings(
    credentials=Credentials(auth_url="http://ks:5000", username="glance", password=PASSWORD, project_name="service")
)
SETTINGS = TokenSettings(keystone=ACCOUNT, www_authenticate_uri="http://public.example:5000")


def by_role(context: RequestContext) -> bool:
    return "admin" in context.roles


@define
class Scene:
    """A Keystone, the time there, and an authenticator that asks it. *down*: nobody answers; *held*: not yet."""

    clock: Any
    fake: FakeKeystone
    down: bool = False
    held: list[Deferred[Any]] | None = None
    authenticator: Any = None

    def use(
        self,
        settings: TokenSettings = SETTINGS,
        is_admin: Callable[[RequestContext], bool] = by_role,
        anonymous: bool = False,
    ) -> None:
        answer = in_memory(self.fake)

        def send(method: str, url: str, **options: Any) -> Deferred[Any]:
            if self.down:
                return fail(ConnectionRefusedError())
            if self.held is None:
                return answer(method, url, **options)
            self.held.append(Deferred())
            return self.held[-1].addCallback(lambda _: answer(method, url, **options))

        keystone = Keystone(settings.keystone, Exchange(send, self.clock, timeout=30), self.clock)
        self.authenticator = TokenAuthenticator(settings, keystone, self.clock, is_admin, anonymous=anonymous)

    async def identify(self, token: str | None = None, service: str | None = None, **headers: str) -> RequestContext:
        given = {"x-auth-token": token, "x-service-token": service} | headers
        context: RequestContext = await self.authenticator.identify(lambda name: given.get(name.lower()), "req-1")
        return context

    @property
    def validations(self) -> int:
        return self.fake.requests.count(("GET", "/v3/auth/tokens"))


@pytest.fixture
def scene() -> Scene:
    clock: Any = Clock()
    clock.advance(NOW)
    fake = FakeKeystone(clock.seconds)
    for name, place, roles in [
        ("glance", "service", ["service"]),
        ("nova", "service", ["service", "Reader"]),
        ("demo", "demo", ["Member", "reader"]),
        ("root", "admin", ["admin"]),
    ]:
        fake.add(name, project(place), roles)
    scene = Scene(clock, fake)
    scene.use()
    return scene


def test_the_interface_is_provided(scene: Scene) -> None:
    """It is an IAuthenticator whose challenge tells where to log in, in Glance's words."""
    assert verifyObject(IAuthenticator, scene.authenticator)
    assert scene.authenticator.challenge == 'Keystone uri="http://public.example:5000"'


@pytest_twisted.ensureDeferred
async def test_a_token_makes_a_context(scene: Scene) -> None:
    """Who, for which project, with which roles in lower case."""
    token = scene.fake.issue("demo")
    assert await scene.identify(token) == RequestContext(
        request_id="req-1",
        user_id="demo-id",
        user_domain_id="default",
        project_id="demo-id",
        project_domain_id="default",
        roles=frozenset({"member", "reader"}),
        token=token,
    )


@pytest_twisted.ensureDeferred
async def test_policies_decide_who_is_an_administrator(scene: Scene) -> None:
    """By whatever function is given, asked each time."""
    demo, root = scene.fake.issue("demo"), scene.fake.issue("root")
    assert (await scene.identify(root)).is_admin
    assert not (await scene.identify(demo)).is_admin
    verdict = [True]
    scene.use(is_admin=lambda context: verdict[0])
    for expected in (True, False):
        verdict[0] = expected
        for token in (demo, root):
            assert (await scene.identify(token)).is_admin is expected


@pytest_twisted.ensureDeferred
async def test_other_scopes_are_kept_apart(scene: Scene) -> None:
    """A token of the whole cloud or of a domain has no project."""
    scene.fake.add("cloud", {"system": {"all": True}}, ["admin"])
    scene.fake.add("boss", {"domain": {"id": "d1"}}, ["admin"])
    cloud, boss = [await scene.identify(scene.fake.issue(name)) for name in ("cloud", "boss")]
    assert (cloud.system_scope, cloud.domain_id, cloud.project_id, cloud.is_admin) == ("all", None, None, True)
    assert (boss.system_scope, boss.domain_id, boss.project_id, boss.is_admin) == (None, "d1", None, True)


@pytest.mark.parametrize("token", [None, "", "  ", "unknown", "\u00e4", "a\x7fb", "x" * (LONGEST_TOKEN + 1)])
@pytest_twisted.ensureDeferred
async def test_who_has_no_valid_token_is_turned_away(scene: Scene, token: str | None) -> None:
    """With Glance's words and challenge; what cannot be a token is not sent to Keystone."""
    with pytest.raises(NotAuthenticated) as caught:
        await scene.identify(token)
    assert caught.value.challenge == scene.authenticator.challenge
    assert str(caught.value) == UNVERIFIED
    assert scene.validations == (token == "unknown")


@pytest_twisted.ensureDeferred
async def test_other_ways_to_show_a_token(scene: Scene) -> None:
    """Blanks around it do not count; X-Storage-Token is an old name of the header."""
    token = scene.fake.issue("demo")
    assert await scene.identify(f" {token} ") == await scene.identify(token)
    service = scene.fake.issue("nova")
    assert (await scene.identify(token, f" {service} ")).service_user_id == "nova-id"
    assert (await scene.identify(**{"x-storage-token": token})).user_id == "demo-id"
    with pytest.raises(NotAuthenticated):
        await scene.identify("", **{"x-storage-token": token})


@pytest_twisted.ensureDeferred
async def test_identity_headers_of_clients_count_for_nothing(scene: Scene) -> None:
    """Nobody becomes somebody else by writing so."""
    forged = {"x-identity-status": "Confirmed", "x-roles": "admin", "x-project-id": "p", "x-user-id": "u"}
    with pytest.raises(NotAuthenticated):
        await scene.identify(**forged)
    context = await scene.identify(scene.fake.issue("demo"), **forged)
    assert (context.user_id, context.is_admin) == ("demo-id", False)


@pytest_twisted.ensureDeferred
async def test_strangers_may_read_where_that_is_allowed(scene: Scene) -> None:
    """Without a token, and with a bad one, as in Glance; but not while Keystone cannot tell."""
    scene.use(anonymous=True)
    for token in (None, "unknown"):
        assert await scene.identify(token) == RequestContext(request_id="req-1", read_only=True)
    scene.down = True
    assert (await scene.identify()).read_only
    with pytest.raises(IdentityUnavailable):
        await scene.identify("unknown")


# What is remembered


@pytest_twisted.ensureDeferred
async def test_a_token_is_remembered_for_some_time(scene: Scene) -> None:
    """It is validated once in token_cache_time; a revoked one is found out then."""
    token = scene.fake.issue("demo")
    for _ in range(3):
        await scene.identify(token)
    assert scene.validations == 1
    scene.fake.revoke(token)
    scene.clock.advance(299)
    await scene.identify(token)
    scene.clock.advance(1)
    with pytest.raises(NotAuthenticated):
        await scene.identify(token)
    assert scene.validations == 2


@pytest_twisted.ensureDeferred
async def test_a_remembered_token_ends_when_it_ends(scene: Scene) -> None:
    """Nobody is asked about a token of which it is known that it has ended."""
    token = scene.fake.issue("demo")
    scene.clock.advance(3500)
    await scene.identify(token)
    scene.clock.advance(99)
    await scene.identify(token)
    scene.clock.advance(1)
    with pytest.raises(NotAuthenticated):
        await scene.identify(token)
    assert scene.validations == 1


@pytest_twisted.ensureDeferred
async def test_remembering_can_be_turned_off(scene: Scene) -> None:
    """Then each request asks."""
    scene.use(evolve(SETTINGS, cache_time=0))
    token = scene.fake.issue("demo")
    for _ in range(3):
        await scene.identify(token)
    assert scene.validations == 3


@pytest_twisted.ensureDeferred
async def test_only_so_many_tokens_are_remembered(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest is forgotten first."""
    monkeypatch.setattr("glancetx.access.tokens.REMEMBER_AT_MOST", 2)
    tokens = [scene.fake.issue("demo") for _ in range(3)]
    for token in tokens:
        await scene.identify(token)
    await scene.identify(tokens[1])
    await scene.identify(tokens[2])
    assert scene.validations == 3
    await scene.identify(tokens[0])
    assert scene.validations == 4
    assert len(scene.authenticator._known) == 2


@pytest_twisted.ensureDeferred
async def test_no_token_is_kept_or_logged(scene: Scene) -> None:
    """Not in what is remembered, not in a log, not in what a context looks like when it is printed."""
    token = scene.fake.issue("demo")
    with capturedLogs() as events:
        context = await scene.identify(token)
        scene.fake.broken = 500
        with pytest.raises(IdentityUnavailable):
            await scene.identify("another-token")
    assert token not in repr(context)
    assert not any(token in str(event) or "another-token" in str(event) for event in events)
    kept = [each for root in gc.get_referents(scene.authenticator) for each in (root, *gc.get_referents(root))]
    assert token not in repr(kept)


def test_equal_tokens_are_validated_once(scene: Scene) -> None:
    """Those who come while one is being validated wait for the same answer; one who leaves does not disturb."""
    token = scene.fake.issue("demo")
    scene.held = []
    waiting: list[Any] = [Deferred.fromCoroutine(scene.identify(token)) for _ in range(4)]
    waiting[0].addErrback(lambda failure: None)
    scene.held[0].callback(None)  # our login
    waiting[0].cancel()
    scene.held[1].callback(None)
    assert len(scene.held) == 2
    assert [each.result.user_id for each in waiting[1:]] == ["demo-id"] * 3
    assert not scene.authenticator._asking


# Keystone is down


@pytest_twisted.ensureDeferred
async def test_known_tokens_outlive_keystone(scene: Scene) -> None:
    """A token that is remembered is good; any other one is neither good nor bad, until Keystone is back."""
    known, other = scene.fake.issue("demo"), scene.fake.issue("demo")
    await scene.identify(known)
    scene.down = True
    assert (await scene.identify(known)).user_id == "demo-id"
    for token in (other, "unknown"):
        with pytest.raises(IdentityUnavailable):
            await scene.identify(token)
    with pytest.raises(NotAuthenticated):
        await scene.identify()
    scene.down = False
    assert (await scene.identify(other)).user_id == "demo-id"
    with pytest.raises(NotAuthenticated):
        await scene.identify("unknown")


@pytest_twisted.ensureDeferred
async def test_an_unknown_service_token_is_no_verdict_either(scene: Scene) -> None:
    """Without knowing who vouches, a wrong answer could be given."""
    known, service = scene.fake.issue("demo"), scene.fake.issue("nova")
    await scene.identify(known)
    scene.down = True
    with pytest.raises(IdentityUnavailable):
        await scene.identify(known, service)


# Services


@pytest_twisted.ensureDeferred
async def test_a_service_vouches(scene: Scene) -> None:
    """Its roles and ids stand beside those of the caller."""
    context = await scene.identify(scene.fake.issue("demo"), scene.fake.issue("nova"))
    assert (context.user_id, context.roles) == ("demo-id", frozenset({"member", "reader"}))
    assert context.service_roles == frozenset({"service", "reader"})
    assert (context.service_user_id, context.service_user_domain_id) == ("nova-id", "default")
    assert (context.service_project_id, context.service_project_domain_id) == ("service-id", "default")


@pytest_twisted.ensureDeferred
async def test_not_every_token_is_a_services(scene: Scene) -> None:
    """One that is unknown, expired or without the role counts as none; the caller is judged alone."""
    expired = scene.fake.issue("nova")
    scene.clock.advance(3600)
    token = scene.fake.issue("demo")
    for service in ("unknown", expired, scene.fake.issue("root"), "\u00e4"):
        assert await scene.identify(token, service) == await scene.identify(token)
    with pytest.raises(NotAuthenticated):
        await scene.identify(None, scene.fake.issue("nova"))


@pytest_twisted.ensureDeferred
async def test_a_service_makes_an_expired_token_good(scene: Scene) -> None:
    """Only a service does, and only as long as Keystone looks back."""
    token = scene.fake.issue("demo")
    scene.clock.advance(7200)
    with pytest.raises(NotAuthenticated):
        await scene.identify(token)
    with pytest.raises(NotAuthenticated):
        await scene.identify(token, scene.fake.issue("root"))
    service = scene.fake.issue("nova")
    assert (await scene.identify(token, service)).user_id == "demo-id"
    asked = scene.validations
    assert (await scene.identify(token, service)).user_id == "demo-id"
    with pytest.raises(NotAuthenticated):
        await scene.identify(token)
    assert scene.validations == asked
    scene.clock.advance(172800)
    with pytest.raises(NotAuthenticated):
        await scene.identify(token, scene.fake.issue("nova"))


@pytest_twisted.ensureDeferred
async def test_the_role_of_services_can_be_chosen(scene: Scene) -> None:
    """Any of the roles will do. If none is required every valid token vouches, but lets no expired one pass."""
    scene.use(evolve(SETTINGS, service_token_roles=frozenset({"admin", "other"})))
    token = scene.fake.issue("demo")
    assert not (await scene.identify(token, scene.fake.issue("nova"))).service_roles
    assert (await scene.identify(token, scene.fake.issue("root"))).service_roles == frozenset({"admin"})
    scene.use(evolve(SETTINGS, service_token_roles_required=False))
    assert (await scene.identify(token, scene.fake.issue("root"))).service_roles == frozenset({"admin"})
    scene.clock.advance(3600)
    with pytest.raises(NotAuthenticated):
        await scene.identify(token, scene.fake.issue("root"))


@pytest_twisted.ensureDeferred
async def test_restrictions_are_kept(scene: Scene) -> None:
    """Rules about us stay with the context; a real service lifts them, whoever just sends some token does not."""
    ours = {"service": "image", "method": "GET", "path": "/v2/images"}
    scene.fake.add("robot", project("demo"), ["member"], [ours, {**ours, "service": "compute"}])
    token = scene.fake.issue("robot")
    assert (await scene.identify(token)).access_rules == (AccessRule("image", "GET", "/v2/images"),)
    assert (await scene.identify(token, scene.fake.issue("nova"))).access_rules is None
    assert (await scene.identify(token, "unknown")).access_rules is not None
    scene.use(evolve(SETTINGS, service_token_roles_required=False, service_type="compute"))
    context = await scene.identify(token, scene.fake.issue("demo"))
    assert context.access_rules == (AccessRule("compute", "GET", "/v2/images"),)
