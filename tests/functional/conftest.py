"""Services for tests, stopped when the test ends."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.endpoints import serverFromString
from twisted.web.client import Agent, HTTPConnectionPool

from glancetx.app import ImageService
from glancetx.config.settings import Settings
from glancetx.web.site import ImageSite
from tests.cloud import ADMIN, ALICE, BOB, CONTENT, Cloud, Users
from tests.running import Api, Daemon, Started, settings_in


@pytest_twisted.async_yield_fixture
async def start(tmp_path: Path) -> AsyncIterator[Started]:
    """Starts services; all are stopped at the end of the test."""
    from twisted.internet import reactor

    stops: list[Callable[[], Coroutine[Any, Any, Any]]] = []

    async def start(settings: Settings, port: int = 0, **parts: Any) -> Api:
        service = ImageService(settings, reactor, **parts)
        service.startService()
        await service.started
        endpoint = serverFromString(reactor, f"tcp:{port}:interface=127.0.0.1")
        listening: Any = await endpoint.listen(ImageSite(service.resource(), settings.http, reactor))
        pool = HTTPConnectionPool(reactor, persistent=False)

        async def stop() -> None:
            await listening.stopListening()
            await service.stopService()

        stops.append(stop)
        number = listening.getHost().port
        assert settings.data_dir is not None
        return Api(f"http://127.0.0.1:{number}", number, settings.data_dir, service, Agent(reactor, pool=pool))

    yield start
    for stop in stops:
        await stop()


@pytest_twisted.async_yield_fixture
async def api(start: Started, tmp_path: Path) -> AsyncIterator[Api]:
    """One service with default limits and nobody asked who he is."""
    yield await start(settings_in(tmp_path))


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    """A daemon yet to be started; stopped at the end of the test."""
    (tmp_path / "daemon").mkdir()
    daemon = Daemon(tmp_path / "daemon")
    yield daemon
    daemon.stop()


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """A daemon with three users, for all tests of a file."""
    cloud = Cloud(tmp_path_factory.mktemp("cloud"))
    try:
        cloud.start()
        yield cloud
    finally:
        cloud.stop()


@pytest.fixture(scope="module")
def users(cloud: Cloud) -> Users:
    (cloud.folder / "in.raw").write_bytes(CONTENT)
    return Users(cloud.client(ADMIN), cloud.client(ALICE), cloud.client(BOB))


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """For the images of this test only."""
    return f"{request.node.originalname} {uuid.uuid4().hex[:6]}"
