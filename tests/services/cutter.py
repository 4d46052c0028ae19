"""A proxy in front of a database that cuts the line when a client commits."""

from __future__ import annotations

from typing import Any

from twisted.protocols import portforward

COMMITS = (b"COMMIT", b"COMMIT\0")  # in MySQL's words, and PostgreSQL's


class _ClientSide(portforward.ProxyServer):
    factory: Any
    peer: Any
    transport: Any

    def dataReceived(self, data: bytes) -> None:
        if data.endswith(COMMITS) and self.factory.cuts:
            if self.factory.cuts.pop(0) == "before":
                self.transport.abortConnection()
                return
            self.peer.cutting = True
        super().dataReceived(data)


class _DatabaseSide(portforward.ProxyClient):
    peer: Any
    cutting = False

    def dataReceived(self, data: bytes) -> None:
        if self.cutting:  # the database has answered: it is done, and nobody learns of it
            self.peer.transport.abortConnection()
        else:
            super().dataReceived(data)


class _DatabaseSides(portforward.ProxyClientFactory):
    protocol = _DatabaseSide


_ClientSide.clientProtocolFactory = _DatabaseSides


class Cutter(portforward.ProxyFactory):
    """For each of *cuts* one commit's line is cut, ``before`` the database hears of it or ``after`` it has done it."""

    protocol = _ClientSide
    noisy = False

    def __init__(self, port: int) -> None:
        super().__init__("127.0.0.1", port)
        self.cuts: list[str] = []
