"""Endpoint strings, and the sockets bound for them. Who accepts connections: `glancetx.listen.acceptor`.

``ssl:`` is ours, because Twisted's own endpoint never reads a renewed certificate; every other endpoint string means
what Twisted or its plugins say.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from attrs import evolve, frozen
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.endpoints import quoteStringArgument, serverFromString
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure

from glancetx.config.settings import TlsSettings
from glancetx.domain.errors import ConfigurationError

BACKLOG = (
    1024  # Twisted's 50 lets a burst of clients wait a second for their next SYN; the kernel lowers it to its limit
)
LAST_PORT = 65535
TLS_ARGUMENTS = frozenset(
    {"port", "interface", "backlog", "certKey", "privateKey", "caCertsDir", "clientCA", "clientRequired"}
)


@frozen
class Address:
    """Where to listen. *endpoint* is what Twisted binds; *tls* None means plain; *backlog* None: as the user wrote."""

    description: str
    endpoint: str
    tls: TlsSettings | None = None
    backlog: int | None = BACKLOG


def parse(description: str, tls: TlsSettings) -> Address:
    """Understand one ``--listen`` argument; *tls* is for ``ssl:`` addresses which name no certificate.

    :raises ConfigurationError: if an ``ssl:`` address is malformed or has no certificate from anywhere; or if no port
        has such a number, which Twisted does not tell before it binds.
    """
    kind, _, rest = description.partition(":")
    port = split(rest).get("port", "")
    if kind in ("ssl", "tcp", "tcp6") and port.isdecimal() and int(port) > LAST_PORT:
        raise ConfigurationError(f"{description}: ports end at {LAST_PORT}")
    if kind != "ssl":
        return Address(description, description, backlog=None if "backlog=" in description else BACKLOG)
    arguments = split(rest)
    if unknown := arguments.keys() - TLS_ARGUMENTS:
        raise ConfigurationError(f"{description}: unknown argument {', '.join(sorted(unknown))}")
    if not re.fullmatch(r"\d{1,5}", arguments.get("port", "")):
        raise ConfigurationError(f"{description}: ssl: needs a port number")
    plain = [f"{name}={quoteStringArgument(arguments[name])}" for name in ("interface", "backlog") if name in arguments]
    return Address(
        description,
        ":".join(["tcp", arguments["port"], *plain]),
        _chosen_tls(description, arguments, tls),
        None if "backlog" in arguments else BACKLOG,
    )


def split(text: str) -> dict[str, str]:
    """The arguments of an endpoint string: the first without a name is the port; a backslash quotes."""
    found: dict[str, str] = {}
    for part in re.findall(r"(?:\\.|[^:\\])+", text):
        name, equals, value = part.partition("=")
        found[name if equals else "port"] = re.sub(r"\\(.)", r"\1", value if equals else name)
    return found


def _chosen_tls(description: str, arguments: dict[str, str], default: TlsSettings) -> TlsSettings:
    own = arguments.get("certKey") or arguments.get("privateKey")
    if own:
        default = evolve(default, certificate=Path(own), key=Path(arguments.get("privateKey", own)))
    authority = arguments.get("clientCA") or arguments.get("caCertsDir")
    if authority:
        required = arguments.get("clientRequired", "yes") not in ("no", "false", "0")
        default = evolve(default, client_ca=Path(authority), client_certificate_required=required)
    if default.certificate is None:
        raise ConfigurationError(f"{description}: no certificate: give certKey and privateKey, or set tls_certificate")
    return default


class Ports:
    """The sockets bound for *addresses*. Connections wait in their queues until somebody accepts.

    :raises ConfigurationError: if Twisted does not understand an address.
    """

    def __init__(self, reactor: Any, addresses: Sequence[Address]) -> None:
        self.addresses = tuple(addresses)
        self._endpoints = [_endpoint(reactor, address) for address in self.addresses]
        self._bound: list[Any] = []

    def bind(self) -> None:
        """Bind and listen, with the privileges of the moment.

        :raises CannotListenError: if an address is taken or not ours; those bound before are closed again.
        """
        try:
            for address, endpoint in zip(self.addresses, self._endpoints, strict=True):
                self._bound.append(self._bind(address, endpoint))
        except Exception:
            self.close()
            raise

    def _bind(self, address: Address, endpoint: Any) -> Any:
        port = _now(endpoint.listen(Factory()))
        port.stopReading()  # the parent of workers never accepts; a lone process does so when it is ready
        if address.backlog is not None:
            port.socket.listen(address.backlog)
        return port

    def descriptors(self) -> list[int]:
        """The descriptors, in the order of the addresses; they stay ours."""
        return [port.fileno() for port in self._bound]

    def hosts(self) -> list[Any]:
        """The addresses really bound, as Twisted names them."""
        return [port.getHost() for port in self._bound]

    def sockets(self) -> list[socket.socket]:
        """Duplicates of the sockets, for somebody in this process to accept from and to close."""
        return adopted([os.dup(descriptor) for descriptor in self.descriptors()])

    def close(self) -> Deferred[Any]:
        """Refuse new connections, also for whoever shares the sockets; waiting ones are reset."""
        closing = [maybeDeferred(port.stopListening) for port in self._bound]
        self._bound = []
        return DeferredList(closing, consumeErrors=True)


def _endpoint(reactor: Any, address: Address) -> Any:
    try:
        return serverFromString(reactor, address.endpoint)
    except Exception as error:  # each parser, also a plugin's, complains in its own way
        raise ConfigurationError(f"cannot listen on {address.description}: {error}") from error


def _now(listening: Deferred[IListeningPort]) -> Any:
    """What *listening* has already fired with. Sockets are bound while we have privileges, so no endpoint may wait."""
    found: list[Any] = []
    listening.addBoth(found.append)
    if not found:
        raise ConfigurationError("this kind of endpoint cannot listen at once")
    if isinstance(found[0], Failure):
        found[0].raiseException()
    return found[0]


def adopted(descriptors: Iterable[int]) -> list[socket.socket]:
    """Sockets made of *descriptors*, which belong to them from now on."""
    return [socket.socket(fileno=descriptor) for descriptor in descriptors]
