"""A proxy in front of an HTTP server that goes wrong as a test wants: one fault for each request, or none.

It runs in the test's own reactor, takes one request on each connection, and asks `Faults.choose` about it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from attrs import frozen
from OpenSSL import SSL
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint, wrapClientTLS
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from zope.interface import implementer

from glancetx.config.settings import ClientTlsSettings
from glancetx.outgoing.client import Patience
from glancetx.outgoing.tls import TlsPolicy
from glancetx.standalone.certificates import CertificateFiles


@frozen(kw_only=True)
class Fault:
    """What happens to one request.

    *status*: answered by the proxy itself, at once or, with *after*, when so many bytes of the body have come.
    *sent*: of the answer's body so many bytes come, and if it is negative not even its head; *received*: of the
    request's body so many are taken. What then happens is *end*: ``reset``, ``close`` or ``stall``. *lie* is added to
    the answer's Content-Length. *delay*: seconds
    before the answer. *headers* go with a *status*.
    """

    status: int | None = None
    after: int = 0
    sent: int | None = None
    received: int | None = None
    end: str = "reset"
    lie: int = 0
    delay: float = 0.0
    headers: str = ""


def patience_in(test: str) -> Patience:
    """How long a client should wait in the test of this name: not long, if the other side stops to listen in it."""
    stops = "stall" in test or re.search(r"after=[1-9]", test)
    return Patience(connect=60.0, answer=2.0, stall=2.0, silence=2.0) if stops else Patience(connect=60.0)


Choice = Callable[[str, str], Fault | None]
"""From method and target of a request to what happens to it."""


class Faults:
    """The proxy. *choose* may be replaced at any time; *requests* are those that came, as ``GET /x``."""

    def __init__(self, reactor: Any, target: str, files: CertificateFiles | None = None) -> None:
        """With *files*, both sides speak TLS, and ours shows that certificate."""
        self.reactor = reactor
        self._files = files
        self.hidden: tuple[str, ...] = ()  # headers of requests that do not arrive
        self.unknown = ""  # a header that has a request answered with *refusal*
        self.refusal = 501
        self.choose: Choice = lambda method, path: None
        self.requests: list[str] = []
        self.open: set[Any] = set()
        host, _, port = target.rpartition("//")[2].partition(":")
        self.target: Any = TCP4ClientEndpoint(reactor, host, int(port or 443))
        if files is not None:
            policy = TlsPolicy(ClientTlsSettings(insecure=True))
            self.target = wrapClientTLS(policy.creatorForNetloc(host.encode(), int(port or 443)), self.target)
        self._port: Any = None

    async def start(self) -> str:
        """The URL to use in place of the server's."""
        factory: Any = Factory.forProtocol(_Front)
        factory.faults = self
        if self._files is not None:
            factory = TLSMemoryBIOFactory(_Server(self._files), False, factory, self.reactor)
        self._port = await TCP4ServerEndpoint(self.reactor, 0, interface="127.0.0.1").listen(factory)
        return f"{'http' if self._files is None else 'https'}://127.0.0.1:{self._port.getHost().port}"

    async def stop(self) -> None:
        await self._port.stopListening()
        for connection in list(self.open):
            connection.transport.abortConnection()

    def first(self, count: int, fault: Fault, method: str = "", path: str = "") -> None:
        """Let *fault* happen to the first *count* requests of this method whose target has *path* in it."""
        left = [count]

        def choose(found: str, target: str) -> Fault | None:
            if left[0] and found.startswith(method) and path in target:
                left[0] -= 1
                return fault
            return None

        self.choose = choose


@implementer(IOpenSSLServerConnectionCreator)
class _Server:
    """Our side of TLS."""

    def __init__(self, files: CertificateFiles) -> None:
        self._context = SSL.Context(SSL.TLS_SERVER_METHOD)
        self._context.use_certificate_chain_file(str(files.certificate))
        self._context.use_privatekey_file(str(files.key))

    def serverConnectionForTLS(self, protocol: Any) -> SSL.Connection:
        return SSL.Connection(self._context, None)


