"""Files on their way to clients: by sendfile on plain TCP, else in pieces. The disk is never waited for in the reactor.

Nothing of a file is kept while a client on plain TCP is slow; else a piece, which is small if the client was slow
before.
"""

from __future__ import annotations

import errno
import os
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IPullProducer, IPushProducer
from twisted.python.failure import Failure
from twisted.web.http import Request
from zope.interface import implementer

from glancetx.domain.errors import ClientVanished, StoreError, StoreUnavailable
from glancetx.runtime.sockets import UNSENT, PromptSocket, is_waiting
from glancetx.runtime.threads import Threads
from glancetx.web.turns import Turns

TURN: Final = 1024 * 1024
"""Bytes for one client before it is another one's turn."""
LONG_TURN: Final = 8 * 1024 * 1024
"""As much for one that takes all it gets: fewer turns, each of which wakes it up, and fills an empty socket again."""
PIECE: Final = 256 * 1024
SMALL_PIECE: Final = 16 * 1024
SLOW: Final = 1.0
"""Seconds that a piece may take before the next one is small, and a turn before little is kept in the kernel."""
STEP: Final = 128 * 1024
"""The kernel reads files ahead by as much, so one page tells about all of it."""


class Mapped:
    """Which bytes of a file can be had without waiting for the disk, and how to bring others into memory."""

    __slots__ = ("_byte", "_descriptor", "_known", "_threads")

    def __init__(self, descriptor: int, threads: Threads) -> None:
        self._descriptor, self._threads = descriptor, threads
        self._byte = [bytearray(1)]
        self._known = (0, 0)  # from, to: bytes that were in memory when we last looked

    def ready(self, offset: int, size: int) -> int:
        """How many of *size* bytes from *offset* on are in memory. A file system that cannot tell has none."""
        start, end = self._known
        if start <= offset < end:
            return min(size, end - offset)
        found = 0
        while found < size and self._has(offset + found):
            found = min(size, found + STEP)
        self._known = (offset, offset + found)
        return found

    def doubt(self, offset: int) -> None:
        """What lies from *offset* on is asked for much later, and may have left memory by then."""
        start, end = self._known
        self._known = (start, min(end, offset))

    def _has(self, offset: int) -> bool:
        try:
            os.preadv(self._descriptor, self._byte, offset, os.RWF_NOWAIT)
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
                return False
            raise
        return True

    async def fetch(self, offset: int, size: int) -> None:
        """Read the bytes into memory, in a thread; cancelling waits for it. :raises OSError: if that fails."""
        await self._threads.run(_read_through, self._descriptor, offset, size)
        self._known = (offset, offset + size)


def _read_through(descriptor: int, offset: int, size: int) -> None:
    os.posix_fadvise(descriptor, offset, 4 * size, os.POSIX_FADV_WILLNEED)
    end = offset + size
    while offset < end and (got := len(os.pread(descriptor, min(PIECE, end - offset), offset))):
        offset += got


def _unreadable(error: BaseException | None) -> StoreUnavailable:
    reason = os.strerror(error.errno or 0) if isinstance(error, OSError) else "no thread"
    return StoreUnavailable(f"The stored data cannot be read: {reason}")


class Delivery:
    """One file on its way to one client; `run` it once. How bytes get on their way is told by the subclasses."""

    def __init__(self, request: Request, source: Any, pages: Mapped) -> None:
        self._request, self._source, self._pages = request, source, pages
        self._transport: Any = request.channel.transport
        self._at: int = source.offset
        self._end: int = source.offset + source.length
        self._done: Deferred[None] = Deferred(lambda _: None)
        self._fetching: Deferred[None] | None = None

    async def run(self) -> None:
        """Returns when all bytes are handed to the connection; the source is stopped then, or when anything fails."""
        gone = self._request.notifyFinish()
        gone.addErrback(self._gone)
        try:
            self._begin()
            await self._done
        finally:
            self._leave()
            if self._fetching is not None:  # a thread is reading the file, which may be closed only afterwards
                await self._fetching
            self._source.stopProducing()

    def _begin(self) -> None:
        raise NotImplementedError

    def _leave(self) -> None:
        raise NotImplementedError

    def _go_on(self) -> None:
        """Called when bytes that were not in memory are there."""
        raise NotImplementedError

    def _fetch(self, size: int) -> None:
        self._fetching = Deferred.fromCoroutine(self._pages.fetch(self._at, size))
        self._fetching.addCallbacks(self._fetched, self._not_fetched)

    def _fetched(self, _: None) -> None:
        self._fetching = None
        if not self._done.called:
            self._go_on()

    def _not_fetched(self, failure: Failure) -> None:
        self._fetching = None
        self._finish(_unreadable(failure.value))

    def _gone(self, _: Failure) -> None:
        self._finish(ClientVanished("The client closed the connection."))

    def _finish(self, error: Exception | None = None) -> None:
        if self._done.called:
            return
        if error is None:
            self._done.callback(None)
        else:
            self._done.errback(error)

    def _too_short(self) -> None:
        self._finish(StoreError(f"The stored data ends {self._end - self._at} bytes too early"))


