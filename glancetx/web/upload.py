"""The body of a request, as it comes from the connection: a producer whose pause reaches the socket."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IConsumer
from twisted.web.iweb import UNKNOWN_LENGTH, IBodyProducer
from zope.interface import implementer

PORTION: Final = 512 * 1024
"""How many bytes are handed over at once, when so many are there: of 256 KiB an upload costs a tenth more."""


class Wire(Protocol):
    """What a body asks of its connection."""

    def body_wanted(self) -> None:
        """A consumer takes bytes from now on: read, and tell a waiting client to send."""

    def body_unwanted(self) -> None:
        """The consumer paused; until `body_wanted`, a client that does not send is not to blame."""

    def body_held(self) -> None:
        """Bytes came which nobody wants now: stop reading."""

    def soon(self, call: Callable[[], None]) -> None:
        """Do *call* when what is readable now has been read."""


@implementer(IBodyProducer)
class Body:
    """The bytes of one request body, as they arrive.

    *length* is announced by the client, or UNKNOWN_LENGTH, or 0 without a body. At most one read of the connection
    is held while the consumer is paused. The Deferred of `startProducing` fails with what `fail` is given.
    *received* counts the bytes that came; *complete* tells whether all did; *failed* that the rest never will.
    *trailers* are the fields that came behind a body in chunks.
    """

    __slots__ = (
        "_announced",
        "_consumer",
        "_delivering",
        "_done",
        "_failure",
        "_held",
        "_held_size",
        "_paused",
        "_scheduled",
        "_state",
        "_wire",
        "complete",
        "length",
        "received",
        "trailers",
    )

    def __init__(self, length: int | None, wire: Wire) -> None:
        self._announced = length
        self.length: Any = UNKNOWN_LENGTH if length is None else length
        self.complete = length == 0
        self.received = 0
        self.trailers: list[tuple[bytes, bytes]] = []
        self._wire = wire
        self._consumer: IConsumer | None = None
        self._done: Deferred[None] | None = None
        self._failure: Exception | None = None
        self._held: list[bytes] = []
        self._held_size = 0
        self._paused = self._delivering = self._scheduled = False
        self._state = "new"  # then started, stopped; at last ended, failed or discarded

    @property
    def failed(self) -> bool:
        return self._failure is not None

    @property
    def wanted(self) -> bool:
        """Whether a consumer waits for bytes of the client."""
        return self._state == "started" and not self._paused and not self.complete

    @property
    def missing(self) -> int | None:
        """How many announced bytes have not come yet; None if nobody knows."""
        return None if self._announced is None else self._announced - self.received

    # What the consuming side calls.

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        if self._state != "new":
            raise RuntimeError("A request body can be read only once")
        if self._failure is not None:
            return fail(self._failure)
        if self.complete and not self._held:
            self._state = "ended"
            return succeed(None)
        self._state, self._consumer = "started", consumer
        done = self._done = Deferred(self._cancelled)
        if not self.complete:
            self._wire.body_wanted()
        self._deliver()
        return done

    def pauseProducing(self) -> None:
        if self._state == "started" and not self._paused:
            self._paused = True
            self._wire.body_unwanted()

    def resumeProducing(self) -> None:
        if self._state != "started" or not self._paused:
            return
        self._paused = False
        self._deliver()
        if self.wanted:
            self._wire.body_wanted()

    def stopProducing(self) -> None:
        """Nobody wants the rest. What happens to it is decided when the request is answered."""
        if self._state in ("new", "started"):
            self._let_go("stopped")
            self._wire.body_unwanted()

    def _cancelled(self, _: Deferred[None]) -> None:
        self.stopProducing()

    # What the connection calls.

    def receive(self, data: bytes) -> None:
        """The next bytes have come."""
        self.received += len(data)
        if self._state not in ("new", "started"):
            if self._state == "stopped":
                self._wire.body_held()
            return
        self._held.append(data)
        self._held_size += len(data)
        if self._state == "new" or self._paused:
            self._wire.body_held()
        elif self._held_size >= PORTION:
            self._deliver()
        elif not self._scheduled:
            self._schedule()

    def trail(self, line: bytes) -> None:
        """A field came behind the body; what is none is passed over."""
        name, colon, value = line.partition(b":")
        if colon:
            self.trailers.append((name.lower(), value.strip(b" \t")))

    def end(self) -> None:
        """All bytes have come."""
        self.complete = True
        self._deliver()

    def fail(self, reason: Exception) -> None:
        """The rest will not come; nothing happens if there is none."""
        if self._failure is not None or (self.complete and self._state != "started"):
            return
        self._failure = reason
        done = self._done
        if self._state in ("new", "started"):
            self._let_go(self._state if self._state == "new" else "failed")
            if done is not None:
                done.errback(reason)

    def discard(self) -> None:
        """The request is answered: drop what is here and what may still come."""
        self._let_go("discarded")

    # Delivery.

    def _schedule(self) -> None:
        self._scheduled = True
        self._wire.soon(self._turn)

    def _turn(self) -> None:
        self._scheduled = False
        self._deliver()

    def _deliver(self) -> None:
        """Hand over what is held, unless paused; the consumer may call any method of ours meanwhile."""
        if self._delivering:
            return
        self._delivering = True
        try:
            while self._consumer is not None and self._held and not self._paused:
                data = b"".join(self._held)
                self._held.clear()
                self._held_size = 0
                self._consumer.write(data)
        except Exception as error:
            self.fail(error)
        finally:
            self._delivering = False
        if self._state == "started" and self.complete and not self._held:
            done = self._done
            self._let_go("ended")
            if done is not None:
                done.callback(None)

    def _let_go(self, state: str) -> None:
        self._state, self._consumer, self._done = state, None, None
        self._held.clear()
        self._held_size = 0
