"""What becomes of events when there is no broker; what happens with one is tried with a real one."""

from __future__ import annotations

import json
import uuid
from datetime import datetime
from typing import Any

from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import LogLevel, capturedLogs
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from glancetx.config.settings import BrokerHost, BrokerSettings, NotificationSettings
from glancetx.db.events import Stamps
from glancetx.interfaces import INotifier
from glancetx.notifications.messaging import REPORT_EVERY, MessagingNotifier
from glancetx.notifications.outbox import Outbox
from glancetx.notifications.wire import compose, priority_of, wrapped

HOSTS = (BrokerHost(host="127.0.0.1"), BrokerHost(host="127.0.0.1", port=7))


def make(reactor: MemoryReactorClock, outbox: Outbox | None = None, **options: Any) -> MessagingNotifier:
    settings = NotificationSettings(**options)
    return MessagingNotifier(reactor, settings, BrokerSettings(hosts=HOSTS), stamps=Stamps("p"), outbox=outbox)


def refuse(reactor: MemoryReactorClock) -> None:
    """Nobody listens where it connects to."""
    _, _, factory, _, _ = reactor.tcpClients[-1]
    factory.clientConnectionFailed(reactor.connectors[-1], Failure(Refused()))
    reactor.advance(0.3)  # it looks whether the host has another address


def test_envelope() -> None:
    """Message format 2.0: a message within a message (C-147)."""
    outer = json.loads(wrapped(compose("image.create", "info", {"name": "ü"}, "image.host"), envelope=True))
    assert outer.keys() == {"oslo.version", "oslo.message"}
    assert outer["oslo.version"] == "2.0"
    inner = json.loads(outer["oslo.message"])
    uuid.UUID(inner.pop("message_id"))
    assert len(inner.pop("_unique_id")) == 32
    datetime.strptime(inner.pop("timestamp"), "%Y-%m-%d %H:%M:%S.%f")
    assert inner == {
        "publisher_id": "image.host",
        "event_type": "image.create",
        "priority": "INFO",
        "payload": {"name": "ü"},
    }


def test_bare() -> None:
    """Message format 1.0 is the inner message alone."""
    composed = compose("image.upload", "error", "full", "image.host")
    assert priority_of(composed) == "error"
    message = json.loads(wrapped(composed, envelope=False))
    assert (message["event_type"], message["priority"], message["payload"]) == ("image.upload", "ERROR", "full")


def test_it_is_a_notifier() -> None:
    """What belongs to no transaction waits in memory, by its priority."""
    outbox = Outbox()
    notifier = make(MemoryReactorClock(), outbox)
    assert verifyObject(INotifier, notifier)
    notifier.notify("image.upload", "ERROR", "full")
    letter = outbox.take()
    assert (letter.priority, letter.kept) == ("error", False)


def test_it_tries_again() -> None:
    """Every address in turn, after pauses that grow; it is told once; what waits is kept."""
    reactor = MemoryReactorClock()
    notifier = make(reactor)
    with capturedLogs() as logs:
        notifier.startService()
        notifier.notify("image.create", "info", {})
        for pause in (1, 3, 5, 7):
            refuse(reactor)
            tries = len(reactor.tcpClients)
            reactor.advance(pause - 0.1)
            assert len(reactor.tcpClients) == tries
            reactor.advance(0.2)
            assert len(reactor.tcpClients) == tries + 1
    assert [port for _, port, *_ in reactor.tcpClients] == [5672, 7, 5672, 7, 5672]
    assert [event["log_level"] for event in logs] == [LogLevel.warn]
    assert notifier.status() == {"waiting": 1, "dropped": 0, "connected": False}


def test_pauses_are_bounded() -> None:
    """After long it still tries twice a minute."""
    reactor = MemoryReactorClock()
    notifier = make(reactor)
    notifier.startService()
    for _ in range(50):
        refuse(reactor)
        reactor.advance(30)
    assert len(reactor.tcpClients) == 51


def test_no_retry() -> None:
    """Without a second try an event is dropped when the first one failed."""
    reactor = MemoryReactorClock()
    notifier = make(reactor, retry=0)
    notifier.startService()
    notifier.notify("image.create", "info", {})
    refuse(reactor)
    assert notifier.status() == {"waiting": 0, "dropped": 1, "connected": False}


def test_dropped_events_are_reported_now_and_then() -> None:
    """Not one line for each."""
    reactor = MemoryReactorClock()
    notifier = make(reactor, Outbox(most=1))
    with capturedLogs() as logs:
        for _ in range(10):
            notifier.notify("image.create", "info", {})
        reactor.advance(REPORT_EVERY)
        notifier.notify("image.create", "info", {})
    assert [(event["log_level"], event["count"]) for event in logs] == [(LogLevel.error, 1), (LogLevel.error, 9)]


def test_stopping_does_not_wait_for_a_dead_broker() -> None:
    """What could not be delivered is told."""
    reactor = MemoryReactorClock()
    notifier = make(reactor)
    notifier.startService()
    notifier.notify("image.create", "info", {})
    refuse(reactor)
    ended: list[object] = []
    with capturedLogs() as logs:
        notifier.stopService().addCallback(ended.append)
    assert ended == [None]
    assert [(event["log_level"], event["left"]) for event in logs] == [(LogLevel.warn, 1)]
    reactor.advance(1000)
    assert len(reactor.tcpClients) == 1
