"""TLS that OpenSSL speaks on the socket of a connection itself.

Twisted's TLS layer copies every byte through two memory BIOs, in pieces of 32 KiB, and keeps their buffers: 1.3 to 1.7
of the CPU time that `TlsSocket` takes, which needs no memory when idle.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Final

from OpenSSL import SSL
from twisted.internet.interfaces import IHandshakeListener, INegotiated, ISSLTransport
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from glancetx.runtime.sockets import LARGE_READ, Ending, PromptSocket

RECORD: Final = 16384
"""What one TLS record holds at most."""


def write_whole_pieces(context: SSL.Context) -> None:
    """Let one call encrypt and send all it is given, instead of 16 KiB; pyOpenSSL sets the opposite."""
    if hasattr(context, "clear_mode"):
        context.clear_mode(SSL._lib.SSL_MODE_ENABLE_PARTIAL_WRITE)  # type: ignore[attr-defined]


@implementer(ISSLTransport, INegotiated)
class TlsSocket(PromptSocket):
    """A connection by TCP. Who derives from it sets *_tls* before the protocol hears of the connection.

    What is buffered here is always plain text; OpenSSL holds at most one record. It asks that a write which could not
    be finished be repeated with at least the same bytes: the buffer of `FileDescriptor` never shortens from its front
    before they are written, so every repetition is one.
    """

    _log = Logger()
    _tls: SSL.Connection
    _open = False  # the handshake is done
    _read_waits_for_write = _write_waits_for_read = False

    def doRead(self) -> Ending:
        if not self._open and ((ending := self._shake_hands()) or not self._open):
            return ending
        if self._write_waits_for_read:
            self._write_waits_for_read = False
            self.startWriting()
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
            return self._not_agreed(error)
        self._open = True
        if IHandshakeListener.providedBy(self.protocol):
            self.protocol.handshakeCompleted()
        if self.dataBuffer or self._tempDataBuffer or self.disconnecting:
            self.startWriting()
        return None

    def _not_agreed(self, error: SSL.Error) -> Ending:
        """The handshake has failed: why the connection is over."""
        raise NotImplementedError

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
        except SSL.WantReadError:  # the peer wants to negotiate again
            self._write_waits_for_read = True
            self.stopWriting()
            return 0
        except SSL.Error:
            return CONNECTION_LOST

    def loseConnection(self, *args: Any) -> None:
        """Close when all is sent. A peer still in its handshake has been sent nothing and is not waited for."""
        if not self._open:
            self.abortConnection()
        else:
            super().loseConnection(*args)

    def _postLoseConnection(self) -> Ending:
        with suppress(SSL.Error):  # the peer is gone, or its window is full of what it does not read
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
