"""Connections to places that somebody outside names: the address that is judged is the one that is connected to."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any, Final

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import IProtocolFactory, IResolutionReceiver, IStreamClientEndpoint
from twisted.web.client import URI
from twisted.web.iweb import IAgentEndpointFactory, IPolicyForHTTPS
from zope.interface import implementer

from glancetx.domain.addresses import Address, FetchRules, Target
from glancetx.outgoing.answers import NoAnswer

MOST_ADDRESSES: Final = 4  # of one host that are tried


@implementer(IAgentEndpointFactory)
class Guarded:
    """Connects only where *rules* allow, within *timeout* seconds for each address; TLS as *policy* says.

    A host is looked up once for each connection, all of its addresses are judged, and one of those is connected to:
    a name that changes its address in between has no effect. A connection fails with UrlRefused if it is not allowed.
    """

    def __init__(self, reactor: Any, rules: FetchRules, policy: IPolicyForHTTPS, timeout: float) -> None:
        self._reactor, self._rules, self._policy, self._timeout = reactor, rules, policy, timeout

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        target = self._rules.admit(uri.toBytes().decode("ascii"))
        endpoint: IStreamClientEndpoint = _Endpoint(self._reactor, self._rules, target, self._timeout)
        if target.scheme == "https":
            endpoint = wrapClientTLS(self._policy.creatorForNetloc(uri.host, uri.port), endpoint)
        return endpoint


@implementer(IStreamClientEndpoint)
class _Endpoint:
    def __init__(self, reactor: Any, rules: FetchRules, target: Target, timeout: float) -> None:
        self._reactor, self._rules, self._target, self._timeout = reactor, rules, target, timeout

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[Any]:
        return Deferred.fromCoroutine(self._connect(protocolFactory))

    async def _connect(self, factory: IProtocolFactory) -> Any:
        addresses = [self._target.address] if self._target.address else await self._look_up()
        admitted = self._rules.judge(self._target, filter(None, addresses))
        failure: Exception = NoAnswer("the host has no address")
        for address in admitted[:MOST_ADDRESSES]:
            endpoint = HostnameEndpoint(self._reactor, str(address), self._target.port, timeout=self._timeout)
            try:
                return await endpoint.connect(factory)
            except Exception as error:  # every kind of connection fails in its own way; the next address may not
                failure = error
        raise failure

    async def _look_up(self) -> list[Address]:
        found = _Found()
        self._reactor.nameResolver.resolveHostName(found, self._target.host, self._target.port)
        found.done.addTimeout(self._timeout, self._reactor)
        return await found.done


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
