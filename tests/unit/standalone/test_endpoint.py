"""From listening to the clients' URL."""

from __future__ import annotations

import pytest

from glancetx.domain.errors import ConfigurationError
from glancetx.standalone.endpoint import endpoint_url


@pytest.mark.parametrize(
    ("listen", "url"),
    [
        ("ssl:9292:interface=127.0.0.1", "https://127.0.0.1:9292"),
        ("tcp:9292:interface=127.0.0.1", "http://127.0.0.1:9292"),
        ("ssl:port=9293:interface=192.0.2.1:privateKey=k.pem", "https://192.0.2.1:9293"),
        ("tls:9292", "https://127.0.0.1:9292"),
        ("tcp:80:interface=0.0.0.0", "http://127.0.0.1:80"),
        (r"ssl:9292:interface=\:\:1", "https://[::1]:9292"),
        (r"tcp6:9292:interface=\:\:", "http://[::1]:9292"),
    ],
)
def test_an_endpoint_has_a_url(listen: str, url: str) -> None:
    """Where anybody may come in, clients of this machine use its own address."""
    assert endpoint_url(listen) == url


@pytest.mark.parametrize("listen", ["unix:/run/x", "systemd:domain=INET:index=0", "tcp:http", "tcp", ""])
def test_others_have_none(listen: str) -> None:
    """A socket without a port of its own has no URL."""
    with pytest.raises(ConfigurationError):
        endpoint_url(listen)
