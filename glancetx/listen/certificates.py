"""The server's certificate and what TLS may be spoken with it. A renewed certificate is read by `Certificates.reload`.

The rules are Mozilla's "intermediate" profile: TLS 1.2 and 1.3, forward secrecy and authenticated encryption only.
Twisted's CertificateOptions cannot name curves, exchange its certificate or forbid renegotiation.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from OpenSSL import SSL, crypto
from twisted.logger import Logger

from glancetx.config.settings import TlsSettings
from glancetx.domain.errors import ConfigurationError
from glancetx.runtime.tls_sockets import write_whole_pieces

# No DHE: every client of TLS 1.2 that knows GCM knows ECDHE, and there are no parameters to look after.
CIPHERS = ":".join(
    (
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "ECDHE-RSA-AES128-GCM-SHA256",
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "ECDHE-RSA-AES256-GCM-SHA384",
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        "ECDHE-RSA-CHACHA20-POLY1305",
    )
)
GROUPS = b"X25519:prime256v1:secp384r1"
HTTP = b"http/1.1"


class Certificates:
    """The context of new TLS connections. Connections which exist keep the one they began with."""

    def __init__(self, settings: TlsSettings) -> None:
        self._log = Logger()
        self._settings = settings
        self._context: SSL.Context | None = None

    @property
    def context(self) -> SSL.Context:
        """Loaded at the first use.

        :raises ConfigurationError: if that does not work.
        """
        if self._context is None:
            self._context = make_context(self._settings)
        return self._context

    def reload(self) -> None:
        """Read the files again; if they are not usable, say so in the log and keep what there was."""
        try:
            self._context = make_context(self._settings)
        except ConfigurationError as error:
            self._log.error("the old certificate stays in use: {error}", error=error)
        else:
            self._log.info("loaded the certificate {path}", path=str(self._settings.certificate))


def make_context(settings: TlsSettings) -> SSL.Context:
    """A server's context as *settings* say.

    :raises ConfigurationError: if a file cannot be read, or key and certificate do not belong together.
    """
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    # No tickets and no session cache: a stolen ticket key would open recorded connections, and handshakes are cheap.
    context.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_NO_TICKET | SSL.OP_NO_RENEGOTIATION)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)  # 34 KiB for each idle connection
    write_whole_pieces(context)
    context.set_cipher_list(CIPHERS.encode())
    _limit_groups(context)
    context.set_alpn_select_callback(_choose_protocol)
    context.set_session_id(b"glancetx")
    _use_certificate(context, settings)
    if settings.client_ca is not None:
        _ask_for_certificates(context, settings.client_ca, settings.client_certificate_required)
    return context


def _limit_groups(context: SSL.Context) -> None:
    """pyOpenSSL has no public call for this. Without it OpenSSL's own list applies, which is good but longer."""
    choose = getattr(getattr(SSL, "_lib", None), "SSL_CTX_set1_curves_list", None)
    if choose is not None:
        choose(context._context, GROUPS)


def _choose_protocol(connection: SSL.Connection, offered: Sequence[bytes]) -> Any:
    return HTTP if HTTP in offered else SSL.NO_OVERLAPPING_PROTOCOLS


def _use_certificate(context: SSL.Context, settings: TlsSettings) -> None:
    certificate, key = settings.certificate, settings.key or settings.certificate
    if certificate is None or key is None:
        raise ConfigurationError("TLS needs a certificate")
    _read(certificate)  # OpenSSL's own complaint about a missing file does not name it
    private: Any = _private_key(key)
    try:
        context.use_certificate_chain_file(str(certificate))
        context.use_privatekey(private)
        context.check_privatekey()
    except SSL.Error as error:
        raise ConfigurationError(f"certificate {certificate} and key {key}: {_reason(error)}") from error


def _private_key(path: Path) -> object:
    try:
        return serialization.load_pem_private_key(_read(path), password=None)
    except TypeError as error:
        raise ConfigurationError(f"{path}: the key is encrypted; there is nobody to ask for its password") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ConfigurationError(f"{path}: no private key in PEM form") from error


def _ask_for_certificates(context: SSL.Context, authority: Path, required: bool) -> None:
    store = context.get_cert_store()
    for certificate in _authorities(authority):
        if store is not None:
            store.add_cert(crypto.X509.from_cryptography(certificate))
        context.add_client_ca(certificate)
    context.set_verify(SSL.VERIFY_PEER | (SSL.VERIFY_FAIL_IF_NO_PEER_CERT if required else 0))


def _authorities(path: Path) -> Iterator[x509.Certificate]:
    """The certificates of a PEM file, or of all ``*.pem`` and ``*.crt`` files of a folder."""
    files = sorted(file for file in path.iterdir() if file.suffix in (".pem", ".crt")) if path.is_dir() else [path]
    found = 0
    for file in files:
        try:
            certificates = x509.load_pem_x509_certificates(_read(file))
        except ValueError as error:
            raise ConfigurationError(f"{file}: no certificates in PEM form") from error
        found += len(certificates)
        yield from certificates
    if not found:
        raise ConfigurationError(f"{path}: no certificates of client authorities")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}") from error


def _reason(error: SSL.Error) -> str:
    """The last of OpenSSL's reasons, which is the most particular one."""
    return str(error.args[0][-1][-1]) if error.args and error.args[0] else "not usable"
