"""Leases in a real etcd."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet.task import deferLater

from glancetx.coordination.etcd import EtcdLeases
from glancetx.domain.errors import CoordinationUnavailable
from glancetx.standalone.certificates import prepare_certificates
from tests.leasing import *  # noqa: F403
from tests.leasing import NAMES, Parties
from tests.services.etcd import Etcd

LEASE = 2.0


@pytest.fixture(scope="module")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Etcd]:
    server = Etcd(tmp_path_factory.mktemp("etcd"))
    try:
        server.start()
        yield server
    finally:
        server.stop()


def leases(server: Etcd, namespace: str, process: str = "here", lease: float = LEASE) -> EtcdLeases:
    from twisted.internet import reactor

    return EtcdLeases(reactor, server.url, namespace, process, lease)


async def sleep(seconds: float) -> None:
    from twisted.internet import reactor

    await deferLater(reactor, seconds)


@pytest_twisted.async_yield_fixture
async def parties(etcd: Etcd, request: pytest.FixtureRequest) -> AsyncIterator[Parties]:
    namespace = request.node.name
    here, there = leases(etcd, namespace), leases(etcd, namespace, "there")

    async def run_out() -> None:
        while not (await here.hold(NAMES)).names:
            await sleep(0.1)
        await here.release(NAMES)

    yield Parties(here, there, run_out)
    for each in (here, there):
        await each.release(NAMES)
        await each.stop()


@pytest_twisted.ensureDeferred
async def test_kept_for_longer_than_a_lease(parties: Parties) -> None:
    """Who asks again in time keeps them; another one never has them."""
    for _ in range(6):
        assert (await parties.here.hold(NAMES)).names == set(NAMES)
        assert (await parties.there.hold(NAMES)).names == set()
        await sleep(LEASE / 4)


@pytest_twisted.ensureDeferred
async def test_two_namespaces(etcd: Etcd, parties: Parties) -> None:
    """Services on other databases may use the same etcd."""
    other = leases(etcd, "test")  # which is how the names of all tests begin
    assert (await parties.here.hold(NAMES)).names == set(NAMES)
    assert (await other.hold(NAMES)).names == set(NAMES)
    await other.release(NAMES)
    await other.stop()


@pytest_twisted.ensureDeferred
async def test_lost_though_the_time_is_not_over(etcd: Etcd, parties: Parties) -> None:
    """If etcd gives a lease to another one, as after a loss of its data, the first one notices when it asks."""
    assert (await parties.here.hold(NAMES)).names == set(NAMES)
    await parties.there.hold(["other"])
    client = parties.there._coordinator.client
    assert client.delete(f"{parties.here._folder}auditor")
    assert (await parties.there.hold(["auditor"])).names == {"auditor"}
    assert (await parties.here.hold(NAMES)).names == {"replicator", "scrubber"}
    assert (await parties.there.hold(["auditor"])).names == {"auditor"}
    await parties.there.release(["other"])


@pytest_twisted.ensureDeferred
async def test_late(parties: Parties) -> None:
    """Who asks later than it should has nothing for sure, even if nobody has taken it: it takes it anew."""
    clock = [0.0]
    parties.here._seconds = lambda: clock[0]
    assert (await parties.here.hold(["auditor"])).names == {"auditor"}
    first = parties.here._locks["auditor"].revision
    clock[0] = LEASE + 1
    assert (await parties.here.hold(["auditor"])).names == {"auditor"}
    assert parties.here._locks["auditor"].revision != first


@pytest_twisted.ensureDeferred
async def test_etcd_dies_and_comes_back(tmp_path: Path) -> None:
    """Nobody has a lease while it is away, and it is said so; what was held is held again when it is back."""
    server = Etcd(tmp_path)
    mine = leases(server, "mine", lease=60)
    with pytest.raises(CoordinationUnavailable):
        await mine.hold(NAMES)
    server.start()
    try:
        assert (await mine.hold(NAMES)).names == set(NAMES)
        server.stop()
        for call in (mine.hold, mine.release):
            with pytest.raises(CoordinationUnavailable):
                await call(NAMES)
        server.start()
        assert (await mine.hold(NAMES)).names == set(NAMES)
    finally:
        server.stop()
        await mine.stop()


@pytest_twisted.ensureDeferred
async def test_tls(tmp_path: Path) -> None:
    """tooz's options in the URL count: the authority that etcd's certificate needs."""
    files = prepare_certificates(tmp_path / "tls", ["127.0.0.1"])
    server = Etcd(tmp_path, (files.certificate, files.key, files.ca))
    server.start()
    mine = leases(server, "mine")
    from twisted.internet import reactor

    trusting_others = EtcdLeases(reactor, server.url.partition("?")[0], "mine", "here", LEASE)
    try:
        assert (await mine.hold(NAMES)).names == set(NAMES)
        await mine.release(NAMES)
        with pytest.raises(CoordinationUnavailable):
            await trusting_others.hold(NAMES)
    finally:
        server.stop()
        await mine.stop()
        await trusting_others.stop()
