"""Events for listeners of oslo.messaging, by a RabbitMQ broker: kept until it has them, whether it is there or not."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import cycle
from typing import Any, Final

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from glancetx.config.settings import BrokerSettings, NotificationSettings
from glancetx.interfaces import INotifier
from glancetx.notifications.outbox import Message, Outbox
from glancetx.notifications.session import Session, open_session
from glancetx.notifications.wire import serialize
from glancetx.outgoing.tls import TlsPolicy

WINDOW: Final = 256  # messages that are sent and not confirmed
FAREWELL: Final = 5.0  # seconds at the end to deliver what is left
REPORT_EVERY: Final = 60.0  # seconds between two lines in the log about dropped events

_log = Logger()


@implementer(INotifier)
class MessagingNotifier(Service):
    """Sends every event to each topic, in order; costs whoever has one no more than making a message.

    Messages are kept until the broker confirms them, in an `Outbox` that is bounded. A broker that goes away is looked
    for again, at every address in turn. A message whose confirmation was lost is sent again, with the same id.
    *envelope*: see `serialize`.

    :raises ConfigurationError: if a file for TLS cannot be used.
    """

    def __init__(
        self,
        reactor: Any,
        settings: NotificationSettings,
        broker: BrokerSettings,
        *,
        envelope: bool = True,
        outbox: Outbox | None = None,
    ) -> None:
        self._reactor, self._settings, self._broker, self._envelope = reactor, settings, broker, envelope
        self._tls = None if broker.tls is None else TlsPolicy(broker.tls)
        self._outbox = Outbox(settings.retry) if outbox is None else outbox
        self._under_way: dict[int, Message] = {}  # sent, and not confirmed
        self._number = 0
        self._news: Deferred[None] | None = None
        self._idle: Deferred[None] | None = None  # fires when nothing is left
        self._work: Deferred[None] | None = None
        self._failures = 0  # since the last confirmation
        self._reported, self._report_at = 0, 0.0

    def notify(self, event_type: str, priority: str, payload: Mapping[str, Any] | str) -> None:
        for topic in self._settings.topics:
            body = serialize(event_type, priority, payload, self._settings.publisher_id, envelope=self._envelope)
            self._outbox.put(Message(f"{topic}.{priority.lower()}", body))
        self._report_dropped()
        self._wake()

    def status(self) -> dict[str, Any]:
        """What an operator wants to know; JSON types only."""
        return {
            "waiting": len(self._outbox) + len(self._under_way),
            "dropped": self._outbox.dropped,
            "connected": self._failures == 0,
        }

    def startService(self) -> None:
        super().startService()
        self._work = Deferred.fromCoroutine(self._run())
        self._work.addErrback(self._ended)

    def stopService(self) -> Deferred[None]:
        """Deliver what is left, for `FAREWELL` seconds at most."""
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        if self._work is None:
            return
        if self._failures == 0 and (self._outbox or self._under_way):
            self._idle = Deferred()
            self._idle.addTimeout(FAREWELL, self._reactor).addErrback(lambda failure: None)
            await self._idle
            await deferLater(self._reactor, 0)  # it fires in the midst of the work, which cannot be cancelled there
        self._work.cancel()
        await self._work
        if left := len(self._outbox) + len(self._under_way):
            _log.warn("{left} events were not delivered", left=left)

    def _ended(self, failure: Failure) -> None:
        if not failure.check(CancelledError):
            _log.failure("events are not sent any more", failure)

    async def _run(self) -> None:
        for host in cycle(self._broker.hosts):
            try:
                session = await open_session(self._reactor, self._broker, host, self._tls)
            except CancelledError:
                raise
            except Exception as error:
                self._failed(f"{host.host}:{host.port}", error)
            else:
                await self._serve(session, f"{host.host}:{host.port}")
            await deferLater(self._reactor, self._pause())

    async def _serve(self, session: Session, where: str) -> None:
        """Send what comes, until the session ends."""
        session.ended.addBoth(lambda _: self._wake())
        try:
            await self._deliver(session)
        except CancelledError:
            session.close()
            raise
        except Exception as error:
            session.abort()
            self._failed(where, error)
        finally:
            self._outbox.put_back(self._under_way.values())
            self._under_way.clear()

    async def _deliver(self, session: Session) -> None:
        while not session.ended.called:
            while self._outbox and len(self._under_way) < WINDOW:
                await session.declare(self._outbox.peek().routing_key)
                self._send(session)
            if not self._outbox and not self._under_way and self._idle is not None and not self._idle.called:
                self._idle.callback(None)
            self._news = Deferred()
            await self._news
        raise ConnectionError("The connection has ended")

    def _send(self, session: Session) -> None:
        message = self._outbox.take()
        self._number += 1
        number = self._number
        self._under_way[number] = message

        def confirmed(_: object) -> None:
            self._under_way.pop(number, None)
            if self._failures:
                _log.info("events are delivered again")
            self._failures = 0
            self._wake()

        def refused(failure: Failure) -> None:
            session.abort()  # what is under way is put back, in its order

        session.publish(message.routing_key, message.body).addCallbacks(confirmed, refused)

    def _failed(self, where: str, error: Exception) -> None:
        if self._failures == 0:
            _log.warn("events are kept: the broker {where} cannot be used: {error!r}", where=where, error=error)
        self._failures += 1
        self._outbox.note_attempt()
        self._report_dropped()

    def _pause(self) -> float:
        broker = self._broker
        return float(min(broker.retry_interval + broker.retry_backoff * max(0, self._failures - 1), broker.retry_most))

    def _report_dropped(self) -> None:
        now = self._reactor.seconds()
        if self._outbox.dropped > self._reported and now >= self._report_at:
            count, self._reported = self._outbox.dropped - self._reported, self._outbox.dropped
            self._report_at = now + REPORT_EVERY
            _log.error("{count} events were dropped, since the broker did not take them", count=count)

    def _wake(self) -> None:
        if self._news is not None:
            news, self._news = self._news, None
            news.callback(None)
