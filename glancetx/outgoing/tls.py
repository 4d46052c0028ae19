"""Whom we trust when we connect by TLS, and what certificate we show."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from attrs import frozen
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.hashes import SHA256
from OpenSSL import SSL, crypto
from service_identity.cryptography import verify_certificate_hostname, verify_certificate_ip_address
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.python.failure import Failure
from twisted.web.iweb import IPolicyForHTTPS
from zope.interface import implementer

from glancetx.config.settings import ClientTlsSettings
from glancetx.domain.errors import ConfigurationError
from glancetx.runtime.tls_sockets import write_whole_pieces

REMEMBERED_HOSTS: Final = 64


@implementer(IPolicyForHTTPS)
class TlsPolicy:
    """For twisted's Agent: peers are verified, by *cafile* or by the system's authorities, unless *insecure*.
    With a *fingerprint*, the certificate that has it is accepted, and no other.

    TLS 1.2 is the least. Files are read at once; a renewed one needs a restart.

    :raises ConfigurationError: if a file cannot be used.
    """

    def __init__(self, settings: ClientTlsSettings) -> None:
        self._settings = settings
        self._authorities = None if settings.cafile is None else _certificates(settings.cafile)
        self._own = _own_certificate(settings)
        self._peers: dict[str, Peer] = {}

    def creatorForNetloc(self, hostname: bytes, port: int) -> Peer:
        """What makes the connections to this host."""
        host = hostname.decode("ascii")
        peer = self._peers.get(host)
        if peer is None:
            while len(self._peers) >= REMEMBERED_HOSTS:
                del self._peers[next(iter(self._peers))]
            peer = self._peers[host] = Peer(host, self._context(host))
        return peer

    def _context(self, host: str) -> SSL.Context:
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_min_proto_version(SSL.TLS1_2_VERSION)
        context.set_options(SSL.OP_NO_COMPRESSION)
        context.set_mode(SSL.MODE_RELEASE_BUFFERS)  # 34 KiB for each idle connection
        write_whole_pieces(context)
        if self._own is not None:
            self._own.show(context)
        if self._settings.fingerprint:
            context.set_verify(SSL.VERIFY_PEER, _pinned(self._settings.fingerprint))
        elif not self._settings.insecure:
            self._trust(context)
            context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, _belonging_to(host))
        return context

    def _trust(self, context: SSL.Context) -> None:
        store = context.get_cert_store()
        if self._authorities is None or store is None:
            context.set_default_verify_paths()
            return
        for certificate in self._authorities:
            store.add_cert(crypto.X509.from_cryptography(certificate))


@implementer(IOpenSSLClientConnectionCreator)
class Peer:
    """Connections to *host*, of *context*; on a socket, or in Twisted's TLS layer."""

    def __init__(self, host: str, context: SSL.Context) -> None:
        self._name = None if _is_address(host) else host.encode("ascii")
        self._context = context

    def clientConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        return self.connection(tlsProtocol, None)

    def connection(self, transport: Any, sock: Any) -> SSL.Connection:
        """One for *transport*, whose `failVerification` is told why a certificate is not good enough."""
        made = SSL.Connection(self._context, sock)
        made.set_app_data(transport)
        if self._name is not None:
            made.set_tlsext_host_name(self._name)
        return made


def _belonging_to(host: str) -> Any:
    """What OpenSSL asks about each certificate of a chain: its own opinion counts, and the peer's own is *host*'s."""
    verify = verify_certificate_ip_address if _is_address(host) else verify_certificate_hostname

    def accept(connection: SSL.Connection, certificate: crypto.X509, code: int, depth: int, fine: int) -> bool:
        if not fine or depth > 0:
            return bool(fine)
        try:
            verify(certificate.to_cryptography(), host)
        except Exception:  # besides VerificationError: a certificate that cannot be understood
            connection.get_app_data().failVerification(Failure())
            return False
        return True

    return accept


def _pinned(fingerprint: str) -> Any:
    """What OpenSSL asks about each certificate of a chain, the peer's own at last; its own opinion does not count."""

    def accept(connection: SSL.Connection, certificate: crypto.X509, code: int, depth: int, fine: int) -> bool:
        return depth > 0 or certificate.to_cryptography().fingerprint(SHA256()).hex() == fingerprint

    return accept


def _is_address(host: str) -> bool:
    return ":" in host or host.replace(".", "").isdigit()


@frozen
class _Own:
    """The certificate that we show, and its key."""

    certificates: list[x509.Certificate]  # first ours, then those that vouch for it
    key: Any

    def show(self, context: SSL.Context) -> None:
        own, *chain = self.certificates
        context.use_certificate(own)
        for certificate in chain:
            context.add_extra_chain_cert(certificate)
        context.use_privatekey(self.key)


def _own_certificate(settings: ClientTlsSettings) -> _Own | None:
    if settings.certfile is None:
        return None
    certificates = _certificates(settings.certfile)
    path = settings.keyfile or settings.certfile
    try:
        key = serialization.load_pem_private_key(_read(path), password=None)
    except (TypeError, ValueError, UnsupportedAlgorithm) as error:
        raise ConfigurationError(f"{path}: no private key in PEM form without a password") from error
    if _public_bytes(key.public_key()) != _public_bytes(certificates[0].public_key()):
        raise ConfigurationError(f"{path}: not the key of the certificate in {settings.certfile}")
    return _Own(certificates, key)


def _public_bytes(key: Any) -> bytes:
    encoded: bytes = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return encoded


def _certificates(path: Path) -> list[x509.Certificate]:
    try:
        found = x509.load_pem_x509_certificates(_read(path))
    except ValueError as error:
        raise ConfigurationError(f"{path}: no certificates in PEM form") from error
    if not found:
        raise ConfigurationError(f"{path}: no certificates in PEM form")
    return found


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}") from error
