"""Where the service may be sent to fetch something: a URL is taken apart strictly, and each address is judged.

Whoever can make the service open a connection can reach what only the service can reach. So every address that is not
globally routable unicast is refused unless an operator names it, and the decision is made on the address that is
connected to, not on the name. Nothing is looked up or connected here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from types import MappingProxyType
from typing import Final
from urllib.parse import quote, unquote

from attrs import field, frozen

from glancetx.domain.errors import UrlRefused

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

PORTS: Final = MappingProxyType({"http": 80, "https": 443})
LONGEST: Final = 8192  # characters of a URL

# The IANA registries of special-purpose addresses: all that is not globally reachable, and what is deprecated.
NOT_PUBLIC_4: Final = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8",  # this host
        "10.0.0.0/8",
        "100.64.0.0/10",  # shared by carriers; Alibaba's metadata service
        "127.0.0.0/8",
        "168.63.129.16/32",  # looks public, and is Azure's host seen from its guests
        "169.254.0.0/16",  # link-local: metadata services
        "172.16.0.0/12",
        "192.0.0.0/24",  # protocol assignments; Oracle's metadata service
        "192.0.2.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",  # relays to 6to4
        "192.168.0.0/16",
        "192.175.48.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
)
GLOBAL_6: Final = IPv6Network("2000::/3")
NOT_PUBLIC_6: Final = tuple(
    IPv6Network(text)
    for text in (
        "2001::/23",  # protocol assignments, Teredo among them
        "2001:db8::/32",
        "2002::/16",  # 6to4: an IPv4 address within
        "2620:4f:8000::/48",
        "3fff::/20",
    )
)
NAT64: Final = IPv6Network("64:ff9b::/96")
ISATAP: Final = (0x00005EFE, 0x02005EFE)  # before the IPv4 address in the last 64 bits

_URL: Final = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://"
    r"(?:(?P<user>[^/?#@\[\]]*)@)?"
    r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)"
    r"(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<path>/[^?#]*)?(?P<query>\?[^#]*)?(?:#.*)?",
    re.ASCII,
)
_NAME: Final = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)", re.ASCII)
_NUMBER: Final = re.compile(r"\d+|0x[0-9a-f]*", re.ASCII)  # a last label that makes others read the host as an address
_PLAIN: Final = "!#$%&'()*+,/:;=?@[]~"


@frozen
class Target:
    """A URL to fetch from, taken apart; the parts are the only ones ever used, never the text they came from.

    *host* is a lower-case name without a dot at its end, or an address; *path* has the query, and begins with a slash.
    """

    scheme: str
    host: str
    port: int
    path: str
    user: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)

    @property
    def address(self) -> Address | None:
        """The host, if it is an address and no name."""
        try:
            return ip_address(self.host)
        except ValueError:
            return None

    @property
    def authority(self) -> str:
        """Host and, if it is not the scheme's own, port: the value of a Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The URL without any credentials."""
        return f"{self.scheme}://{self.authority}{self.path}"


def parse_target(url: str) -> Target:
    """Take *url* apart, by the letter: what two programs might read differently is no URL here.

    Characters beyond ASCII are taken in path and query only, and are percent-encoded.

    :raises UrlRefused: if it is not an ``http`` or ``https`` URL with a host that is a name, an IPv6 address in
        brackets, or an IPv4 address of four decimal numbers.
    """
    if len(url) > LONGEST:
        raise UrlRefused(f"The URL has more than {LONGEST} characters.")
    if any(character <= " " or character in "\\\x7f" for character in url) or not url.isprintable():
        raise UrlRefused("The URL has blanks, control characters or backslashes.")
    found = _URL.fullmatch(url)
    if found is None:
        raise UrlRefused("This is not a URL with a scheme and a host.")
    scheme = found["scheme"].lower()
    if scheme not in PORTS:
        raise UrlRefused(f"URLs with the scheme {scheme} cannot be fetched.")
    port = int(found["port"] or PORTS[scheme])
    if not 0 < port < 65536:
        raise UrlRefused(f"There is no port {port}.")
    user, password = _credentials(found["user"])
    path = quote((found["path"] or "/") + (found["query"] or ""), safe=_PLAIN)
    return Target(scheme, _host(found["host"]), port, path, user, password)


