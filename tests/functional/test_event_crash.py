"""SIGKILL between a change and its event: whoever listens is told all the same, once the service is back."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pika
import pytest

from glancetx.config.settings import DatabaseSettings
from glancetx.db.engine import transact
from glancetx.db.events import count_events
from tests.functional.test_crash import create, show, upload
from tests.nursery import run_command
from tests.running import PATCH, Daemon
from tests.services.rabbitmq import RabbitMQ

PATIENCE = 60.0
KILLS = int(os.environ.get("GLANCETX_KILLS", "2"))


@pytest.fixture
def topic(request: pytest.FixtureRequest) -> str:
    """Of this test alone."""
    return str(request.node.name).replace("[", "-").rstrip("]")


@pytest.fixture
def daemon(daemon: Daemon, broker: RabbitMQ, topic: str) -> Daemon:
    """With a broker."""
    configure(daemon, broker, topic)
    return daemon


def configure(daemon: Daemon, broker: RabbitMQ, topic: str) -> None:
    daemon.configure(f"""
        [oslo_messaging_notifications]
        driver = messagingv2
        transport_url = {broker.url}
        topics = {topic}
        [oslo_messaging_rabbit]
        rabbit_interval_max = 1
    """)


class Listener:
    """Takes what the broker has for a topic."""

    def __init__(self, broker: RabbitMQ, topic: str) -> None:
        login = pika.PlainCredentials("test", "test")
        self._connection = pika.BlockingConnection(
            pika.ConnectionParameters("127.0.0.1", broker.port, "/", login, heartbeat=0)
        )
        self._channel = self._connection.channel()
        self._queue = f"{topic}.info"
        self._channel.queue_declare(self._queue)

    def hear(self, count: int) -> list[Any]:
        """The next *count* events."""
        heard: list[Any] = []
        deadline = time.monotonic() + PATIENCE
        while len(heard) < count:
            _, _, body = self._channel.basic_get(self._queue, auto_ack=True)
            if body is not None:
                heard.append(json.loads(json.loads(body)["oslo.message"]))
                continue
            assert time.monotonic() < deadline, heard
            self._connection.sleep(0.05)
        return heard

    def all(self) -> list[Any]:
        """All that is there now."""
        heard: list[Any] = []
        while (body := self._channel.basic_get(self._queue, auto_ack=True)[2]) is not None:
            heard.append(json.loads(json.loads(body)["oslo.message"]))
        return heard

    def close(self) -> None:
        self._connection.close()


@pytest.fixture
def listener(broker: RabbitMQ, topic: str) -> Iterator[Listener]:
    made = Listener(broker, topic)
    yield made
    made.close()


def told(events: list[Any]) -> list[tuple[str, str]]:
    return [(event["event_type"], event["payload"]["id"]) for event in events]


def rows(daemon: Daemon) -> int:
    """How many events wait in its database."""
    return transact(DatabaseSettings(connection=f"sqlite:///{daemon.folder}/db.sqlite"), count_events)


def unsent(daemon: Daemon) -> int:
    """What ``glancetx status`` says of them."""
    ended = run_command("glancetx", "status", "--json", "--config-file", daemon.folder / "glance-api.conf")
    return int(json.loads(ended.stdout)["unsent_events"])


def wait_until_sent(daemon: Daemon) -> None:
    deadline = time.monotonic() + PATIENCE
    while rows(daemon):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def rename(daemon: Daemon, image_id: str, name: str) -> int:
    patch = json.dumps([{"op": "replace", "path": "/name", "value": name}]).encode()
    return daemon.call("PATCH", f"/v2/images/{image_id}", patch, Content_Type=PATCH)[0]


def try_to_create(daemon: Daemon) -> None:
    """It is killed on the way."""
    with pytest.raises((OSError, AssertionError)):
        create(daemon)
    assert daemon.wait() == -signal.SIGKILL


def test_killed_before_it_is_sent(daemon: Daemon, listener: Listener) -> None:
    """What was committed is told after the restart."""
    daemon.start(GLANCETX_FAILPOINT="event.committed")
    try_to_create(daemon)
    daemon.start()
    (image,) = json.loads(daemon.call("GET", "/v2/images")[1])["images"]
    assert told(listener.hear(1)) == [("image.create", image["id"])]
    wait_until_sent(daemon)


def test_killed_before_it_is_noted_as_sent(daemon: Daemon, listener: Listener) -> None:
    """It is sent again, with the same id, by which listeners know that."""
    daemon.start(GLANCETX_FAILPOINT="event.sent")
    create(daemon)
    assert daemon.wait() == -signal.SIGKILL
    (first,) = listener.hear(1)
    daemon.start()
    (second,) = listener.hear(1)
    assert first == second
    wait_until_sent(daemon)


def test_killed_while_it_is_taken_over(daemon: Daemon, listener: Listener) -> None:
    """The next one takes it over again."""
    daemon.start(GLANCETX_FAILPOINT="event.committed")
    try_to_create(daemon)
    daemon.start(GLANCETX_FAILPOINT="event.adopted")
    assert daemon.wait() == -signal.SIGKILL
    daemon.start()
    assert [name for name, _ in told(listener.hear(1))] == ["image.create"]


def test_killed_beside_others(daemon: Daemon, broker: RabbitMQ, topic: str, listener: Listener, tmp_path: Path) -> None:
    """Of two nodes on a database one dies with what its broker did not take: processes of the other send it, once."""
    (tmp_path / "other").mkdir()
    other = Daemon(tmp_path / "other")
    configure(other, RabbitMQ(tmp_path / "away"), topic)
    other.configure(f"""
        [database]
        connection = sqlite:///{daemon.folder}/db.sqlite
    """)
    daemon.start("--workers", "2")
    other.start()
    try:
        ids = [create(other) for _ in range(5)]
        assert rows(daemon) == 5
        other.signal(signal.SIGKILL)
        other.wait()
    finally:
        other.stop()
    assert sorted(told(listener.hear(5))) == sorted(("image.create", image_id) for image_id in ids)
    wait_until_sent(daemon)
    assert listener.all() == []


def test_a_delete_that_the_reaper_ends(daemon: Daemon, listener: Listener) -> None:
    """Is told like any other."""
    daemon.start(GLANCETX_FAILPOINT="delete.removed")
    image_id = create(daemon)
    assert upload(daemon, image_id) == 204
    with pytest.raises(OSError):
        daemon.call("DELETE", f"/v2/images/{image_id}")
    assert daemon.wait() == -signal.SIGKILL
    daemon.start()
    names = ["create", "update", "prepare", "upload", "activate", "update", "delete"]
    assert sorted(told(listener.hear(7))) == sorted((f"image.{name}", image_id) for name in names)
    assert show(daemon, image_id) is None


def create_until_killed(daemon: Daemon) -> None:
    with suppress(OSError):
        while True:
            create(daemon)


def test_killed_at_any_time(daemon: Daemon, listener: Listener) -> None:
    """Whoever is told of all images that there are, each at least once, and of no others."""
    with ThreadPoolExecutor(4) as clients:
        for _ in range(KILLS):
            daemon.start()
            works = [clients.submit(create_until_killed, daemon) for _ in range(4)]
            time.sleep(random.uniform(0.1, 1.0))
            daemon.signal(signal.SIGKILL)
            daemon.wait()
            for work in works:
                work.result()
    daemon.start()
    wait_until_sent(daemon)
    heard = listener.all()
    assert set(told(heard)) == {("image.create", image_id) for image_id in image_ids(daemon)}
    assert len({event["_unique_id"] for event in heard}) == len(set(told(heard)))


def image_ids(daemon: Daemon) -> set[str]:
    found: set[str] = set()
    path = "/v2/images?limit=1000"
    while path:
        page = json.loads(daemon.call("GET", path)[1])
        found |= {image["id"] for image in page["images"]}
        path = page.get("next", "")
    return found


def test_without_a_broker(daemon: Daemon, tmp_path: Path) -> None:
    """While it is away all is answered; killed, nothing is lost; the command sends it in its order."""
    away = RabbitMQ(tmp_path / "away")
    configure(daemon, away, "kept")
    daemon.start()
    image_id = create(daemon)
    names = [f"name {number}" for number in range(20)]
    for name in names:
        assert rename(daemon, image_id, name) == 200
    assert unsent(daemon) == 21
    daemon.signal(signal.SIGKILL)
    daemon.wait()
    assert unsent(daemon) == 21
    try:
        away.start()
        command = ["--config-file", str(daemon.folder / "glance-api.conf"), "run", "updater"]
        ended = ""
        while unsent(daemon):  # it gives up if the broker is slow
            assert not ended or "updater: 0" in ended
            done = run_command("glancetx-manage", *command)
            assert done.returncode == 0, done
            ended = done.stdout
        assert "updater: 21" in ended
        listener = Listener(away, "kept")
        heard = listener.hear(21)
        listener.close()
    finally:
        away.stop()
    assert [event["payload"]["name"] for event in heard] == ["x", *names]
