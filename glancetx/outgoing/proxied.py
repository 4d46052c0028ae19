"""Requests by way of a proxy that the operator names: ``http`` is given to it, ``https`` goes through a tunnel."""

from __future__ import annotations

from base64 import b64encode
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import URI, Agent, HTTPConnectionPool, ProxyAgent
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IAgentEndpointFactory, IBodyProducer, IPolicyForHTTPS
from zope.interface import implementer

from glancetx.domain.addresses import FetchRules, Target, parse_target
from glancetx.domain.errors import ConfigurationError, UrlRefused
from glancetx.outgoing.answers import NoAnswer
from glancetx.outgoing.guarded import look_up

LARGEST_HEAD: Final = 16384  # bytes of a proxy's answer to CONNECT


@implementer(IAgent)
class ProxiedAgent:
    """Sends requests to *proxy* (``http://[user:password@]host[:port]``), for places that *rules* allow.

    A name is looked up here, too, and judged if it has an address here; the proxy looks it up again, and may find
    another one, so it must not be able to reach what is inside.

    :raises ConfigurationError: if the proxy's URL is none.
    """

    def __init__(self, reactor: Any, proxy: str, rules: FetchRules, policy: IPolicyForHTTPS, timeout: float) -> None:
        self._reactor, self._rules, self._timeout = reactor, rules, timeout
        try:
            self._proxy = parse_target(proxy)
        except UrlRefused as error:
            raise ConfigurationError(f"[glancetx] fetch_proxy: {error}") from error
        if self._proxy.scheme != "http":
            raise ConfigurationError("[glancetx] fetch_proxy: only http:// proxies are supported")
        place = HostnameEndpoint(reactor, self._proxy.host, self._proxy.port, timeout=timeout)
        self._plain = ProxyAgent(place, reactor, pool=HTTPConnectionPool(reactor, persistent=False))
        self._secret = _authorization(self._proxy)
        tunnels = _Tunnels(place, policy, self._secret)
        self._secure = Agent.usingEndpointFactory(reactor, tunnels, HTTPConnectionPool(reactor, persistent=False))

    def request(
        self, method: bytes, uri: bytes, headers: Headers | None = None, bodyProducer: IBodyProducer | None = None
    ) -> Deferred[Any]:
        return Deferred.fromCoroutine(self._request(method, uri, headers, bodyProducer))

    async def _request(self, method: bytes, uri: bytes, headers: Headers | None, body: IBodyProducer | None) -> Any:
        target = self._rules.admit(uri.decode("ascii"))
        if target.address is None and (found := await look_up(self._reactor, target, self._timeout)):
            self._rules.judge(target, found)
        if target.scheme == "https":
            return await self._secure.request(method, uri, headers, body)
        sent = Headers() if headers is None else headers.copy()
        for name, value in self._secret.items():
            sent.setRawHeaders(name, [value])
        return await self._plain.request(method, uri, sent, body)


def _authorization(proxy: Target) -> dict[str, str]:
    if proxy.user is None:
        return {}
    return {"Proxy-Authorization": "Basic " + b64encode(f"{proxy.user}:{proxy.password or ''}".encode()).decode()}


@implementer(IAgentEndpointFactory)
class _Tunnels:
    def __init__(self, place: IStreamClientEndpoint, policy: IPolicyForHTTPS, secret: dict[str, str]) -> None:
        self._place, self._policy, self._secret = place, policy, secret

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        host = uri.host.decode("ascii")
        authority = f"[{host}]:{uri.port}" if ":" in host else f"{host}:{uri.port}"
        lines = [f"CONNECT {authority} HTTP/1.1", f"Host: {authority}"]
        lines += [f"{name}: {value}" for name, value in self._secret.items()]
        request = "\r\n".join([*lines, "", ""]).encode("ascii")
        secure: IStreamClientEndpoint = wrapClientTLS(
            self._policy.creatorForNetloc(uri.host, uri.port), _Through(self._place, request)
        )
        return secure


@implementer(IStreamClientEndpoint)
class _Through:
    """Connects to the other end of a tunnel."""

    def __init__(self, place: IStreamClientEndpoint, request: bytes) -> None:
        self._place, self._request = place, request

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[Any]:
        return Deferred.fromCoroutine(self._connect(protocolFactory))

    async def _connect(self, factory: IProtocolFactory) -> Any:
        tunnel = _Tunnel(self._request, factory)
        await self._place.connect(Factory.forProtocol(lambda: tunnel))
        return await tunnel.opened


class _Tunnel(Protocol):
    """Asks a proxy for a tunnel; then *opened* has the protocol of *factory*, which speaks through it."""

    transport: Any

    def __init__(self, request: bytes, factory: IProtocolFactory) -> None:
        self._request, self._factory = request, factory
        self._head = b""
        self._inner: IProtocol | None = None
        self.opened: Deferred[Any] = Deferred(lambda _: self.transport.abortConnection())

    def connectionMade(self) -> None:
        self.transport.write(self._request)

    def dataReceived(self, data: bytes) -> None:
        if self._inner is not None:
            self._inner.dataReceived(data)
            return
        self._head += data
        head, ended, rest = self._head.partition(b"\r\n\r\n")
        if not ended and len(self._head) <= LARGEST_HEAD:
            return
        status = head.split(b"\r\n")[0].split(b" ")[1:2]
        if not ended or status != [b"200"]:
            self._refuse(NoAnswer("the proxy opens no tunnel"))
            return
        self._head = b""
        self._inner = self._factory.buildProtocol(self.transport.getPeer())
        if self._inner is None:
            self._refuse(NoAnswer("nobody is at this end of the tunnel"))
            return
        self._inner.makeConnection(self.transport)
        self.opened.callback(self._inner)
        if rest:
            self._inner.dataReceived(rest)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._inner is not None:
            self._inner.connectionLost(reason)
        elif not self.opened.called:
            self.opened.errback(NoAnswer("the proxy has closed the connection"))

    def _refuse(self, error: NoAnswer) -> None:
        if not self.opened.called:
            self.opened.errback(error)
        self.transport.abortConnection()
