"""``[coordination]``."""

from __future__ import annotations

from pathlib import Path

import pytest

from glancetx.config.loading import load_settings
from glancetx.config.settings import CoordinationSettings
from glancetx.domain.errors import ConfigurationError


def coordination(folder: Path, text: str) -> CoordinationSettings:
    path = folder / "glance-api.conf"
    path.write_text(f"[coordination]\n{text}\n")
    return load_settings([path], data_dir=folder).coordination


def test_by_the_database(tmp_path: Path) -> None:
    """Nothing else is asked for unless that is said."""
    assert coordination(tmp_path, "") == CoordinationSettings(backend_url=None, lease=18.0)


def test_by_etcd(tmp_path: Path) -> None:
    """The URL is tooz's, and may hold what nobody should read."""
    found = coordination(
        tmp_path, "backend_url = etcd3+https://host:2379?ca_cert=/ca.pem\nlease = 30\nnamespace = east"
    )
    assert found.backend_url == "etcd3+https://host:2379?ca_cert=/ca.pem"
    assert (found.lease, found.namespace) == (30.0, "east")
    assert "host" not in repr(found)


@pytest.mark.parametrize(
    "text",
    [
        "backend_url = redis://host:6379",  # a lock there may be lost without a word
        "backend_url = etcd3+http://",
        "backend_url = etcd3+http://host:port",
        "lease = 1",
        "namespace = a/b",
    ],
)
def test_wrong(tmp_path: Path, text: str) -> None:
    """What cannot work is refused at the start."""
    with pytest.raises(ConfigurationError, match=r"coordination|lease"):
        coordination(tmp_path, text)
