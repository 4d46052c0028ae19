"""One serving process from its start to its gentle end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from socket import socket
from typing import Any, Protocol

from attrs import frozen
from twisted.application.service import Service
from twisted.internet.defer import Deferred, ensureDeferred, maybeDeferred
from twisted.internet.interfaces import IProtocolFactory
from twisted.logger import Logger
from twisted.python.failure import Failure

from glancetx.listen.acceptor import Acceptor, Connections
from glancetx.listen.certificates import Certificates
from glancetx.listen.turns import Turns
from glancetx.runtime.signals import Impatience


@frozen
class Listener:
    """A bound socket and the certificates to speak TLS with, if any."""

    socket: socket
    certificates: Certificates | None = None


class Application(Protocol):
    """What is served. *started* fires when requests can be answered, and fails if they never can."""

    started: Deferred[None]

    def startService(self) -> None: ...

    def drain(self) -> None:
        """Say that no new requests are wanted."""

    def stopService(self) -> Deferred[Any] | None: ...


class Serving(Service):
    """Starts *application*, then accepts connections for *factory*; when stopped it drains, then stops *application*.

    *listeners* is called once, with the privileges twistd begins with. *ready* is called when connections are
    accepted, *failed* when that will never be. Draining takes *drain_timeout* seconds at most, which may be changed; a
    second SIGTERM or SIGINT ends it at once. *turns* are those of the processes that accept from the same sockets.
    """

    def __init__(
        self,
        reactor: Any,
        application: Application,
        factory: IProtocolFactory,
        listeners: Callable[[], Sequence[Listener]],
        *,
        drain_timeout: float,
        ready: Callable[[], None],
        failed: Callable[[Failure], None],
        turns: Turns | None = None,
    ) -> None:
        self._log = Logger()
        self._reactor = reactor
        self._application = application
        self._factory = factory
        self._listeners = listeners
        self.drain_timeout = drain_timeout
        self._ready = ready
        self._failed = failed
        self.connections = Connections(reactor, turns)
        self._impatience = Impatience(reactor, self.connections.abort)
        self._acceptors: list[Acceptor] = []

    def privilegedStartService(self) -> None:
        """Take the sockets, while root's ports and files are ours to open."""
        for listener in self._listeners():
            self._acceptors.append(
                Acceptor(self._reactor, listener.socket, self._factory, self.connections, listener.certificates)
            )

    def startService(self) -> None:
        super().startService()
        self._application.startService()
        self._application.started.addCallback(self._accept).addErrback(self._failed)

    def _accept(self, result: None) -> None:
        if not self.running:
            return
        for acceptor in self._acceptors:
            acceptor.start()
        self._ready()

    def stopService(self) -> Deferred[None]:
        """Fires when every transfer has ended or had its time, and the application has stopped."""
        super().stopService()
        return ensureDeferred(self._stop())

    async def _stop(self) -> None:
        with self._impatience:
            for acceptor in self._acceptors:
                acceptor.stop()
            self._application.drain()
            self._log.info("draining {count} connections", count=len(self.connections))
            await self.connections.drain(self.drain_timeout)
            await maybeDeferred(self._application.stopService)
