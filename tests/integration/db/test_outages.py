"""Databases that restart, lose connections, or have other transactions win (D-054)."""

from __future__ import annotations

import http.client
import itertools
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from attrs import define, field
from sqlalchemy import Connection, make_url, text
from twisted.internet.defer import ensureDeferred, gatherResults
from twisted.internet.endpoints import serverFromString
from twisted.internet.threads import deferToThread
from twisted.logger import capturedLogs

from glancetx.config.settings import DatabaseSettings
from glancetx.db.engine import Engine
from glancetx.domain.errors import DatabaseUnavailable, OutcomeUnknown
from tests.running import DATA, PATIENCE, Api, Reply, Started, settings_in
from tests.services.cutter import Cutter
from tests.services.databases import DatabaseServer
from tests.services.mariadb import MariaDb

ONE, TWO = "one", "two"


@pytest_twisted.async_yield_fixture
async def api(start: Started, tmp_path: Path) -> AsyncIterator[Api]:
    yield await start(settings_in(tmp_path))


@define
class Traffic:
    """Clients that never stop asking, and what they were told."""

    api: Api
    replies: list[Reply] = field(factory=list)
    created: list[str] = field(factory=list)
    ended: bool = False

    async def run(self) -> None:
        while not self.ended:
            made = await self._send("POST", "/v2/images", b'{"name": "x"}')
            if made.status == 201:
                path = f"/v2/images/{made.json['id']}"
                self.created.append(made.json["id"])
                await self._send("PUT", f"{path}/tags/t", b"")
                await self._send("GET", path, None)
            await self._send("GET", "/v2/images?limit=2", None)

    async def _send(self, method: str, path: str, body: bytes | None) -> Reply:
        reply = await self.api.request(method, path, body)
        self.replies.append(reply)
        return reply

    def bad(self) -> list[Reply]:
        return [reply for reply in self.replies if reply.status >= 400]

    def is_well(self) -> bool:
        """Whether the last replies, many more than there are clients and connections, were good."""
        return len(self.replies) >= 200 and all(reply.status < 400 for reply in self.replies[-200:])


async def wait(true: Callable[[], object]) -> None:
    """Wait until *true* says so."""
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline
        await pause(0.02)


async def pause(seconds: float) -> None:
    await deferToThread(time.sleep, seconds)


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("killed", [False, True])
async def test_restart(api: Api, server: DatabaseServer, killed: bool) -> None:
    """While the database is away requests get 503 and are told to come back; when it is back all is well."""
    traffic = Traffic(api)
    running = [ensureDeferred(traffic.run()) for _ in range(6)]
    await wait(traffic.is_well)
    await deferToThread(server.kill if killed else server.stop)
    await wait(traffic.bad)
    await deferToThread(server.start)
    await wait(traffic.is_well)
    traffic.ended = True
    await gatherResults(running)
    away = [reply for reply in traffic.bad() if reply.status == 503]
    assert away
    assert all(reply.header("Retry-After") is not None for reply in away)
    # The server of the tests does not wait for the disk: one that is killed forgets some of what it has said.
    assert {reply.status for reply in traffic.bad()} <= ({503, 404} if killed else {503})
    if not killed:
        for image_id in traffic.created:
            assert (await api.show(image_id))["id"] == image_id


def begin_upload(api: Api, image_id: str) -> http.client.HTTPConnection:
    """Send the headers and the first half of four bytes."""
    connection = http.client.HTTPConnection("127.0.0.1", api.port, timeout=PATIENCE)
    connection.putrequest("PUT", f"/v2/images/{image_id}/file")
    connection.putheader("Content-Type", DATA)
    connection.putheader("Content-Length", "4")
    connection.endheaders(b"da")
    return connection


async def restart(api: Api, server: DatabaseServer) -> None:
    """Start the server, and wait until the service has noticed: where it reads, and where it writes."""
    await deferToThread(server.start)
    deadline = time.monotonic() + PATIENCE
    for method, body in (("GET", None), ("POST", b'{"name": "x"}')):
        while (await api.request(method, "/v2/images", body)).status == 503:
            assert time.monotonic() < deadline
            await pause(0.02)


