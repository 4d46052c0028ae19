"""Keystone's unified limits: read, remembered, and not to be had."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_twisted
from attrs import define, evolve
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import Clock

from glancetx.access.unified import UnifiedLimits
from glancetx.config.settings import Credentials, KeystoneSettings, LimitSettings
from glancetx.domain.errors import LimitsUnavailable
from glancetx.domain.limits import MIB, Limits
from glancetx.keystone.client import Keystone
from glancetx.outgoing.exchange import Exchange
from glancetx.testing.keystone import ENDPOINT, PASSWORD, FakeKeystone, project
from glancetx.testing.network import in_memory

ACCOUNT = KeystoneSettings(
    credentials=Credentials(
        auth_url="http://keystone.example", username="glance", user_domain_id="default", password=PASSWORD
    )
)
SETTINGS = LimitSettings(keystone=ACCOUNT, endpoint_id=ENDPOINT["id"])
BY_TYPE = evolve(SETTINGS, endpoint_id=None, service_type="image", region="RegionOne")


@define
class Scene:
    clock: Any
    fake: FakeKeystone

    def limits(self, settings: LimitSettings = SETTINGS) -> UnifiedLimits:
        keystone = Keystone(ACCOUNT, Exchange(in_memory(self.fake), self.clock, timeout=30), self.clock)
        return UnifiedLimits(keystone, settings, self.clock)

    @property
    def asked(self) -> int:
        """How often for what is registered."""
        return sum(path.endswith("/registered_limits") for _, path in self.fake.requests)


@pytest.fixture
def scene() -> Scene:
    clock = Clock()
    fake = FakeKeystone(clock.seconds)
    fake.add("glance", project("service"), ["reader"])
    fake.registered = {"image_size_total": 10, "image_stage_total": -1, "image_count_total": 5}
    fake.overrides = {"red": {"image_size_total": 20, "image_count_total": 0}}
    return Scene(clock, fake)


@pytest.mark.parametrize("settings", [SETTINGS, BY_TYPE])
@pytest_twisted.ensureDeferred
async def test_read(scene: Scene, settings: LimitSettings) -> None:
    """What is said of a project goes before what is registered; -1 is no limit, and nothing is nothing."""
    limits = scene.limits(settings)
    blue = Limits(size_total=10 * MIB, stage_total=None, count_total=5, count_uploading=0, unified=True)
    assert await limits.limits_of("blue") == await limits.limits_of(None) == blue
    assert await limits.limits_of("red") == evolve(blue, size_total=20 * MIB, count_total=0)


@pytest_twisted.ensureDeferred
async def test_remembered(scene: Scene) -> None:
    """Asked for once by many, and again after some seconds."""
    limits = scene.limits()
    await gatherResults([Deferred.fromCoroutine(limits.limits_of("blue")) for _ in range(9)])
    assert scene.asked == 1
    scene.fake.registered["image_count_total"] = 6
    scene.clock.advance(4.9)
    assert (await limits.limits_of("blue")).count_total == 5
    scene.clock.advance(0.2)
    assert (await limits.limits_of("blue")).count_total == 6
    assert scene.asked == 2


@pytest.mark.parametrize("change", ["model", "broken", "endpoint", "service"])
@pytest_twisted.ensureDeferred
async def test_unavailable(scene: Scene, change: str) -> None:
    """While nobody can tell, nothing is allowed; it may be found out later."""
    settings = SETTINGS
    if change == "model":
        scene.fake.model = "strict_two_level"
    elif change == "broken":
        scene.fake.broken = 500
    elif change == "endpoint":
        settings = evolve(SETTINGS, endpoint_id="another")
    else:
        settings = evolve(BY_TYPE, service_type="compute")
    limits = scene.limits(settings)
    asked = Deferred.fromCoroutine(limits.limits_of("blue"))
    for _ in range(20):
        scene.clock.advance(5)
    with pytest.raises(LimitsUnavailable):
        await asked
    scene.fake.model, scene.fake.broken = "flat", None
    if change in ("model", "broken"):
        assert (await limits.limits_of("blue")).count_total == 5
