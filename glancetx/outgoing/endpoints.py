"""Where the connections of a client come from."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.interfaces import IProtocolFactory, IStreamClientEndpoint
from twisted.web.client import URI
from twisted.web.iweb import IAgentEndpointFactory
from zope.interface import implementer

from glancetx.outgoing.secured import TlsReactor
from glancetx.outgoing.sockets import PlainClient, SocketReactor
from glancetx.outgoing.tls import TlsPolicy


@implementer(IAgentEndpointFactory)
class Anybody:
    """Connects to every host, within *timeout* seconds; TLS as *policy* says."""

    def __init__(self, reactor: Any, policy: TlsPolicy, timeout: float) -> None:
        self._reactor, self._policy, self._timeout = reactor, policy, timeout

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        reactor = SocketReactor(self._reactor, PlainClient)
        if uri.scheme == b"https":
            reactor = TlsReactor(self._reactor, self._policy.creatorForNetloc(uri.host, uri.port))
        return HostnameEndpoint(reactor, uri.host.decode("ascii"), uri.port, timeout=self._timeout)


@implementer(IAgentEndpointFactory)
class Capturing:
    """Remembers the one connection that it makes, so that it can be ended at any time."""

    def __init__(self, endpoints: IAgentEndpointFactory) -> None:
        self._endpoints = endpoints
        self._protocol: Any = None
        self._aborted = False

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        self._endpoint = self._endpoints.endpointForURI(uri)
        return CapturingEndpoint(self._endpoint, self._connected)

    def abort(self) -> None:
        """End the connection, now or as soon as it is made."""
        self._aborted = True
        if self._protocol is not None and self._protocol.transport is not None:
            self._protocol.transport.abortConnection()

    def _connected(self, protocol: Any) -> Any:
        self._protocol = protocol
        if self._aborted:
            self.abort()
        return protocol


@implementer(IStreamClientEndpoint)
class CapturingEndpoint:
    def __init__(self, endpoint: IStreamClientEndpoint, connected: Any) -> None:
        self._endpoint, self._connected = endpoint, connected

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[Any]:
        connecting: Deferred[Any] = self._endpoint.connect(protocolFactory)
        return connecting.addCallback(self._connected)
