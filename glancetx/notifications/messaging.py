"""Events for listeners of oslo.messaging, by a RabbitMQ broker: kept until it has them, whether it is there or not."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import cycle
from typing import Any, Final

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from glancetx.config.settings import BrokerSettings, NotificationSettings
from glancetx.db.events import EventRows, Stamps
from glancetx.db.telling import Transaction
from glancetx.domain.errors import DatabaseUnavailable
from glancetx.interfaces import INotifier
from glancetx.notifications.drawer import Drawer
from glancetx.notifications.outbox import Letter, Outbox
from glancetx.notifications.session import Session, open_session
from glancetx.notifications.telling import Event
from glancetx.notifications.wire import compose, wrapped
from glancetx.outgoing.tls import TlsPolicy
from glancetx.runtime.failpoints import reach

WINDOW: Final = 256  # letters that are sent and not confirmed
FAREWELL: Final = 5.0  # seconds at the end to deliver what is left
REPORT_EVERY: Final = 60.0  # seconds between two lines in the log about dropped events
LARGEST: Final = 1024 * 1024  # bytes of an event that is kept in the database; a larger one could be too much for it
LOOK_EVERY: Final = 30.0  # seconds between two looks for rows that did not come to hand when they were committed

_log = Logger()


@implementer(INotifier)
class MessagingNotifier(Service):
    """Sends every event to each topic, in order; costs whoever has one no more than making a message, and a row.

    With *rows*, what is told in a transaction is a row of the database until the broker confirms it; of another
    process, if this one dies. What belongs to no transaction waits in memory, in an `Outbox` that is bounded. A broker
    that goes away is looked for again, at every address in turn. A message whose confirmation was lost is sent again,
    with the same id. *envelopes*: in which forms each is sent, see `wrapped`.

    :raises ConfigurationError: if a file for TLS cannot be used.
    """

    def __init__(
        self,
        reactor: Any,
        settings: NotificationSettings,
        broker: BrokerSettings,
        *,
        stamps: Stamps,
        rows: EventRows | None = None,
        envelopes: Sequence[bool] = (True,),
        outbox: Outbox | None = None,
    ) -> None:
        self._reactor, self._settings, self._broker, self._envelopes = reactor, settings, broker, envelopes
        self._tls = None if broker.tls is None else TlsPolicy(broker.tls)
        self._stamps = stamps
        self._outbox = Outbox(settings.retry) if outbox is None else outbox
        self._drawer = None if rows is None else Drawer(reactor, rows)
        self._look = LoopingCall(self.look)
        self._look.clock = reactor
        self._under_way: dict[str, Letter] = {}  # sent, and not confirmed
        self._news: Deferred[None] | None = None
        self._waiting: list[Deferred[None]] = []  # to fire when nothing is left
        self._work: Deferred[None] | None = None
        self._failures = 0  # since the last confirmation
        self._reported, self._report_at = 0, 0.0

    def notify(self, event_type: str, priority: str, payload: Mapping[str, Any] | str) -> None:
        self._put(self._letter(Event(event_type, payload, priority)))

    def write(self, transaction: Transaction, told: Sequence[Event]) -> Callable[[], None]:
        """Within a transaction, in any thread: keep these. What is returned sends them, once that is committed."""
        letters = [self._letter(event) for event in told]
        if self._drawer is not None:
            self._drawer.keep(transaction, [letter for letter in letters if len(letter.text) <= LARGEST])
        return partial(self._put, *letters)

    def look(self) -> None:
        """There may be rows of ours that are not at hand."""
        if self._drawer is not None:
            self._drawer.behind = True
            self._wake()

    @property
    def is_idle(self) -> bool:
        """Whether nothing is left to be sent, as far as is known."""
        behind = self._drawer is not None and self._drawer.behind
        return not (self._outbox or self._under_way or behind)

    @property
    def is_connected(self) -> bool:
        """Whether the broker takes what it is sent, as far as is known."""
        return self._failures == 0

    async def delivered(self, patience: float) -> bool:
        """Wait until nothing is left, for *patience* seconds at most; tells whether that is so."""
        if not self.is_idle:
            idle: Deferred[None] = Deferred()
            self._waiting.append(idle)
            idle.addTimeout(patience, self._reactor).addErrback(lambda failure: None)
            await idle
            self._waiting = [each for each in self._waiting if each is not idle]
            await deferLater(self._reactor, 0)  # it fires in the midst of the work, which cannot be cancelled there
        return self.is_idle

    def status(self) -> dict[str, Any]:
        """What an operator wants to know; JSON types only."""
        return {
            "waiting": len(self._outbox) + len(self._under_way),
            "dropped": self._outbox.dropped,
            "connected": self.is_connected,
        }

    def startService(self) -> None:
        super().startService()
        self._work = Deferred.fromCoroutine(self._run())
        self._work.addErrback(self._ended)
        self._look.start(LOOK_EVERY, now=False).addErrback(
            lambda failure: _log.failure("nobody looks for events that are left", failure)
        )

    def stopService(self) -> Deferred[None]:
        """Deliver what is left, for `FAREWELL` seconds at most."""
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        if self._look.running:
            self._look.stop()
        if self._work is None:
            return
        if self.is_connected:
            await self.delivered(FAREWELL)
        self._work.cancel()
        await self._work
        if self._drawer is not None:
            await self._leave_to_others(self._drawer)
        if left := len(self._outbox) - self._outbox.kept:
            _log.warn("{left} events were not delivered", left=left)

    async def _leave_to_others(self, drawer: Drawer) -> None:
        try:
            await drawer.empty()
        except DatabaseUnavailable:
            _log.warn("events that are sent cannot be removed from the database; they will be sent again")
        if self._outbox.kept or drawer.behind:
            _log.info("events are left in the database, to be sent by another process")

    def _ended(self, failure: Failure) -> None:
        if not failure.check(CancelledError):
            _log.failure("events are not sent any more", failure)

    def _letter(self, event: Event) -> Letter:
        text = compose(event.event_type, event.priority, event.payload, self._settings.publisher_id)
        return Letter(self._stamps.next(), event.priority.lower(), text)

    def _put(self, *letters: Letter) -> None:
        reach("event.committed")
        for letter in letters:
            if letter.kept and self._drawer is not None:
                if not self._drawer.behind:
                    self._take(self._drawer, letter)
            else:
                self._outbox.put(letter)
        self._report_dropped()
        self._wake()

    def _take(self, drawer: Drawer, letter: Letter) -> None:
        """Take a letter at hand that is kept, if there is room."""
        if drawer.admit(letter) and not self._outbox.put(letter):
            drawer.leave(letter)

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
            await self._send_all(session)
            if self._drawer is not None and self._drawer.behind and not self._outbox.kept:
                for letter in await self._drawer.oldest(4 * WINDOW):
                    self._take(self._drawer, letter)
                continue
            if self.is_idle:
                for idle in [each for each in self._waiting if not each.called]:
                    idle.callback(None)
            self._news = Deferred()
            await self._news
        raise ConnectionError("The connection has ended")

    async def _send_all(self, session: Session) -> None:
        """All that is at hand, as far as the window lets them."""
        while self._outbox and len(self._under_way) < WINDOW:
            letter = self._outbox.take()
            self._under_way[letter.key] = letter
            for queue in self._queues(letter):
                await session.declare(queue)
            self._send(session, letter)

    def _queues(self, letter: Letter) -> list[str]:
        return [f"{topic}.{letter.priority}" for topic in self._settings.topics]

    def _send(self, session: Session, letter: Letter) -> None:
        def confirmed(_: object) -> None:
            if self._under_way.pop(letter.key, None) is not None and letter.kept and self._drawer is not None:
                self._drawer.done(letter)
            if self._failures:
                _log.info("events are delivered again")
            self._failures = 0
            self._wake()

        def refused(failure: Failure) -> None:
            session.abort()  # what is under way is put back, in its order

        bodies = [wrapped(letter.text, envelope=envelope) for envelope in self._envelopes]
        sent = [session.publish(queue, body) for queue in self._queues(letter) for body in bodies]
        gatherResults(sent, consumeErrors=True).addCallbacks(confirmed, refused)

    def _failed(self, where: str, error: Exception) -> None:
        if self._failures == 0:
            _log.warn("events are kept: the broker {where} cannot be used: {error!r}", where=where, error=error)
        self._failures += 1
        for letter in self._outbox.note_attempt():
            if letter.kept and self._drawer is not None:
                self._drawer.done(letter)
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
