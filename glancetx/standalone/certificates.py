"""A certificate authority of our own and the server certificate it signs, kept as PEM files and renewed in time.

Keys stay when certificates are renewed: each renewal replaces one file, so a crash never leaves a certificate
beside a key that is not its own.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from attrs import frozen
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from glancetx.domain.errors import ConfigurationError
from glancetx.runtime.failpoints import reach
from glancetx.runtime.safe_files import make_folder, replace_file

CA_DAYS: Final = 3652
SERVER_DAYS: Final = 397  # clients refuse certificates that are valid for longer
RENEW_DAYS: Final = 30  # left, when a new certificate is made
SKEW: Final = timedelta(minutes=10)  # by which a client's clock may be late

PublicKey = ec.EllipticCurvePublicKey
PrivateKey = ec.EllipticCurvePrivateKey


@frozen(kw_only=True)
class CertificateFiles:
    """Where the PEM files are. *certificate* holds the chain: the server's certificate, then the authority's."""

    ca: Path
    ca_key: Path
    certificate: Path
    key: Path
    warnings: tuple[str, ...] = ()


def server_names(*more: str) -> list[str]:
    """The names and addresses under which this machine's service is reached, without repetition."""
    names = ["localhost", "127.0.0.1", "::1", socket.gethostname(), *more]
    return list(dict.fromkeys(name.lower() for name in names if name and name.isascii()))


def prepare_certificates(folder: Path, names: Iterable[str], now: datetime | None = None) -> CertificateFiles:
    """Make what is missing in *folder*, and renew what ends soon or does not cover *names*.

    An authority whose key was taken away keeps working until its server certificate ends; a warning tells so.
    The caller holds a lock.

    :raises ConfigurationError: if a file cannot be understood, or a certificate is needed and cannot be signed.
    """
    now = now or datetime.now(UTC)
    make_folder(folder)
    authority = _Authority(folder / "ca.pem", folder / "ca.key", now)
    key = load_or_make_key(folder / "server.key")
    reach("first_start.server_key")
    path = folder / "server.pem"
    warnings: tuple[str, ...] = ()
    reason = why_renew(path, authority.certificate, key.public_key(), names, now)
    if reason and authority.key is not None:
        chain = [authority.sign(key.public_key(), names), authority.certificate]
        replace_file(path, b"".join(map(to_pem, chain)), 0o644)
        reach("first_start.server_certificate")
    elif reason:
        warnings = (f"The certificate {path} {reason}, and {authority.key_path} is not there to make a new one.",)
    return CertificateFiles(
        ca=authority.path, ca_key=authority.key_path, certificate=path, key=folder / "server.key", warnings=warnings
    )


def why_renew(
    path: Path, authority: x509.Certificate, key: PublicKey, names: Iterable[str], now: datetime
) -> str | None:
    """What is wrong with the server certificate at *path*; None if nothing is."""
    if not path.exists():
        return "does not exist"
    try:
        certificate = x509.load_pem_x509_certificates(path.read_bytes())[0]
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return "is not one of our authority's"
    if certificate.public_key() != key:
        return "is not for our key"
    if certificate.not_valid_after_utc - now < timedelta(days=RENEW_DAYS):
        return f"ends on {certificate.not_valid_after_utc:%Y-%m-%d}"
    if certificate.not_valid_before_utc > now:
        return "is not valid yet"
    covered = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    missing = [name for name in names if general_name(name) not in covered]
    return f"does not name {', '.join(missing)}" if missing else None


class _Authority:
    """The certificate authority; made, or renewed with its old key, if it must be.

    *key* is None if somebody took it away, which is a wise thing to do.
    """

    def __init__(self, path: Path, key_path: Path, now: datetime) -> None:
        self.path, self.key_path, self._now = path, key_path, now
        self.key: PrivateKey | None = None
        if key_path.exists() or not path.exists():
            self.key = load_or_make_key(key_path)
            reach("first_start.ca_key")
        self.certificate = self._certificate()

    def _certificate(self) -> x509.Certificate:
        if self.path.exists():
            try:
                found = x509.load_pem_x509_certificate(self.path.read_bytes())
            except ValueError as error:
                raise ConfigurationError(f"{self.path} is not a certificate") from error
            if self.key is None or self._good(found):
                return found
        made = self._make()
        replace_file(self.path, to_pem(made), 0o644)
        reach("first_start.ca_certificate")
        return made

    def _good(self, found: x509.Certificate) -> bool:
        """Whether it is the key's, and outlives the next server certificate."""
        assert self.key is not None
        left = found.not_valid_after_utc - self._now
        return found.public_key() == self.key.public_key() and left > timedelta(days=SERVER_DAYS + RENEW_DAYS)

    def _make(self) -> x509.Certificate:
        assert self.key is not None
        public = self.key.public_key()
        name = _name(f"glancetx authority of {socket.gethostname()}"[:64])
        builder = _builder(name, name, public, self._now, CA_DAYS)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        builder = builder.add_extension(_key_usage(signs_certificates=True), critical=True)
        return builder.sign(self.key, hashes.SHA256())

    def sign(self, key: PublicKey, names: Iterable[str]) -> x509.Certificate:
        """A server certificate for these names and addresses, for a little more than a year."""
        assert self.key is not None
        issuer = self.certificate
        own = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        alternatives = x509.SubjectAlternativeName([general_name(name) for name in names])
        builder = _builder(_name("glancetx"), issuer.subject, key, self._now, SERVER_DAYS)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(_key_usage(signs_certificates=False), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        builder = builder.add_extension(own, critical=False)
        builder = builder.add_extension(alternatives, critical=False)
        return builder.sign(self.key, hashes.SHA256())


def load_or_make_key(path: Path) -> PrivateKey:
    """The P-256 key at *path*. :raises ConfigurationError: if there is something else."""
    if not path.exists():
        key = ec.generate_private_key(ec.SECP256R1())
        form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        replace_file(path, key.private_bytes(*form))
        return key
    try:
        found = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (ValueError, TypeError) as error:
        raise ConfigurationError(f"{path} is not a private key") from error
    if not isinstance(found, ec.EllipticCurvePrivateKey):
        raise ConfigurationError(f"{path} is not an elliptic curve key")
    return found


def general_name(name: str) -> x509.GeneralName:
    """An IP address or a DNS name, as certificates tell them apart."""
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def to_pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: PublicKey, now: datetime, days: int
) -> x509.CertificateBuilder:
    return x509.CertificateBuilder(
        issuer_name=issuer,
        subject_name=subject,
        public_key=key,
        serial_number=x509.random_serial_number(),
        not_valid_before=now - SKEW,
        not_valid_after=now - SKEW + timedelta(days=days),
    ).add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
