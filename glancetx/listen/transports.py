"""The server's side of one connection: plain, Unix or TLS. They read and send in larger pieces than Twisted.

`TlsServer` drives OpenSSL on the socket itself. Twisted's TLS layer copies every byte through two memory BIOs and keeps
their buffers: 1.3 to 1.7 of nginx's CPU time for a download, where this takes 0.8 to 0.9, and no memory when idle.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from OpenSSL import SSL
from twisted.internet import tcp, unix
from twisted.internet.interfaces import IHandshakeListener, INegotiated, ISSLTransport
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

SMALL_READ, LARGE_READ = 64 * 1024, 256 * 1024
RECORD = 16384  # what one TLS record holds at most

Ending = Any  # Twisted's doRead and doWrite answer None, or the reason why the connection is over


class Counted:
    """Takes itself off the list of open connections when it is lost."""

    connections: Any  # glancetx.listen.acceptor.Connections

    def connectionLost(self, reason: Failure) -> None:
        super().connectionLost(reason)  # type: ignore[misc]
        self.connections.remove(self)


class PlainServer(Counted, tcp.Server):
    """TCP. A client that fills the read buffer gets a larger one, so small requests do not pay for uploads."""

    SEND_LIMIT = 1024 * 1024
    _read_size = SMALL_READ

    def doRead(self) -> Ending:
        try:
            data = self.socket.recv(self._read_size)
        except (BlockingIOError, InterruptedError):
            return None
        except OSError:
            return CONNECTION_LOST
        self._read_size = LARGE_READ if len(data) >= SMALL_READ else SMALL_READ
        if not data:
            return CONNECTION_DONE
        self.protocol.dataReceived(data)
        return None


class UnixServer(Counted, unix.Server):
    """A Unix socket; here nothing differs from Twisted's."""


@implementer(ISSLTransport, INegotiated)
class TlsServer(Counted, tcp.Server):
    """TLS on TCP. What is buffered here is always plain text; OpenSSL holds at most one record.

    OpenSSL asks that a write which could not be finished be repeated with at least the same bytes: the buffer of
    `FileDescriptor` never shortens from its front before they are written, so every repetition is one.
    """

    SEND_LIMIT = 256 * 1024
    _log = Logger()
    _open = False  # the handshake is done
    _read_waits_for_write = False

    def __init__(self, context: SSL.Context, sock: Any, *rest: Any) -> None:
        super().__init__(sock, *rest)
        self._tls = SSL.Connection(context, sock)
        self._tls.set_accept_state()

    def doRead(self) -> Ending:
        if not self._open and ((ending := self._shake_hands()) or not self._open):
            return ending
        parts, ending = self._decrypted()
        if parts:
            self.protocol.dataReceived(parts[0] if len(parts) == 1 else b"".join(parts))
        return ending

    def doWrite(self) -> Ending:
        if not self._open:
            return self._shake_hands()
        if self._read_waits_for_write:
            self._read_waits_for_write = False
            if ending := self.doRead():
                return ending
        return super().doWrite()

    def _shake_hands(self) -> Ending:
        """Go on with the handshake. What was written before waits for its end in the buffer."""
        try:
            self._tls.do_handshake()
        except SSL.WantReadError:
            self.stopWriting()
            return None
        except SSL.WantWriteError:
            self.startWriting()
            return None
        except SSL.Error as error:
            self._log.debug("no TLS with {peer}: {error}", peer=self.hostname, error=error)
            return CONNECTION_LOST
        self._open = True
        if IHandshakeListener.providedBy(self.protocol):
            self.protocol.handshakeCompleted()
        if self.dataBuffer or self._tempDataBuffer or self.disconnecting:
            self.startWriting()
        return None

    def _decrypted(self) -> tuple[list[bytes], Ending]:
        """All that has arrived, up to a bound which keeps other connections served; and whether it was the last."""
        parts: list[bytes] = []
        try:
            for _ in range(LARGE_READ // RECORD):
                parts.append(self._tls.recv(RECORD))
        except SSL.WantReadError:
            pass
        except SSL.WantWriteError:
            self._read_waits_for_write = True
            self.startWriting()
        except SSL.ZeroReturnError:
            return parts, CONNECTION_DONE
        except SSL.Error:
            return parts, CONNECTION_LOST
        return parts, None

    def writeSomeData(self, data: Any) -> Any:
        if not data:
            return 0
        try:
            return self._tls.send(memoryview(data)[: self.SEND_LIMIT])
        except SSL.WantWriteError:
            return 0
        except SSL.Error:  # also WantReadError: nothing makes a write wait for the peer without renegotiation
            return CONNECTION_LOST

    def loseConnection(self, *args: Any) -> None:
        """Close when all is sent. A client still in its handshake has been sent nothing and is not waited for."""
        if not self._open:
            self.abortConnection()
        else:
            super().loseConnection(*args)

    def _postLoseConnection(self) -> Ending:
        with suppress(SSL.Error):  # the client is gone, or its window is full of what it does not read
            self._tls.shutdown()
        return CONNECTION_DONE

    def connectionLost(self, reason: Failure) -> None:
        super().connectionLost(reason)
        self.__dict__.pop("_tls", None)  # frees OpenSSL's memory now and not when the last reference goes

    def startTLS(self, *args: Any, **kwargs: Any) -> None:
        raise RuntimeError("this is TLS already")

    def getPeerCertificate(self) -> Any:
        return self._tls.get_peer_certificate()

    @property
    def negotiatedProtocol(self) -> bytes | None:
        return self._tls.get_alpn_proto_negotiated() or None
