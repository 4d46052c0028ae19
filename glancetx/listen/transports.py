"""The server's side of one connection: plain, Unix or TLS. They read and send in larger pieces than Twisted."""

from __future__ import annotations

from typing import Any

from OpenSSL import SSL
from twisted.internet import tcp, unix
from twisted.internet.main import CONNECTION_LOST
from twisted.python.failure import Failure

from glancetx.runtime.sockets import UNSENT, Ending, PromptSocket, is_waiting
from glancetx.runtime.tls_sockets import TlsSocket


class Counted:
    """Takes itself off the list of open connections when it is lost."""

    connections: Any  # glancetx.listen.acceptor.Connections

    def connectionLost(self, reason: Failure) -> None:
        super().connectionLost(reason)  # type: ignore[misc]
        self.connections.remove(self)


class PlainServer(Counted, PromptSocket, tcp.Server):
    """TCP. A pull producer is asked as long as the socket takes more, without Twisted's empty write and its two changes
    of the reactor's list each time; so one that has nothing to write now must call `stopWriting`.
    """

    SEND_LIMIT = 1024 * 1024
    unsent = UNSENT  # as the socket that it was accepted from

    def doWrite(self) -> Ending:
        producer: Any = self.producer
        if producer is None or self.streamingProducer or is_waiting(self):
            return super().doWrite()
        producer.resumeProducing()
        return None


class UnixServer(Counted, unix.Server):
    """A Unix socket; here nothing differs from Twisted's."""


class TlsServer(Counted, TlsSocket, tcp.Server):
    """TLS on TCP."""

    def __init__(self, context: SSL.Context, sock: Any, *rest: Any) -> None:
        super().__init__(sock, *rest)
        self._tls = SSL.Connection(context, sock)
        self._tls.set_accept_state()

    def _not_agreed(self, error: SSL.Error) -> Ending:
        self._log.debug("no TLS with {peer}: {error}", peer=self.hostname, error=error)
        return CONNECTION_LOST