def _host(text: str) -> str:
    try:
        if text.startswith("["):
            return str(IPv6Address(text[1:-1]))
        labels = text.lower().removesuffix(".").split(".")
        if _NUMBER.fullmatch(labels[-1]):
            return str(IPv4Address(text))  # knows only the usual form: 127.1, 0x7f000001 and 0177.0.0.1 are none
    except ValueError:
        raise UrlRefused(f"{text} is not an address in its usual form.") from None
    if len(text) > 253 or not all(_NAME.fullmatch(label) for label in labels):
        raise UrlRefused(f"{text} is not the name of a host.")
    return ".".join(labels)


def _credentials(text: str | None) -> tuple[str | None, str | None]:
    if not text:
        return None, None
    user, separator, password = text.partition(":")
    return unquote(user), unquote(password) if separator else None


def is_public(address: Address) -> bool:
    """Whether *address* is globally routable unicast, and so is any IPv4 address it stands for."""
    if isinstance(address, IPv4Address):
        return not any(address in network for network in NOT_PUBLIC_4)
    if address in NAT64:
        return is_public(IPv4Address(int(address) & 0xFFFFFFFF))
    if address.scope_id is not None or int(address) >> 32 & 0xFFFFFFFF in ISATAP:
        return False
    return address in GLOBAL_6 and not any(address in network for network in NOT_PUBLIC_6)


def _networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """:raises ValueError: if one of them is not a network or an address."""
    return tuple(IPv6Network(text) if ":" in text else IPv4Network(text) for text in texts)


@frozen(kw_only=True)
class FetchRules:
    """Where requests may go (C-067..C-069). Of each pair of lists the first one, unless empty, names all that may;
    else the second one names what may not.

    A host in *allowed_hosts* may have any address: the operator has named it. So may addresses in *allowed_networks*
    (``10.1.0.0/16``).
    """

    allowed_schemes: tuple[str, ...] = ("http", "https")
    disallowed_schemes: tuple[str, ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    disallowed_hosts: tuple[str, ...] = ()
    allowed_ports: tuple[int, ...] = (80, 443)
    disallowed_ports: tuple[int, ...] = ()
    allowed_networks: tuple[Network, ...] = field(default=(), converter=_networks)

    def admit(self, url: str) -> Target:
        """Take *url* apart and judge all that can be judged before its host is looked up.

        :raises UrlRefused: if it may not be fetched.
        """
        target = parse_target(url)
        if not _passes(target.scheme, self.allowed_schemes, self.disallowed_schemes):
            raise UrlRefused(f"URLs with the scheme {target.scheme} are not allowed.")
        if not _passes(target.host, _hosts(self.allowed_hosts), _hosts(self.disallowed_hosts)):
            raise UrlRefused(f"The host {target.host} is not allowed.")
        if not _passes(target.port, self.allowed_ports, self.disallowed_ports):
            raise UrlRefused(f"The port {target.port} is not allowed.")
        if target.address is not None:
            self.judge(target, [target.address])
        return target

    def judge(self, target: Target, addresses: Iterable[Address]) -> list[Address]:
        """Those of *addresses*, which *target*'s host has, that may be connected to; connect to no other.

        One address that may not be spoils them all: a name that has both serves to get around the rules.

        :raises UrlRefused: if one of them may not be connected to, or there is none.
        """
        found = list(addresses)
        named = target.host in _hosts(self.allowed_hosts)
        refused = [] if named else [address for address in found if not self._admits(address)]
        if refused or not found:  # said in one sentence, or it would tell what names there are inside
            raise UrlRefused(f"The host {target.host} has no address on the public internet.")
        return found

    def _admits(self, address: Address) -> bool:
        return is_public(address) or any(
            address.version == network.version and address in network for network in self.allowed_networks
        )


def _passes(value: object, allowed: Iterable[object], disallowed: Iterable[object]) -> bool:
    allowed = tuple(allowed)
    return value in allowed if allowed else value not in tuple(disallowed)


def _hosts(texts: Iterable[str]) -> tuple[str, ...]:
    """Hosts as `Target.host` has them, however an operator writes them."""
    return tuple(_spelled(text.strip().lower().removesuffix(".")) for text in texts)


def _spelled(text: str) -> str:
    try:
        return str(ip_address(text.strip("[]")))
    except ValueError:
        return text
