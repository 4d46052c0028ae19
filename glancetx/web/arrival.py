"""How many bytes of a body have to be in the socket before they are read: a read costs as much for 1 KiB as for 32."""

from __future__ import annotations

import socket
from typing import Any, Final

from twisted.internet import tcp
from twisted.internet.interfaces import ISSLTransport

from glancetx.web.framing import Framing

WORTH: Final = 32 * 1024
"""Bytes that are worth a read. A slow client's come in many small pieces."""


def can_wait(transport: Any) -> bool:
    """Whether the kernel can be asked to tell of so many bytes only, as it can for what reaches us as it was sent."""
    return isinstance(transport, tcp.Connection) and not ISSLTransport.providedBy(transport)


def worth(framing: Framing | None) -> int:
    """How many bytes are worth a read: never more than will come."""
    return 1 if framing is None else max(1, min(WORTH, framing.sure))


def wait_for(transport: Any, size: int) -> None:
    """Hear of bytes when so many are there, and of the end at once; if they are there already, also at once."""
    transport.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, size)