async def until_status(api: Api, image_id: str, status: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while (await api.show(image_id))["status"] != status:
        assert time.monotonic() < deadline
        await pause(0.02)


@pytest_twisted.ensureDeferred
async def test_upload_outlives_a_restart(api: Api, server: DatabaseServer) -> None:
    """Data that has come while the database was away is not sent for nothing."""
    image_id = await api.create()
    upload = await deferToThread(begin_upload, api, image_id)
    await until_status(api, image_id, "saving")
    await deferToThread(server.stop)
    await deferToThread(upload.send, b"ta")
    answer = deferToThread(upload.getresponse)
    await pause(1)
    assert not answer.called
    await restart(api, server)
    assert (await answer).status == 204
    upload.close()
    shown = await api.show(image_id)
    assert (shown["status"], shown["size"]) == ("active", 4)
    assert (await api.request("GET", f"/v2/images/{image_id}/file")).body == b"data"


@pytest_twisted.ensureDeferred
async def test_upload_ends_while_the_database_is_away(api: Api, server: DatabaseServer) -> None:
    """An upload that could not be undone at once is undone when the database is back; its process lives on."""
    image_id = await api.create()
    upload = await deferToThread(begin_upload, api, image_id)
    await until_status(api, image_id, "saving")
    await deferToThread(server.stop)
    with capturedLogs() as logs:
        upload.close()
        await wait(lambda: any(event["log_format"] == "undoing with {undo} failed" for event in logs))
    await restart(api, server)
    assert (await api.show(image_id))["status"] == "saving"
    assert await api.service.background.reaper.run_once() == 1
    assert (await api.show(image_id))["status"] == "queued"
    assert api.stored() == []
    assert (await api.upload(image_id, b"data")).status == 204


def kill_statement(server: DatabaseServer, connection: Connection) -> str:
    if isinstance(server, MariaDb):
        return f"KILL {connection.execute(text('SELECT CONNECTION_ID()')).scalar()}"
    return f"SELECT pg_terminate_backend({connection.execute(text('SELECT pg_backend_pid()')).scalar()})"


def add_type(connection: Connection, name: str) -> None:
    statement = "INSERT INTO metadef_resource_types (name, protected, created_at) VALUES (:name, false, '2026-01-01')"
    connection.execute(text(statement), {"name": name})


def touch(connection: Connection, name: str) -> None:
    statement = "UPDATE metadef_resource_types SET updated_at = :now WHERE name = :name"
    connection.execute(text(statement), {"now": "2026-01-02", "name": name})


async def types(engine: Engine) -> list[str]:
    def load(connection: Connection) -> list[str]:
        return [row[0] for row in connection.execute(text("SELECT name FROM metadef_resource_types ORDER BY name"))]

    return await engine.read(load)


@pytest_twisted.ensureDeferred
async def test_lost_within(engine: Engine, server: DatabaseServer) -> None:
    """A transaction whose connection is lost before the commit is run again, whole."""
    runs = itertools.count()

    def work(connection: Connection) -> int:
        run = next(runs)
        add_type(connection, f"{run}")
        if run == 0:
            server.run(kill_statement(server, connection))
        add_type(connection, f"{run} again")
        return run

    assert await engine.interact(work) == 1
    assert await types(engine) == ["1", "1 again"]


@pytest_twisted.ensureDeferred
async def test_lost_twice(engine: Engine, server: DatabaseServer) -> None:
    """A transaction that loses every connection ends; nothing of it stays, and others succeed."""
    runs = itertools.count()

    def work(connection: Connection) -> None:
        add_type(connection, f"{next(runs)}")
        server.run(kill_statement(server, connection))
        add_type(connection, "never")

    with pytest.raises(DatabaseUnavailable):
        await engine.interact(work)
    assert next(runs) == 2
    assert await types(engine) == []


@pytest_twisted.ensureDeferred
async def test_lost_between(engine: Engine, server: DatabaseServer) -> None:
    """Nobody notices that connections were lost while they were not used."""
    kills = [await use(kill_statement, server) for use in (as_first(engine.interact), as_first(engine.read))]
    for kill in kills:
        server.run(kill)
    await engine.interact(add_type, ONE)
    assert await types(engine) == [ONE]


def as_first(method: Callable[..., Any]) -> Callable[..., Any]:
    """*method*, for a function whose last argument is the connection."""
    return lambda function, *args: method(lambda connection: function(*args, connection))


@pytest_twisted.ensureDeferred
async def test_deadlock(engine: Engine) -> None:
    """Of two transactions that wait for each other one is run again; both succeed."""
    meeting = threading.Barrier(2, timeout=PATIENCE)
    runs = itertools.count()

    def work(connection: Connection, first: str, second: str) -> None:
        touch(connection, first)
        if next(runs) < 2:
            meeting.wait()
        touch(connection, second)

    for name in (ONE, TWO):
        await engine.interact(add_type, name)
    await gatherResults(
        [ensureDeferred(engine.interact(work, *names)) for names in ((ONE, TWO), (TWO, ONE))], consumeErrors=True
    )
    assert next(runs) >= 3  # they may meet again


@pytest_twisted.ensureDeferred
async def test_lock_timeout(engine: Engine, server: DatabaseServer) -> None:
    """A transaction that waited too long for another's lock is run again."""
    held, enough = threading.Event(), threading.Event()
    runs = itertools.count()

    def holder(connection: Connection) -> None:
        touch(connection, ONE)
        held.set()
        assert enough.wait(PATIENCE)

    def waiter(connection: Connection) -> int:
        run = next(runs)
        name = "SESSION innodb_lock_wait_timeout = 1" if isinstance(server, MariaDb) else "LOCAL lock_timeout = '1s'"
        connection.execute(text(f"SET {name}"))
        if run == 1:
            enough.set()
        touch(connection, ONE)
        return run

    await engine.interact(add_type, ONE)
    holding = ensureDeferred(engine.interact(holder))
    await deferToThread(held.wait, PATIENCE)
    assert await engine.interact(waiter) == 1
    await holding


@pytest_twisted.ensureDeferred
async def test_frozen_process(engine: Engine, server: DatabaseServer) -> None:
    """The row locks of a process that is frozen in its transaction do not last; if it wakes up, it begins anew."""
    mariadb = isinstance(server, MariaDb)
    option = "idle_transaction_timeout" if mariadb else "idle_in_transaction_session_timeout"
    awake = threading.Event()
    usual, runs = list[str](), itertools.count()

    def frozen(connection: Connection) -> int:
        usual.append(str(connection.execute(text(f"SELECT @@{option}" if mariadb else f"SHOW {option}")).scalar()))
        connection.execute(text(f"SET SESSION {option} = {1 if mariadb else 1000}"))
        touch(connection, ONE)
        if (run := next(runs)) == 0:
            assert awake.wait(PATIENCE)
        touch(connection, TWO)
        return run

    for name in (ONE, TWO):
        await engine.interact(add_type, name)
    sleeper = ensureDeferred(engine.interact(frozen))
    await wait(lambda: usual)
    await engine.interact(touch, ONE)
    awake.set()
    assert await sleeper == 1
    assert usual[0] in ("5", "5s")


@pytest.fixture
def cutter(server: Any) -> Cutter:
    return Cutter(server.port)


@pytest_twisted.async_yield_fixture
async def behind_cutter(cutter: Cutter, settings: DatabaseSettings) -> AsyncIterator[Engine]:
    """An engine whose line to the database can be cut."""
    from twisted.internet import reactor

    port: Any = await serverFromString(reactor, "tcp:0:interface=127.0.0.1").listen(cutter)
    url = make_url(settings.connection).set(port=port.getHost().port)
    engine = Engine(reactor, DatabaseSettings(connection=url.render_as_string(hide_password=False)))
    await engine.start()
    yield engine
    await engine.stop()
    await port.stopListening()


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("moment", ["before", "after"])
async def test_unknown_outcome(engine: Engine, behind_cutter: Engine, cutter: Cutter, moment: str) -> None:
    """A transaction of which nobody knows whether it was committed is not run again."""
    cutter.cuts = [moment]
    with pytest.raises(OutcomeUnknown):
        await behind_cutter.interact(add_type, ONE)
    assert await types(engine) == ([ONE] if moment == "after" else [])
    await behind_cutter.interact(add_type, TWO)


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("moment", ["before", "after"])
async def test_ensured_outcome(engine: Engine, behind_cutter: Engine, cutter: Cutter, moment: str) -> None:
    """One that may as well run twice is."""

    def put(connection: Connection) -> int:
        there = connection.execute(text("SELECT count(*) FROM metadef_resource_types")).scalar()
        if not there:
            add_type(connection, ONE)
        return int(there or 0)

    cutter.cuts = [moment]
    assert await behind_cutter.ensure(put) == (1 if moment == "after" else 0)
    assert await types(engine) == [ONE]


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("moment", ["before", "after"])
async def test_published_or_not(
    start: Started, behind_cutter: Engine, cutter: Cutter, tmp_path: Path, settings: DatabaseSettings, moment: str
) -> None:
    """An upload is active, once, however its last commit ended."""
    api = await start(settings_in(tmp_path))
    image_id = await api.create()
    upload = await deferToThread(begin_upload, api, image_id)
    await until_status(api, image_id, "saving")
    with engine_of(api, behind_cutter):
        cutter.cuts = [moment]
        await deferToThread(upload.send, b"ta")
        assert (await deferToThread(upload.getresponse)).status == 204
    upload.close()
    assert cutter.cuts == []
    assert (await api.show(image_id))["status"] == "active"
    assert await api.service.background.reaper.run_once() == 0
    assert (await api.request("GET", f"/v2/images/{image_id}/file")).body == b"data"


@contextmanager
def engine_of(api: Api, engine: Engine) -> Iterator[None]:
    """Let the uploads of a service publish through *engine*."""
    images = api.service.uploads._images
    before, images._engine = images._engine, engine
    yield
    images._engine = before
