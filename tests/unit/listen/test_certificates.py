"""Which certificate files can be used, what is said of the others, and what a reload keeps."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from twisted.logger import capturedLogs

from glancetx.config.settings import TlsSettings
from glancetx.domain.errors import ConfigurationError
from glancetx.listen import Certificates
from glancetx.standalone.certificates import prepare_certificates


@pytest.fixture
def tls(tmp_path: Path) -> TlsSettings:
    files = prepare_certificates(tmp_path, ["localhost"])
    return TlsSettings(certificate=files.certificate, key=files.key, client_ca=files.ca)


def path(found: Path | None) -> Path:
    assert found is not None
    return found


def test_one_file(tmp_path: Path, tls: TlsSettings) -> None:
    """Key and certificate may be in one file."""
    both = tmp_path / "both.pem"
    both.write_bytes(path(tls.key).read_bytes() + path(tls.certificate).read_bytes())
    assert Certificates(TlsSettings(certificate=both)).context


def test_folder_of_authorities(tmp_path: Path, tls: TlsSettings) -> None:
    """Authorities of clients may be the files of a folder; other files there do not count."""
    folder = tmp_path / "cas"
    folder.mkdir()
    (folder / "README").write_text("no certificate")
    settings = TlsSettings(certificate=tls.certificate, key=tls.key, client_ca=folder)
    with pytest.raises(ConfigurationError, match="no certificates of client authorities"):
        _ = Certificates(settings).context
    (folder / "one.pem").write_bytes(path(tls.client_ca).read_bytes())
    assert Certificates(settings).context


@pytest.mark.parametrize("which", ["certificate", "key", "client_ca"])
@pytest.mark.parametrize("content", [None, "", "junk"])
def test_unusable(tls: TlsSettings, which: str, content: str | None) -> None:
    """The file that is missing, empty or something else is named."""
    file: Path = getattr(tls, which)
    file.unlink()
    if content is not None:
        file.write_text(content)
    with pytest.raises(ConfigurationError, match=file.name):
        _ = Certificates(tls).context


def test_encrypted_key(tls: TlsSettings) -> None:
    """Nobody is asked for a password."""
    key = ec.generate_private_key(ec.SECP256R1())
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8)
    path(tls.key).write_bytes(key.private_bytes(*form, serialization.BestAvailableEncryption(b"x")))
    with pytest.raises(ConfigurationError, match="encrypted"):
        _ = Certificates(tls).context


def test_foreign_key(tls: TlsSettings) -> None:
    """A key of another certificate is refused."""
    key = ec.generate_private_key(ec.SECP256R1())
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path(tls.key).write_bytes(key.private_bytes(*form))
    with pytest.raises(ConfigurationError, match=r"server\.pem and key .*server\.key"):
        _ = Certificates(tls).context


def test_reload(tls: TlsSettings) -> None:
    """A good file makes a new context; a broken one is logged, and the old context stays."""
    certificates = Certificates(tls)
    first = certificates.context
    assert certificates.context is first
    certificates.reload()
    second = certificates.context
    assert second is not first
    path(tls.certificate).write_text("junk")
    with capturedLogs() as events:
        certificates.reload()
    assert certificates.context is second
    assert "the old certificate stays in use" in events[0]["log_format"]
