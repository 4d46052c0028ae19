"""Accepting connections from a bound socket, and knowing which are open."""

from __future__ import annotations

import errno
import socket
from typing import Any

from twisted.internet.abstract import FileDescriptor
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IAddress, IDelayedCall, IProtocolFactory, IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from glancetx.listen.certificates import Certificates
from glancetx.listen.transports import PlainServer, TlsServer, UnixServer
from glancetx.listen.turns import Turns
from glancetx.runtime.sockets import UNSENT, limit_unsent

PAUSE = 0.005  # seconds until it is looked again whether a client is ours, who was left to others
PATIENCE = 0.02  # seconds after which he is ours even so
HASTE = 1.0  # seconds in which nobody is left to others after they did not take one
BREATH = 0.5  # seconds without accepting after the system had no descriptor or memory for us
POLL = 0.1


def is_busy(protocol: Any) -> bool:
    """Whether a request is being received or answered: a twisted.web channel lists those in ``requests``."""
    return bool(getattr(protocol, "requests", ()))


class Connections:
    """The open connections of a process, so that it can end when they have ended.

    *turns*, where other processes accept from the same sockets, is told how many there are.
    """

    def __init__(self, clock: IReactorTime, turns: Turns | None = None) -> None:
        self._clock = clock
        self._turns = turns
        self._open: set[Any] = set()
        self._emptied: Deferred[None] | None = None
        self._polling = LoopingCall(self._close_idle)
        self._polling.clock = clock
        self._deadline: IDelayedCall | None = None

    def __len__(self) -> int:
        return len(self._open)

    def begin(self) -> None:
        """There may be connections from now on."""
        self._tell()

    def leave(self) -> None:
        """No more connections are accepted."""
        if self._turns is not None:
            self._turns.leave()
            self._turns = None

    def is_our_turn(self) -> bool:
        """Whether no other process should have the next client."""
        return self._turns is None or self._turns.is_ours()

    def _tell(self) -> None:
        if self._turns is not None:
            self._turns.tell(len(self._open))

    def add(self, transport: Any) -> None:
        self._open.add(transport)
        self._tell()

    def remove(self, transport: Any) -> None:
        self._open.discard(transport)
        self._tell()
        if self._emptied is not None and not self._open:
            self._finish(self._emptied)

    def drain(self, timeout: float) -> Deferred[None]:
        """Close idle connections now, busy ones after their request, the rest after *timeout*; fires at the last."""
        if not self._open:
            return succeed(None)
        emptied = self._emptied = Deferred()
        self._deadline = self._clock.callLater(timeout, self.abort)
        self._polling.start(POLL)
        return emptied

    def abort(self) -> None:
        """Close everything at once."""
        for transport in list(self._open):
            transport.abortConnection()

    def _close_idle(self) -> None:
        for transport in list(self._open):
            protocol = getattr(transport, "protocol", None)
            if is_busy(protocol):
                _forget_keep_alive(protocol)
            else:
                transport.loseConnection()

    def _finish(self, emptied: Deferred[None]) -> None:
        self._emptied = None
        if self._polling.running:
            self._polling.stop()
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()
        emptied.callback(None)


def _forget_keep_alive(protocol: Any) -> None:
    """Make a twisted.web channel close after the answer; Site wraps its channel once to allow for HTTP/2."""
    channel = getattr(protocol, "_channel", protocol)
    if hasattr(channel, "persistent"):
        channel.persistent = False


class Acceptor(FileDescriptor):
    """Accepts from a listening socket, which it owns, one connection at each turn of the reactor.

    One at a turn, because worker processes share the socket: a greedy one would take a burst of clients for itself.
    And whom another process should have, because it has fewer, is left to it for a moment.
    """

    _realPortNumber: int | None = None  # twisted.internet.tcp.Server asks its port for this

    def __init__(
        self,
        reactor: Any,
        listening: socket.socket,
        factory: IProtocolFactory,
        connections: Connections,
        certificates: Certificates | None = None,
    ) -> None:
        super().__init__(reactor)
        self._clock: IReactorTime = reactor
        self._log = Logger()
        self._listening = listening
        self._factory = factory
        self._connections = connections
        self._transport: Any = UnixServer if listening.family == socket.AF_UNIX else PlainServer
        self._certificates = certificates
        self._accepted = 0
        self._breath: IDelayedCall | None = None
        self._haste = 0.0  # until then
        listening.setblocking(False)

    def start(self) -> None:
        self._factory.doStart()
        self._connections.begin()
        self.connected = True
        limit_unsent(self._listening, UNSENT)
        self.startReading()

    def stop(self) -> None:
        """Accept no more and close the socket; others who hold a duplicate go on."""
        if not self.connected:
            return
        self.connected = False
        if self._breath is not None and self._breath.active():
            self._breath.cancel()
        self.stopReading()
        self._connections.leave()
        self._listening.close()
        self._factory.doStop()

    def fileno(self) -> int:
        return self._listening.fileno()

    def logPrefix(self) -> str:
        return "Acceptor"

    def connectionLost(self, reason: Any) -> None:
        self.stop()

    def doRead(self) -> None:
        now = self._clock.seconds()
        if now < self._haste or self._connections.is_our_turn():
            self._accept()
        else:
            self.stopReading()
            self._breath = self._clock.callLater(PAUSE, self._look_again, now + PATIENCE)

    def _look_again(self, until: float) -> None:
        """Somebody was left to others, *until* then at most: one that is frozen, or very busy, does not take him."""
        ours, now = self._connections.is_our_turn(), self._clock.seconds()
        if not ours and now < until:
            self._breath = self._clock.callLater(PAUSE, self._look_again, until)
            return
        self.startReading()
        if self._accept() and not ours:
            self._haste = now + HASTE

    def _accept(self) -> bool:
        """Take one client; tells whether there was one."""
        try:
            accepted, peer = self._listening.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return False  # another worker was faster, or the client has left
        except OSError as error:
            if error.errno == errno.EINVAL:  # whoever shares the socket has shut it down
                self.stop()
            else:
                self._take_breath(error)
            return False
        protocol = self._factory.buildProtocol(_address(accepted, peer))
        if protocol is None:
            accepted.close()
            return True
        self._accepted += 1
        transport = self._make(accepted, protocol, peer)
        transport.connections = self._connections
        self._connections.add(transport)
        protocol.makeConnection(transport)
        return True

    def _make(self, accepted: socket.socket, protocol: Any, peer: Any) -> Any:
        arguments = (accepted, protocol, peer, self, self._accepted, self.reactor)
        if self._certificates is not None:
            return TlsServer(self._certificates.context, *arguments)
        return self._transport(*arguments)

    def _take_breath(self, error: OSError) -> None:
        """Not to accept is all that helps when descriptors or memory run out; trying at once would only spin."""
        name = errno.errorcode.get(error.errno or 0, "error")
        self._log.error("cannot accept: {error}; trying again in {breath} s", error=name, breath=BREATH)
        self.stopReading()
        self._breath = self._clock.callLater(BREATH, self.startReading)


def _address(accepted: socket.socket, peer: Any) -> IAddress:
    if accepted.family == socket.AF_UNIX:
        return UNIXAddress(peer or None)
    if accepted.family == socket.AF_INET6:
        return IPv6Address("TCP", *peer)
    return IPv4Address("TCP", *peer)