class _Front(Protocol):
    """The client's side."""

    transport: Any
    factory: Any

    def connectionMade(self) -> None:
        factory = getattr(self.factory, "wrappedFactory", self.factory)
        self.faults: Faults = factory.faults
        self.faults.open.add(self)
        self.fault: Fault | None = None
        self.back: Any = None
        self._head: bytes | None = b""
        self._taken = 0
        self._over = False

    def dataReceived(self, data: bytes) -> None:
        if self._head is not None:
            self._head += data
            head, separator, data = self._head.partition(b"\r\n\r\n")
            if not separator:
                return
            self._head = None
            method, target, _ = head.split(b"\r\n", 1)[0].decode().split(" ")
            self.faults.requests.append(f"{method} {target}")
            self.fault = self.faults.choose(method, target)
            if self.faults.unknown and b"\r\n%s:" % self.faults.unknown.lower().encode() in head.lower():
                self.fault = Fault(status=self.faults.refusal)
                self.faults.requests[-1] += f" {self.faults.unknown}"
            for name in ("Connection", *self.faults.hidden):
                head = re.sub(rb"\r\n%s:[^\r]*" % name.encode(), b"", head, flags=re.IGNORECASE)
            self._connect(head + b"\r\nConnection: close\r\n\r\n")
        self._body(data)

    def _connect(self, head: bytes) -> None:
        if self.fault is not None and self.fault.status is not None:
            self._answer()
            return
        self._waiting = [head]
        self.transport.pauseProducing()
        self.faults.target.connect(Factory.forProtocol(_Back)).addCallbacks(
            self._connected, lambda _: self.cut("reset")
        )

    def _connected(self, back: Any) -> None:
        self.back = back
        back.front = self
        if self._over or self not in self.faults.open:
            back.transport.abortConnection()
            return
        back.transport.registerProducer(self.transport, True)
        self.transport.registerProducer(back.transport, True)
        for data in self._waiting:
            back.transport.write(data)
        self.transport.resumeProducing()

    def _body(self, data: bytes) -> None:
        if self._over:
            return
        self._taken += len(data)
        fault = self.fault
        if fault is not None and fault.status is not None:
            self._answer()
        elif fault is not None and fault.received is not None and self._taken >= fault.received:
            self.cut(fault.end)
        elif data and self.back is None:
            self._waiting.append(data)
        elif data:
            self.back.transport.write(data)

    def _answer(self) -> None:
        fault = self.fault
        assert fault is not None
        if self._over or self._taken < fault.after:
            return
        self._over = True
        head = f"HTTP/1.1 {fault.status} Fault\r\nContent-Length: 0\r\nConnection: close\r\n{fault.headers}\r\n"
        self.transport.write(head.encode())
        self.transport.loseConnection()

    def cut(self, end: str) -> None:
        """End the connection: ``reset``, ``close``, or ``stall``, which leaves it there in silence."""
        self._over = True
        if self.back is not None:
            self.back.front = None
            self.back.transport.unregisterProducer()
            self.back.transport.abortConnection()
            self.transport.unregisterProducer()
        if end == "reset":
            self.transport.abortConnection()
        elif end == "close":
            self.transport.loseConnection()
        else:
            self.transport.pauseProducing()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.faults.open.discard(self)
        if self.back is not None and self.back.front is not None:
            self.back.front = None
            self.back.transport.unregisterProducer()
            self.back.transport.abortConnection()


class _Back(Protocol):
    """The server's side."""

    transport: Any
    front: _Front | None = None

    def connectionMade(self) -> None:
        self._head: bytes | None = b""
        self._sent = 0

    def dataReceived(self, data: bytes) -> None:
        front = self.front
        if front is None:
            return
        fault = front.fault
        if self._head is not None:
            self._head += data
            head, separator, data = self._head.partition(b"\r\n\r\n")
            if not separator:
                return
            if head.startswith(b"HTTP/1.1 100"):
                self._head = data
                return
            self._head = None
            if fault is not None and fault.lie:
                lie = fault.lie
                head = re.sub(rb"(?i)(content-length: )(\d+)", lambda m: m[1] + b"%d" % (int(m[2]) + lie), head)
            head = re.sub(rb"\r\nConnection:[^\r]*", b"", head, flags=re.IGNORECASE) + b"\r\nConnection: close\r\n\r\n"
            if fault is None or fault.sent is None or fault.sent >= 0:
                self._pass(head, fault)
        if fault is not None and fault.sent is not None:
            data = data[: max(0, fault.sent - self._sent)]
        self._sent += len(data)
        self._pass(data, fault)
        if fault is not None and fault.sent is not None and self._sent >= fault.sent:
            end, delay = fault.end, fault.delay + 0.02  # what was written goes out before a reset
            front.transport.unregisterProducer()
            self.front, front.back = None, None
            self.transport.unregisterProducer()
            self.transport.abortConnection()
            front.faults.reactor.callLater(delay, front.cut, end)

    def _pass(self, data: bytes, fault: Fault | None) -> None:
        front = self.front
        if front is None or not data:
            return
        if fault is not None and fault.delay:
            front.faults.reactor.callLater(fault.delay, front.transport.write, data)
        else:
            front.transport.write(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        front, self.front = self.front, None
        if front is not None:
            delay = front.fault.delay if front.fault is not None else 0
            front.transport.unregisterProducer()
            front.back = None
            front.faults.reactor.callLater(delay, front.transport.loseConnection)
