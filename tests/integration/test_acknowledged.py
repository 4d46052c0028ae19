"""Service and MariaDB are killed under sixteen clients that create, change and delete; all acknowledged is there."""

from __future__ import annotations

import json
import signal
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from threading import Semaphore
from typing import Any, Final

import pytest
from attrs import define, field

from tests.running import PATIENCE, Daemon
from tests.services.mariadb import MariaDb

CLIENTS: Final = 16
ENOUGH: Final = 300
"""Acknowledged changes before the end comes."""
PATCH: Final = "application/openstack-images-v2.1-json-patch"
GONE: Final = "gone"


@define
class Client:
    """Asks for one change after the other until nobody answers.

    *possible* is how each image may be found: as it was acknowledged, or as what was asked for since would make it.
    """

    daemon: Daemon
    acknowledged: Semaphore
    possible: dict[str, set[str]] = field(factory=dict)

    def run(self) -> None:
        connection = self.daemon.connection()
        with suppress(OSError, HTTPException):
            while True:
                self._live(connection, str(uuid.uuid4()))
        connection.close()

    def _live(self, connection: HTTPConnection, image_id: str) -> None:
        self.possible[image_id] = {GONE}
        document = {"id": image_id, "name": "made", "mark": "made"}
        self._change(connection, image_id, "made", "POST", "/v2/images", document)
        changes = [{"op": "replace", "path": path, "value": "changed"} for path in ("/name", "/mark")]
        self._change(connection, image_id, "changed", "PATCH", f"/v2/images/{image_id}", changes)
        if len(self.possible) % 2:
            self._change(connection, image_id, GONE, "DELETE", f"/v2/images/{image_id}", None)

    def _change(
        self, connection: HTTPConnection, image_id: str, becomes: str, method: str, path: str, document: Any
    ) -> None:
        self.possible[image_id].add(becomes)
        body = None if document is None else json.dumps(document)
        kind = {"Content-Type": PATCH if method == "PATCH" else "application/json"} if body else {}
        connection.request(method, path, body, kind)
        answer = connection.getresponse()
        answer.read()
        if answer.status >= 300:  # of a service that has lost its database
            raise ConnectionError
        self.possible[image_id] = {becomes}
        self.acknowledged.release()


@pytest.fixture
def server() -> Iterator[MariaDb]:
    """It writes its log at each commit, as those of clouds do; it also syncs it then, which no test can see."""
    server = MariaDb("--innodb-flush-log-at-trx-commit=1")
    try:
        server.start()
        server.create("acknowledged")
        yield server
    finally:
        server.remove()


@pytest.fixture
def daemon(server: MariaDb, tmp_path: Path) -> Iterator[Daemon]:
    daemon = Daemon(tmp_path)
    daemon.configure(f"[database]\nconnection = {server.url('acknowledged')}\n")
    daemon.start()
    yield daemon
    daemon.stop()


def found(daemon: Daemon) -> dict[str, str]:
    """What each image is now, of those that are there."""
    status, answer = daemon.call("GET", "/v2/images?limit=1000")
    assert status == 200
    images = json.loads(answer)["images"]
    assert len(images) < 1000
    assert all(image["name"] == image["mark"] for image in images)
    return {image["id"]: image["name"] for image in images}


def test_killed(daemon: Daemon, server: MariaDb) -> None:
    """Each image is as it was last acknowledged, or as the request that was not answered any more made it, whole."""
    acknowledged = Semaphore(0)
    clients = [Client(daemon, acknowledged) for _ in range(CLIENTS)]
    with ThreadPoolExecutor(CLIENTS) as pool:
        running = [pool.submit(client.run) for client in clients]
        try:
            assert all(acknowledged.acquire(timeout=PATIENCE) for _ in range(ENOUGH))
        finally:
            server.kill()
            daemon.signal(signal.SIGKILL)
            daemon.wait()
    for each in running:
        each.result()
    server.start()
    daemon.start()
    there = found(daemon)
    possible = {image_id: states for client in clients for image_id, states in client.possible.items()}
    assert {image_id for image_id, states in possible.items() if there.get(image_id, GONE) not in states} == set()
    assert there.keys() <= possible.keys()
