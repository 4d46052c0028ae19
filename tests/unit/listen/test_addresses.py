"""Which addresses are understood, what is bound for them, and who closes it."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet.error import CannotListenError
from twisted.internet.task import deferLater

from glancetx.config.settings import TlsSettings
from glancetx.domain.errors import ConfigurationError
from glancetx.listen import Address, Ports, parse
from glancetx.listen.addresses import BACKLOG, split

NONE = TlsSettings()
OURS = TlsSettings(certificate=Path("/c.pem"), key=Path("/k.pem"))


@pytest.mark.parametrize("text", ["tcp:9292:interface=127.0.0.1", "tcp6:9292", "unix:/run/x", "systemd:domain=INET"])
def test_twisted_understands(text: str) -> None:
    """What is not ssl: goes to Twisted as it is, without TLS."""
    assert parse(text, OURS) == Address(text, text, None, BACKLOG)


def test_own_backlog() -> None:
    """A backlog in the address is the one that counts."""
    assert parse("tcp:1:backlog=5", NONE).backlog is None
    assert parse("ssl:1:backlog=5", OURS).backlog is None


def test_default_certificate() -> None:
    """An ssl: address without a certificate has the configured one; the rest is a tcp: address."""
    found = parse("ssl:9292:interface=127.0.0.1", OURS)
    assert found == Address("ssl:9292:interface=127.0.0.1", "tcp:9292:interface=127.0.0.1", OURS)


def test_quoted_interface() -> None:
    """An IPv6 address has quoted colons, which stay quoted for Twisted."""
    assert parse(r"ssl:port=9292:interface=\:\:1", OURS).endpoint == r"tcp:9292:interface=\:\:1"


@pytest.mark.parametrize(
    ("text", "certificate", "key"),
    [
        ("ssl:1:certKey=/own.pem:privateKey=/own.key", "/own.pem", "/own.key"),
        ("ssl:1:certKey=/own.pem", "/own.pem", "/own.pem"),
        ("ssl:1:privateKey=/own.pem", "/own.pem", "/own.pem"),
    ],
)
def test_own_certificate(text: str, certificate: str, key: str) -> None:
    """A certificate of its own replaces the configured one; one file may hold both parts."""
    tls = parse(text, OURS).tls
    assert tls is not None
    assert (tls.certificate, tls.key) == (Path(certificate), Path(key))


@pytest.mark.parametrize(
    ("text", "required"), [("", True), (":clientRequired=yes", True), (":clientRequired=no", False)]
)
def test_client_certificates(text: str, required: bool) -> None:
    """Who names an authority wants certificates, unless he says otherwise."""
    tls = parse(f"ssl:1:clientCA=/ca.pem{text}", OURS).tls
    assert tls is not None
    assert (tls.client_ca, tls.client_certificate_required) == (Path("/ca.pem"), required)


@pytest.mark.parametrize(
    "text", ["ssl:", "ssl:x", "ssl:9292x", "ssl:1:verify=no", "ssl:interface=127.0.0.1", "ssl:65536", "tcp:65536"]
)
def test_not_understood(text: str) -> None:
    """Nothing that is misspelt is passed over."""
    with pytest.raises(ConfigurationError):
        parse(text, OURS)


def test_no_certificate() -> None:
    """ssl: without any certificate is an error."""
    with pytest.raises(ConfigurationError, match="no certificate"):
        parse("ssl:9292", NONE)


def test_split() -> None:
    """A backslash quotes the next character."""
    assert split(r"9292:a=b\:c\=d:e=") == {"port": "9292", "a": "b:c=d", "e": ""}


@pytest.mark.parametrize("text", ["pigeon:1", "tcp:", "tcp:x", "tcp:1:nothing=1", ""])
def test_unknown_endpoint(text: str) -> None:
    """What Twisted does not understand is a matter of configuration, and named."""
    from twisted.internet import reactor

    with pytest.raises(ConfigurationError, match="cannot listen on"):
        Ports(reactor, [Address(text, text)])


@pytest_twisted.ensureDeferred
async def test_bound() -> None:
    """Clients can connect once bound; duplicates of the sockets are usable; after close nobody can."""
    from twisted.internet import reactor

    ports = Ports(reactor, [parse("tcp:0:interface=127.0.0.1", NONE)])
    ports.bind()
    place = ("127.0.0.1", ports.hosts()[0].port)
    (own,) = ports.sockets()
    assert own.getsockname() == place
    with socket.create_connection(place):
        accepted, _ = own.accept()
        accepted.close()
    await ports.close()
    with pytest.raises(ConnectionRefusedError):  # although our duplicate is open
        socket.create_connection(place)
    own.close()


@pytest_twisted.ensureDeferred
async def test_all_or_nothing() -> None:
    """If the second address is taken, the first one is given back."""
    from twisted.internet import reactor

    with socket.create_server(("127.0.0.1", 0)) as taken, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        first, second = free.getsockname()[1], taken.getsockname()[1]
        free.close()
        texts = [f"tcp:{port}:interface=127.0.0.1" for port in (first, second)]
        ports = Ports(reactor, [parse(text, NONE) for text in texts])
        with pytest.raises(CannotListenError):
            ports.bind()
        assert ports.descriptors() == []
        await deferLater(reactor, 0)  # a turn in which Twisted closes it
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", first))