@implementer(IPullProducer)
class Sendfile(Delivery):
    """Moves the file inside the kernel, on the connection's own descriptor.

    As a pull producer of the transport it is called when the transport's buffer is empty and the socket writable. It
    says each time whether it wants to be called again: Twisted's transports forget, and ours do not.
    """

    def __init__(self, request: Request, source: Any, pages: Mapped, turns: Turns, clock: Any) -> None:
        super().__init__(request, source, pages)
        self._turns, self._clock = turns, clock
        self._size = TURN
        self._waiting = False  # for a long turn
        self._since = clock.seconds()
        self._look_at = self._at + TURN  # the next time whether it is slow

    def _begin(self) -> None:
        self._request.write(b"")  # the headers
        self._transport.unregisterProducer()  # our channel, meanwhile
        if is_waiting(self._transport):
            self._transport.doWrite()  # at once, so that the file need not wait; what fails now fails again
        self._transport.registerProducer(self, False)

    def _leave(self) -> None:
        if self._waiting:
            self._turns.forget(self._long_turn)
        transport, channel = self._transport, self._request.channel
        if transport.producer is self:
            transport.unregisterProducer()
            if channel is not None and transport.connected:
                transport.registerProducer(channel, True)
                channel.resumeProducing()

    def resumeProducing(self) -> None:
        if self._done.called or self._fetching is not None or self._waiting:
            self._transport.stopWriting()
            return
        if is_waiting(self._transport):  # the headers
            self._transport.startWriting()
        elif self._next() > TURN and not self._turns.ask(self._long_turn):
            self._waiting = True
            self._transport.stopWriting()
        else:
            self._send()

    def stopProducing(self) -> None:
        """The connection is lost; the request will hear of it."""

    def _go_on(self) -> None:
        self._transport.startWriting()

    def _long_turn(self) -> None:
        self._waiting = False
        if not self._done.called:
            self._send()

    def _next(self) -> int:
        """Bytes of this turn, if they are in memory."""
        return min(self._size, self._end - self._at)

    def _send(self) -> None:
        try:
            self._turn(self._next())
        except (BlockingIOError, InterruptedError):
            self._size = TURN
            self._pages.doubt(self._at + TURN)
            self._transport.startWriting()
        except OSError as error:
            self._fail(error)

    def _turn(self, size: int) -> None:
        ready = self._pages.ready(self._at, size)
        if not ready:
            self._transport.stopWriting()
            self._fetch(min(TURN, size))
            return
        sent = os.sendfile(self._transport.fileno(), self._source.descriptor, self._at, ready)
        if not sent:
            self._too_short()
            return
        if size > TURN:
            self._turns.taken(sent)
        self._at += sent
        self._size = max(TURN, min(LONG_TURN, 2 * sent))
        if sent < ready:
            self._pages.doubt(self._at + TURN)
        self._request.sentLength += sent
        if self._at == self._end:
            self._finish()
            return
        if self._at >= self._look_at and isinstance(self._transport, PromptSocket):
            self._look(self._transport)
        self._transport.startWriting()

    def _look(self, transport: PromptSocket) -> None:
        """Who takes a turn's bytes soon has as many in the kernel as the system allows, and fewer calls then."""
        now = self._clock.seconds()
        transport.limit_unsent(UNSENT if now - self._since > SLOW else 0)
        self._since, self._look_at = now, self._at + TURN

    def _finish(self, error: Exception | None = None) -> None:
        if self._transport.connected:
            self._transport.stopWriting()
        super()._finish(error)

    def _fail(self, error: OSError) -> None:
        if error.errno in (errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN):
            self._transport.abortConnection()  # the request will hear of it
        else:
            self._finish(_unreadable(error))


@implementer(IPushProducer)
class Buffered(Delivery):
    """Reads pieces of the file and writes them, for connections that change the bytes, such as TLS."""

    def __init__(self, request: Request, source: Any, pages: Mapped, clock: Any) -> None:
        super().__init__(request, source, pages)
        self._clock = clock
        self._paused_at: float | None = None
        self._next_turn: IDelayedCall | None = None
        self._piece = PIECE

    def _begin(self) -> None:
        self._request.registerProducer(self, True)
        self._go_on()

    def _leave(self) -> None:
        if self._next_turn is not None:
            self._next_turn.cancel()
        if self._request.producer is self and self._request.channel is not None:
            self._request.unregisterProducer()

    def pauseProducing(self) -> None:
        if self._paused_at is None:
            self._paused_at = self._clock.seconds()

    def resumeProducing(self) -> None:
        if self._paused_at is None:
            return
        slow = self._clock.seconds() - self._paused_at > SLOW
        self._piece = SMALL_PIECE if slow else min(PIECE, 2 * self._piece)
        self._paused_at = None
        if self._fetching is None and self._next_turn is None and not self._done.called:
            self._go_on()

    def stopProducing(self) -> None:
        """The connection is lost; the request will hear of it."""

    def _go_on(self) -> None:
        until = self._at + TURN  # a client that takes all it gets would keep the reactor from all others
        try:
            while self._wants_more() and self._at < until and self._step():
                pass
        except OSError as error:
            self._finish(_unreadable(error))
        if self._at == self._end:
            self._finish()
        elif self._at >= until and self._wants_more():
            self._next_turn = self._clock.callLater(0, self._take_turn)

    def _wants_more(self) -> bool:
        return self._paused_at is None and not self._done.called and self._at < self._end

    def _take_turn(self) -> None:
        self._next_turn = None
        self._go_on()

    def _step(self) -> bool:
        size = min(self._piece, self._end - self._at)
        ready = self._pages.ready(self._at, size)
        if not ready:
            self._fetch(min(TURN, self._end - self._at))
            return False
        data = os.pread(self._source.descriptor, ready, self._at)
        if not data:
            self._too_short()
            return False
        self._at += len(data)
        self._request.write(data)
        return True
