"""The authority, the server certificate, and their renewal."""

from __future__ import annotations

import socket
import ssl
import stat
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from glancetx.domain.errors import ConfigurationError
from glancetx.standalone.certificates import CertificateFiles, prepare_certificates, server_names

NOW = datetime.now(UTC)
NAMES = server_names()


def handshake(files: CertificateFiles, name: str, ca: Path | None = None) -> str | None:
    """The TLS version that a strict client and a server with these files agree on, over a real socket pair."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(files.certificate, files.key)
    client = ssl.create_default_context(cafile=str(ca or files.ca))
    client.verify_flags |= ssl.VerifyFlags.VERIFY_X509_STRICT
    ours, theirs = socket.socketpair()

    def serve() -> None:
        try:
            with server.wrap_socket(theirs, server_side=True) as wrapped:
                wrapped.recv(1)
        except OSError:
            theirs.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with client.wrap_socket(ours, server_hostname=name) as wrapped:
            return wrapped.version()
    finally:
        ours.close()
        thread.join()


def load(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificates(path.read_bytes())[0]


@pytest.fixture
def files(tmp_path: Path) -> CertificateFiles:
    return prepare_certificates(tmp_path / "tls", NAMES, NOW)


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "::1", socket.gethostname()])
def test_a_strict_client_trusts_the_server(files: CertificateFiles, name: str) -> None:
    """By each name of this machine, as Python 3.13 checks by default."""
    assert handshake(files, name) == "TLSv1.3"


def test_other_names_and_authorities_are_not_trusted(files: CertificateFiles, tmp_path: Path) -> None:
    """The certificate proves nothing else."""
    with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
        handshake(files, "example.org")
    other = prepare_certificates(tmp_path / "other", NAMES, NOW)
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(files, "localhost", ca=other.ca)


def test_keys_are_the_owner_s_alone(files: CertificateFiles) -> None:
    """Nobody else reads them, or sees their folder."""
    assert [stat.S_IMODE(path.stat().st_mode) for path in (files.key, files.ca_key)] == [0o600, 0o600]
    assert stat.S_IMODE(files.key.parent.stat().st_mode) == 0o700


def test_lifetimes(files: CertificateFiles) -> None:
    """Ten years for the authority, at most 397 days for the server; both are valid already."""
    for path, days in ((files.ca, 3652), (files.certificate, 397)):
        found = load(path)
        assert found.not_valid_after_utc - found.not_valid_before_utc == timedelta(days=days)
        assert found.not_valid_before_utc < NOW


def test_the_chain_is_in_one_file(files: CertificateFiles) -> None:
    """First the server's certificate, then the authority's."""
    chain = x509.load_pem_x509_certificates(files.certificate.read_bytes())
    assert len(chain) == 2
    assert chain[1] == load(files.ca)


def test_a_second_time_changes_nothing(files: CertificateFiles) -> None:
    """Good files are left alone."""
    before = {path: path.read_bytes() for path in files.key.parent.iterdir()}
    prepare_certificates(files.key.parent, NAMES, NOW + timedelta(days=300))
    assert before == {path: path.read_bytes() for path in files.key.parent.iterdir()}


def test_the_certificate_is_renewed_a_month_before_its_end(files: CertificateFiles) -> None:
    """The keys and the authority stay, so clients need not be told."""
    authority, key, old = files.ca.read_bytes(), files.key.read_bytes(), load(files.certificate)
    later = NOW + timedelta(days=370)
    prepare_certificates(files.key.parent, NAMES, later)
    new = load(files.certificate)
    assert new.not_valid_after_utc > later + timedelta(days=390)
    assert new.serial_number != old.serial_number
    assert (files.ca.read_bytes(), files.key.read_bytes()) == (authority, key)


def test_the_authority_is_renewed_with_its_key(files: CertificateFiles) -> None:
    """Long before its end, and clients that have the old certificate still trust what it signed."""
    old = load(files.ca)
    prepare_certificates(files.key.parent, NAMES, NOW + timedelta(days=3400))
    new, server = load(files.ca), load(files.certificate)
    assert new.not_valid_after_utc > server.not_valid_after_utc
    assert new.public_key() == old.public_key()
    server.verify_directly_issued_by(old)
    server.verify_directly_issued_by(new)


def test_a_new_name_is_added(files: CertificateFiles) -> None:
    """When the machine or its address is called otherwise now."""
    prepare_certificates(files.key.parent, [*NAMES, "images.example.org", "192.0.2.7"], NOW)
    assert handshake(files, "images.example.org")
    assert handshake(files, "192.0.2.7")


@pytest.mark.parametrize("lost", ["server.key", "server.pem", "ca.pem"])
def test_what_is_lost_is_made_again(files: CertificateFiles, lost: str) -> None:
    """All fits together afterwards."""
    (files.key.parent / lost).unlink()
    prepare_certificates(files.key.parent, NAMES, NOW)
    assert handshake(files, "localhost")


def test_another_authority_s_certificate_is_replaced(files: CertificateFiles, tmp_path: Path) -> None:
    """Such as one copied from another machine."""
    other = prepare_certificates(tmp_path / "other", NAMES, NOW)
    files.certificate.write_bytes(other.certificate.read_bytes())
    prepare_certificates(files.key.parent, NAMES, NOW)
    assert handshake(files, "localhost")


def test_an_authority_without_its_key_goes_on(files: CertificateFiles) -> None:
    """Its key may be kept elsewhere: nothing changes, and a warning comes when a certificate is needed."""
    files.ca_key.unlink()
    assert prepare_certificates(files.key.parent, NAMES, NOW).warnings == ()
    (warning,) = prepare_certificates(files.key.parent, NAMES, NOW + timedelta(days=370)).warnings
    assert "ca.key is not there" in warning
    assert not files.ca_key.exists()
    assert handshake(files, "localhost")


@pytest.mark.parametrize("name", ["ca.key", "ca.pem", "server.key"])
def test_a_damaged_file_is_named(files: CertificateFiles, name: str) -> None:
    """It is not silently replaced: somebody may want to know, or have a copy."""
    (files.key.parent / name).write_text("damaged")
    with pytest.raises(ConfigurationError, match=name):
        prepare_certificates(files.key.parent, NAMES, NOW)


def test_names_are_told_once() -> None:
    """What an endpoint names may be among the usual names already."""
    names = server_names("127.0.0.1", "LOCALHOST", "", "images.example.org")
    assert len(names) == len(set(names))
    assert names[-1] == "images.example.org"
