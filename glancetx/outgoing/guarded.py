"""Connections to places that somebody outside names: the address that is judged is the one that is connected to."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any, Final

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.interfaces import IProtocolFactory, IResolutionReceiver, IStreamClientEndpoint
from twisted.web.client import URI
from twisted.web.iweb import IAgentEndpointFactory
from zope.interface import implementer

from glancetx.domain.addresses import Address, FetchRules, Target
from glancetx.outgoing.answers import NoAnswer
from glancetx.outgoing.secured import TlsReactor
from glancetx.outgoing.tls import TlsPolicy

MOST_ADDRESSES: Final = 4  # of one host that are tried


@implementer(IAgentEndpointFactory)
class Guarded:
    """Connects only where *rules* allow, within *timeout* seconds for each address; TLS as *policy* says.

    A host is looked up once for each connection, all of its addresses are judged, and one of those is connected to:
    a name that changes its address in between has no effect. A connection fails with UrlRefused if it is not allowed.
    """

    def __init__(self, reactor: Any, rules: FetchRules, policy: TlsPolicy, timeout: float) -> None:
        self._reactor, self._rules, self._policy, self._timeout = reactor, rules, policy, timeout

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        target = self._rules.admit(uri.toBytes().decode("ascii"))
        reactor = self._reactor
        if target.scheme == "https":
            reactor = TlsReactor(reactor, self._policy.creatorForNetloc(uri.host, uri.port))
        return _Endpoint(reactor, self._rules, target, self._timeout)


@implementer(IStreamClientEndpoint)
class _Endpoint:
    def __init__(self, reactor: Any, rules: FetchRules, target: Target, timeout: float) -> None:
        self._reactor, self._rules, self._target, self._timeout = reactor, rules, target, timeout

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[Any]:
        return Deferred.fromCoroutine(self._connect(protocolFactory))

    async def _connect(self, factory: IProtocolFactory) -> Any:
        admitted = await _judge(self._reactor, self._rules, self._target, self._timeout)
        failure: Exception = NoAnswer("the host has no address")
        for address in admitted[:MOST_ADDRESSES]:
            kind = TCP4ClientEndpoint if address.version == 4 else TCP6ClientEndpoint  # they look up nothing
            endpoint = kind(self._reactor, str(address), self._target.port, timeout=self._timeout)
            try:
                return await endpoint.connect(factory)
            except Exception as error:  # every kind of connection fails in its own way; the next address may not
                failure = error
        raise failure


async def check(reactor: Any, rules: FetchRules, url: str, *, proxied: bool = False, patience: float = 10.0) -> None:
    """Whether *url* may be fetched now; that its host has other addresses later on is seen when it is connected to.

    *proxied*: somebody else connects, so it may be that names have no addresses here.

    :raises UrlRefused: if it may not.
    """
    target = rules.admit(url)
    if target.address is None and ((found := await look_up(reactor, target, patience)) or not proxied):
        rules.judge(target, found)


async def _judge(reactor: Any, rules: FetchRules, target: Target, patience: float) -> list[Address]:
    """The addresses that may be connected to. :raises UrlRefused: if there is none, or one that may not."""
    address = target.address
    return rules.judge(target, [address] if address else await look_up(reactor, target, patience))


async def look_up(reactor: Any, target: Target, patience: float) -> list[Address]:
    """The addresses of a name; none if there are none, or nobody tells within *patience* seconds."""
    found = _Found()
    reactor.nameResolver.resolveHostName(found, target.host, target.port)
    found.done.addTimeout(patience, reactor)
    try:
        return await found.done
    except TimeoutError:
        return []


@implementer(IResolutionReceiver)
class _Found:
    """Collects the addresses of a name; *done* has them."""

    def __init__(self) -> None:
        self.done: Deferred[list[Address]] = Deferred()
        self._addresses: list[Address] = []

    def resolutionBegan(self, resolutionInProgress: Any) -> None:
        """Nothing: the end is what counts."""

    def addressResolved(self, address: Any) -> None:
        if isinstance(address, IPv4Address | IPv6Address):
            self._addresses.append(ip_address(address.host))

    def resolutionComplete(self) -> None:
        if not self.done.called:
            self.done.callback(list(dict.fromkeys(self._addresses)))
