"""A cache that several processes share: memcached servers, which may be away at any time and lose what they like."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import HostnameEndpoint, UNIXClientEndpoint
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.protocols.memcache import MemCacheProtocol

from glancetx.runtime.sharing import SharedCall

DEFAULT_PORT: Final = 11211

_log = Logger()


class Memcached:
    """The *servers* (``host:port``, ``[address]:port`` or ``unix:path``), of which each key has one.

    A server that does not answer within *patience* seconds is let alone for *rest* seconds, and its keys go to the
    others. Nothing here raises: what cannot be had is not there, and what cannot be kept is not kept.
    """

    def __init__(self, reactor: Any, servers: Sequence[str], patience: int = 3, rest: float = 300.0) -> None:
        self._servers = [_Server(reactor, each, patience, rest) for each in servers]

    async def get(self, key: str) -> bytes | None:
        """What was kept under *key*, if it still is."""
        server = self._choose(key)
        return None if server is None else await server.get(key.encode("ascii"))

    async def keep(self, key: str, value: bytes, seconds: int) -> None:
        """Keep *value* for so many seconds at most."""
        server = self._choose(key)
        if server is not None:
            await server.keep(key.encode("ascii"), value, seconds)

    async def close(self) -> None:
        """Drop all connections."""
        for server in self._servers:
            server.drop()

    def _choose(self, key: str) -> _Server | None:
        """The one of those that answer which every process chooses for this key."""
        alive = [server for server in self._servers if server.usable]
        return max(alive, key=lambda server: hashlib.blake2s(f"{server.name} {key}".encode()).digest(), default=None)


class _Server:
    def __init__(self, reactor: Any, name: str, patience: int, rest: float) -> None:
        self.name = name
        self._reactor, self._patience, self._rest = reactor, patience, rest
        self._endpoint = _endpoint(reactor, name, patience)
        self._factory = Factory.forProtocol(MemCacheProtocol)
        self._protocol: Any = None
        self._connecting: SharedCall[Any] | None = None
        self._dead_until = float("-inf")

    @property
    def usable(self) -> bool:
        return bool(self._reactor.seconds() >= self._dead_until)

    async def get(self, key: bytes) -> bytes | None:
        try:
            protocol = await self._connected()
            _, value = await protocol.get(key)
        except CancelledError:
            raise
        except Exception as error:
            self._bury(error)
            return None
        return None if value is None else bytes(value)

    async def keep(self, key: bytes, value: bytes, seconds: int) -> None:
        try:
            protocol = await self._connected()
            await protocol.set(key, value, expireTime=seconds)
        except CancelledError:
            raise
        except Exception as error:
            self._bury(error)

    def drop(self) -> None:
        protocol, self._protocol = self._protocol, None
        if protocol is not None and protocol.transport is not None:
            protocol.transport.abortConnection()

    async def _connected(self) -> Any:
        if self._protocol is not None:
            return self._protocol
        if self._connecting is None or not self._connecting.running:
            self._connecting = SharedCall(self._connect())
        return await self._connecting.result()

    async def _connect(self) -> Any:
        connecting: Deferred[Any] = self._endpoint.connect(self._factory)
        connecting.addTimeout(self._patience, self._reactor)
        protocol = self._protocol = await connecting
        protocol.timeOut = protocol.persistentTimeOut = self._patience
        return protocol

    def _bury(self, error: Exception) -> None:
        self.drop()
        self._dead_until = self._reactor.seconds() + self._rest
        _log.warn("memcached {name} does not answer: {error!r}", name=self.name, error=error)


def _endpoint(reactor: Any, name: str, patience: int) -> Any:
    if name.startswith("unix:"):
        return UNIXClientEndpoint(reactor, name.removeprefix("unix:"), timeout=patience)
    host, port = split_address(name)
    return HostnameEndpoint(reactor, host, port, timeout=patience)


def split_address(name: str) -> tuple[str, int]:
    """Host and port. :raises ValueError: if it is no address."""
    text = name.removeprefix("inet6:").removeprefix("inet:")
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        port = rest.removeprefix(":")
    else:
        host, _, port = text.partition(":")
    number = int(port or DEFAULT_PORT)
    if not host or not 0 < number < 65536:
        raise ValueError(name)
    return host, number
