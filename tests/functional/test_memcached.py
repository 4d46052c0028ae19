"""What Keystone said of tokens, shared by a real memcached; which may be away."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from attrs import define
from twisted.internet.task import Clock

from glancetx.access.shared_tokens import Remembered, Seal, SharedTokens
from glancetx.access.tokens import TokenAuthenticator
from glancetx.config.settings import Credentials, KeystoneSettings, TokenSettings
from glancetx.domain.access_rules import AccessRule
from glancetx.domain.errors import NotAuthenticated
from glancetx.keystone import Keystone, TokenFacts
from glancetx.outgoing.exchange import Exchange
from glancetx.outgoing.memcached import Memcached
from glancetx.testing.keystone import PASSWORD, FakeKeystone, project
from glancetx.testing.network import in_memory
from tests.running import free_port
from tests.services.memcached import RealMemcached

ACCOUNT = KeystoneSettings(
    credentials=Credentials(
        auth_url="http://keystone.example", username="glance", user_domain_id="default", password=PASSWORD
    )
)
RULE = {"service": "image", "method": "GET", "path": "/v2/images"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealMemcached]:
    server = RealMemcached(tmp_path_factory.mktemp("memcached"))
    server.start()
    yield server
    server.stop()


@define
class Scene:
    """One Keystone, one memcached, and as many processes as a test wants."""

    clock: Any
    fake: FakeKeystone
    caches: list[Memcached]

    def process(self, *ports: int, strategy: str = "None", secret: bytes = b"") -> TokenAuthenticator:
        from twisted.internet import reactor

        cache = Memcached(reactor, [f"127.0.0.1:{port}" for port in ports])
        self.caches.append(cache)
        settings = TokenSettings(keystone=ACCOUNT, www_authenticate_uri="http://keystone.example")
        keystone = Keystone(ACCOUNT, Exchange(in_memory(self.fake), self.clock, timeout=30), self.clock)
        shared = SharedTokens(cache, Seal(strategy, secret))
        return TokenAuthenticator(settings, keystone, self.clock, lambda context: False, shared=shared)

    @property
    def validations(self) -> int:
        return sum(method == "GET" for method, _ in self.fake.requests)


@pytest_twisted.async_yield_fixture
async def scene() -> AsyncIterator[Scene]:
    clock = Clock()
    clock.advance(1_800_000_000)
    fake = FakeKeystone(clock.seconds)
    fake.add("glance", project("service"), ["service"])
    fake.add("red", project("red"), ["Member", "reader"])
    fake.add("robot", project("red"), ["Member"], [RULE])
    scene = Scene(clock, fake, [])
    yield scene
    for cache in scene.caches:
        await cache.close()


async def who(process: TokenAuthenticator, token: str) -> tuple[str | None, frozenset[str], Any]:
    context = await process.identify({"x-auth-token": token}.get, "req-1")
    return context.project_id, context.roles, context.access_rules


@pytest.mark.parametrize("strategy", ["None", "MAC", "ENCRYPT"])
@pytest_twisted.ensureDeferred
async def test_shared(scene: Scene, server: RealMemcached, strategy: str) -> None:
    """What one process was told, another one knows, and for as long; but not who has another secret."""
    server.flush()
    first, second = (scene.process(server.port, strategy=strategy, secret=b"secret") for _ in range(2))
    for name, rules in (("red", None), ("robot", (AccessRule(**RULE),))):
        token, before = scene.fake.issue(name), scene.validations
        expected = ("red-id", frozenset({"member", "reader"} if name == "red" else {"member"}), rules)
        assert await who(first, token) == await who(second, token) == expected
        assert scene.validations == before + 1
    token = scene.fake.issue("red")
    await who(first, token)
    if strategy != "None":
        before = scene.validations
        assert (await who(scene.process(server.port, strategy=strategy, secret=b"other"), token))[0] == "red-id"
        assert scene.validations == before + 1
    scene.fake.revoke(token)
    assert (await who(second, token))[0] == "red-id"
    scene.clock.advance(301)
    for process in (first, second):
        with pytest.raises(NotAuthenticated):
            await who(process, token)


@pytest_twisted.ensureDeferred
async def test_sealed() -> None:
    """Nobody who can write to memcached can make a token valid, and nobody finds one there."""

    class Kept:
        def __init__(self) -> None:
            self.values: dict[str, bytes] = {}

        async def get(self, key: str) -> bytes | None:
            return self.values.get(key)

        async def keep(self, key: str, value: bytes, seconds: int) -> None:
            self.values[key] = value

    facts = TokenFacts(expires_at=1.0, user_id="somebody", roles=("member",))
    for strategy in ("None", "MAC", "ENCRYPT"):
        kept = Kept()
        tokens = SharedTokens(kept, Seal(strategy, b"secret"))
        await tokens.keep("gAAAtoken", Remembered(facts, 2.0), 300)
        ((key, value),) = kept.values.items()
        assert await tokens.get("gAAAtoken") == Remembered(facts, 2.0)
        assert "gAAA" not in key
        assert b"gAAA" not in value
        assert (b"somebody" in value) == (strategy != "ENCRYPT")
        for changed in (value[:-1] + b"x", b"", b"x", b"{}", b"\xff" * 99):
            kept.values[key] = changed
            assert await tokens.get("gAAAtoken") is None or strategy == "None"


@pytest_twisted.ensureDeferred
async def test_away(scene: Scene, tmp_path: Path) -> None:
    """No request fails because memcached is not there, or goes away; keys of a dead server go to another."""
    server = RealMemcached(tmp_path)
    process = scene.process(free_port(), server.port)
    tokens = [scene.fake.issue("red") for _ in range(8)]
    assert {(await who(process, token))[0] for token in tokens[:2]} == {"red-id"}
    server.start()
    process = scene.process(free_port(), server.port)
    assert {(await who(process, token))[0] for token in tokens} == {"red-id"}
    other = scene.process(server.port)
    before = scene.validations
    assert {(await who(other, token))[0] for token in tokens} == {"red-id"}
    assert scene.validations < before + len(tokens)
    server.stop()
    fresh = scene.fake.issue("red")
    assert (await who(process, fresh))[0] == (await who(other, fresh))[0] == "red-id"
