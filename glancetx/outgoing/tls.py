"""Whom we trust when we connect by TLS, and what certificate we show."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.hashes import SHA256
from OpenSSL import SSL, crypto
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import Certificate, optionsForClientTLS, platformTrust, trustRootFromCertificates
from twisted.web.iweb import IPolicyForHTTPS
from zope.interface import implementer

from glancetx.config.settings import ClientTlsSettings
from glancetx.domain.errors import ConfigurationError

REMEMBERED_HOSTS: Final = 64


@implementer(IPolicyForHTTPS)
class TlsPolicy:
    """For twisted's Agent: peers are verified, by *cafile* or by the system's authorities, unless *insecure*.
    With a *fingerprint*, the certificate that has it is accepted, and no other.

    TLS 1.2 is the least. Files are read at once; a renewed one needs a restart.

    :raises ConfigurationError: if a file cannot be used.
    """

    def __init__(self, settings: ClientTlsSettings) -> None:
        self._unverified, self._fingerprint = settings.insecure or bool(settings.fingerprint), settings.fingerprint
        self._trust = platformTrust() if settings.cafile is None else _authorities(settings.cafile)
        self._own = _own_certificate(settings)
        self._creators: dict[str, Any] = {}

    def creatorForNetloc(self, hostname: bytes, port: int) -> Any:
        """What makes the connections to this host."""
        host = hostname.decode("ascii")
        creator = self._creators.get(host)
        if creator is None:
            while len(self._creators) >= REMEMBERED_HOSTS:
                del self._creators[next(iter(self._creators))]
            creator = self._creators[host] = self._make(host)
        return creator

    def _make(self, host: str) -> Any:
        if self._unverified:
            return _Unverified(host, self._own, self._fingerprint)
        return optionsForClientTLS(host, trustRoot=self._trust, extraCertificateOptions=dict(self._own))


@implementer(IOpenSSLClientConnectionCreator)
class _Unverified:
    """Connections to a peer that may be anybody or, with a *fingerprint*, whoever has that certificate's key."""

    def __init__(self, host: str, own: dict[str, Any], fingerprint: str | None = None) -> None:
        self._name = None if _is_address(host) else host.encode("ascii")
        self._context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        self._context.set_min_proto_version(SSL.TLS1_2_VERSION)
        if fingerprint is not None:
            self._context.set_verify(SSL.VERIFY_PEER, _pinned(fingerprint))
        if own:
            self._context.use_certificate(own["certificate"])
            for certificate in own["extraCertChain"]:
                self._context.add_extra_chain_cert(certificate)
            self._context.use_privatekey(own["privateKey"])

    def clientConnectionForTLS(self, tlsProtocol: Any) -> SSL.Connection:
        connection = SSL.Connection(self._context, None)
        if self._name is not None:
            connection.set_tlsext_host_name(self._name)
        return connection


def _pinned(fingerprint: str) -> Any:
    """What OpenSSL asks about each certificate of a chain, the peer's own at last; its own opinion does not count."""

    def accept(connection: SSL.Connection, certificate: crypto.X509, code: int, depth: int, fine: int) -> bool:
        return depth > 0 or certificate.to_cryptography().fingerprint(SHA256()).hex() == fingerprint

    return accept


def _is_address(host: str) -> bool:
    return ":" in host or host.replace(".", "").isdigit()


def _authorities(path: Path) -> Any:
    return trustRootFromCertificates(Certificate(crypto.X509.from_cryptography(each)) for each in _certificates(path))


def _own_certificate(settings: ClientTlsSettings) -> dict[str, Any]:
    """Options of twisted's CertificateOptions; none if we show no certificate."""
    if settings.certfile is None:
        return {}
    own, *chain = _certificates(settings.certfile)
    path = settings.keyfile or settings.certfile
    try:
        key = serialization.load_pem_private_key(_read(path), password=None)
    except (TypeError, ValueError, UnsupportedAlgorithm) as error:
        raise ConfigurationError(f"{path}: no private key in PEM form without a password") from error
    if _public_bytes(key.public_key()) != _public_bytes(own.public_key()):
        raise ConfigurationError(f"{path}: not the key of the certificate in {settings.certfile}")
    return {"certificate": own, "privateKey": key, "extraCertChain": chain}


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
