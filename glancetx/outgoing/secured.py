"""Connections by TLS that we begin, without Twisted's layer for it: `glancetx.runtime.tls_sockets` tells why."""

from __future__ import annotations

from functools import partial
from typing import Any

from OpenSSL import SSL
from twisted.internet import tcp
from twisted.internet.main import CONNECTION_LOST
from twisted.python.failure import Failure

from glancetx.outgoing.sockets import SocketReactor
from glancetx.outgoing.tls import Peer
from glancetx.runtime.sockets import Ending
from glancetx.runtime.tls_sockets import TlsSocket


class TlsReactor(SocketReactor):
    """*reactor*, but connections by TCP are by TLS, to *peer*; for Twisted's endpoints.

    Like those that `wrapClientTLS` makes, they count as connected before the handshake: its failure, and a certificate
    that is not good enough, are reasons why a connection is lost, and nothing was sent over it then.
    """

    def __init__(self, reactor: Any, peer: Peer) -> None:
        super().__init__(reactor, partial(TlsClient, peer))


class TlsClient(TlsSocket, tcp.Client):
    """The client's side of a connection."""

    _refused: BaseException | None = None

    def __init__(self, peer: Peer, *rest: Any) -> None:
        super().__init__(*rest)
        self._peer = peer

    def _connectDone(self) -> None:
        self._tls = self._peer.connection(self, self.socket)
        self._tls.set_connect_state()
        super()._connectDone()
        self.startWriting()  # we speak first

    def failVerification(self, reason: Failure) -> None:
        """The peer's certificate is not good enough; the handshake fails now."""
        self._refused = reason.value

    def _not_agreed(self, error: SSL.Error) -> Ending:
        return self._refused or (CONNECTION_LOST if isinstance(error, SSL.SysCallError) else error)
