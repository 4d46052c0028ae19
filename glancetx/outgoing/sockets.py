"""Connections that we begin, of our own kinds, for Twisted's endpoints."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet import tcp
from zope.interface import directlyProvides, providedBy

from glancetx.runtime.sockets import PromptSocket


class SocketReactor:
    """*reactor*, but connections by TCP are what *make* makes, of what Twisted's own are made of."""

    def __init__(self, reactor: Any, make: Callable[..., tcp.Client]) -> None:
        self._reactor, self._make = reactor, make
        directlyProvides(self, providedBy(reactor))

    def connectTCP(self, host: str, port: int, factory: Any, timeout: float = 30, bindAddress: Any = None) -> Any:
        connector = _Connector(self._make, host, port, factory, timeout, bindAddress, self._reactor)
        connector.connect()
        return connector

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)


class _Connector(tcp.Connector):
    def __init__(self, make: Callable[..., tcp.Client], *rest: Any) -> None:
        super().__init__(*rest)
        self._make = make

    def _makeTransport(self) -> tcp.Client:
        return self._make(self.host, self.port, self.bindAddress, self, self.reactor)


class PlainClient(PromptSocket, tcp.Client):
    """The client's side of a connection without TLS; it never gets any."""

    def startTLS(self, *args: Any, **kwargs: Any) -> None:
        raise RuntimeError("this is without TLS")
