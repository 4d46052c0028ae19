"""Connections by TCP that send at once what they are given."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Final

from twisted.internet import tcp
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST

SMALL_READ: Final = 64 * 1024
LARGE_READ: Final = 512 * 1024
UNSENT: Final = 256 * 1024
"""Bytes that wait in the kernel for a slow client, beside those on their way.

It asks for more when half of them are gone. Without a limit the first of thousands have megabytes each, until all that
TCP may have is gone; the others have little then, and ask ten times as often.
"""

Ending = Any  # Twisted's doRead and doWrite answer None, or the reason why the connection is over


def is_waiting(transport: tcp.Connection) -> bool:
    """Whether something that was written has not been sent."""
    return bool(transport.dataBuffer or transport._tempDataBuffer)


def limit_unsent(connection: socket.socket, size: int) -> None:
    """From now on, let no more than *size* bytes wait to be sent; 0: as many as the system allows.

    What is accepted from a listening socket begins as that is.
    """
    with suppress(OSError):  # no TCP
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, size)


class PromptSocket(tcp.Connection):
    """What the kernel has room for is sent at once.

    Twisted's own copies it and waits for the reactor's next turn: for a portion of a large body that is two turns, two
    calls and two changes of epoll, where this needs one call. A peer that fills the read buffer gets a larger one, so
    small messages do not pay for large bodies.
    """

    SEND_LIMIT = 256 * 1024
    unsent = 0
    _open = True  # bytes may go out
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

    def write(self, data: bytes) -> None:
        refused = self.disconnecting or self._writeDisconnected
        if data and self._open and self.connected and not (refused or is_waiting(self)):
            sent = self.writeSomeData(data)
            if isinstance(sent, int):  # an error is found again by `doWrite`, which can tell of it
                data = data[sent:]
        super().write(data)

    def limit_unsent(self, size: int) -> None:
        """As the function, for this connection; *unsent* is the limit it has."""
        if size != self.unsent:
            self.unsent = size
            limit_unsent(self.socket, size)

    def writeSequence(self, iovec: Iterable[bytes]) -> None:
        """As `write`; so does who sends a body in chunks."""
        if is_waiting(self):
            super().writeSequence(iovec)
        else:
            self.write(b"".join(iovec))
