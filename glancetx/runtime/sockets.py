"""Connections by TCP that send at once what they are given."""

from __future__ import annotations

from collections.abc import Iterable

from twisted.internet import tcp


def is_waiting(transport: tcp.Connection) -> bool:
    """Whether something that was written has not been sent."""
    return bool(transport.dataBuffer or transport._tempDataBuffer)


class PromptSocket(tcp.Connection):
    """What the kernel has room for is sent at once.

    Twisted's own copies it and waits for the reactor's next turn: for a portion of a large body that is two turns, two
    calls and two changes of epoll, where this needs one call.
    """

    SEND_LIMIT = 256 * 1024
    _open = True  # bytes may go out

    def write(self, data: bytes) -> None:
        refused = self.disconnecting or self._writeDisconnected
        if data and self._open and self.connected and not (refused or is_waiting(self)):
            sent = self.writeSomeData(data)
            if isinstance(sent, int):  # an error is found again by `doWrite`, which can tell of it
                data = data[sent:]
        super().write(data)

    def writeSequence(self, iovec: Iterable[bytes]) -> None:
        """As `write`; so does who sends a body in chunks."""
        if is_waiting(self):
            super().writeSequence(iovec)
        else:
            self.write(b"".join(iovec))
