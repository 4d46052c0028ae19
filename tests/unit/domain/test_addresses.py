"""What a URL must look like to be fetched, and which addresses may be connected to."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from glancetx.domain.addresses import FetchRules, is_public, parse_target
from glancetx.domain.errors import UrlRefused
from tests.hostile import HOSTILE_URLS

OPEN = FetchRules(allowed_ports=())
NOT_PUBLIC = """
    0.0.0.0 0.0.0.1 10.0.0.1 10.255.255.255 100.64.0.1 100.100.100.200 127.0.0.1 127.255.255.254 168.63.129.16
    169.254.0.1 169.254.169.254 169.254.170.2 172.16.0.1 172.31.255.255 192.0.0.1 192.0.0.192 192.0.2.1 192.88.99.1
    192.168.0.1 198.18.0.1 198.19.255.255 198.51.100.1 203.0.113.1 224.0.0.1 239.255.255.250 240.0.0.1
    255.255.255.255
    :: ::1 ::7f00:1 ::ffff:127.0.0.1 ::ffff:8.8.8.8 ::ffff:0:127.0.0.1 64:ff9b::7f00:1 64:ff9b::a9fe:a9fe
    64:ff9b:1::1 100::1 2001::1 2001:0:4136:e378:8000:63bf:3fff:fdd2 2001:db8::1 2002:7f00:1:: 2002:c0a8:101::1
    3fff::1 fc00::1 fd00:ec2::254 fd20:ce::254 fe80::1 fe80::1%lo fec0::1 ff02::1 2a00:1450::5efe:7f00:1
    2a00:1450::200:5efe:c0a8:1 5f00::1
"""
PUBLIC = """
    8.8.8.8 1.1.1.1 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.0 168.63.129.17
    169.253.255.255 169.255.0.0 172.15.255.255 172.32.0.0 192.167.255.255 192.169.0.0 198.17.255.255 198.20.0.0
    223.255.255.255 2001:4860:4860::8888 2600:: 2a00:1450:4001:82f::200e 64:ff9b::808:808
"""


@pytest.mark.parametrize("text", NOT_PUBLIC.split())
def test_not_public(text: str) -> None:
    """Addresses that lead inside, or stand for one that does."""
    assert not is_public(ip_address(text))


@pytest.mark.parametrize("text", PUBLIC.split())
def test_public(text: str) -> None:
    """Addresses of the public internet, up to the borders of the others."""
    assert is_public(ip_address(text))


@pytest.mark.parametrize("url", [url.format(port=8080) for url in HOSTILE_URLS])
def test_hostile(url: str) -> None:
    """No way to write an inside address is let through, whatever the port; names are judged when they are looked up."""
    with pytest.raises(UrlRefused):
        OPEN.admit(url)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://example.org", "http://example.org/"),
        ("HTTPS://Example.ORG.:443/A?b#c", "https://example.org/A?b"),
        ("http://example.org:8080/%41/ä?ö=1", "http://example.org:8080/%41/%C3%A4?%C3%B6=1"),
        ("http://1.1.1.1/x", "http://1.1.1.1/x"),
        ("https://[2001:4860:4860:0::8888]/", "https://[2001:4860:4860::8888]/"),
        ("http://me:se%20cret@example.org/x", "http://example.org/x"),
        ("http://example.org?x", "http://example.org/?x"),
    ],
)
def test_parse(url: str, shown: str) -> None:
    """What is fetched, and that it shows no credentials."""
    assert parse_target(url).url == shown


def test_credentials() -> None:
    """Credentials are decoded, and hidden where the target is shown."""
    target = parse_target("http://me:se%20cret@example.org:81/x")
    assert (target.user, target.password, target.authority) == ("me", "se cret", "example.org:81")
    assert "cret" not in repr(target)


@pytest.mark.parametrize(
    ("rules", "url", "admitted"),
    [
        ({}, "http://example.org/", True),
        ({}, "https://example.org:443/", True),
        ({}, "http://example.org:8080/", False),
        ({"allowed_ports": ()}, "http://example.org:8080/", True),
        ({"allowed_ports": (), "disallowed_ports": (8080,)}, "http://example.org:8080/", False),
        ({"allowed_ports": (80,), "disallowed_ports": (80,)}, "http://example.org/", True),
        ({"allowed_schemes": ("https",)}, "http://example.org/", False),
        ({"allowed_schemes": (), "disallowed_schemes": ("http",)}, "http://example.org/", False),
        ({"allowed_schemes": (), "disallowed_schemes": ("http",)}, "https://example.org/", True),
        ({"allowed_hosts": ("Example.org.",)}, "http://example.ORG/", True),
        ({"allowed_hosts": ("example.org",)}, "http://www.example.org/", False),
        ({"disallowed_hosts": ("example.org",)}, "http://EXAMPLE.org./", False),
        ({"allowed_hosts": ("127.0.0.1",)}, "http://127.0.0.1/", True),
        ({"allowed_hosts": ("[::1]",)}, "http://[0::0:1]/", True),
        ({"allowed_hosts": ("127.0.0.1",)}, "http://127.0.0.2/", False),
        ({"allowed_networks": ("10.1.0.0/16", "fd00::/8")}, "http://10.1.2.3/", True),
        ({"allowed_networks": ("10.1.0.0/16", "fd00::/8")}, "http://[fd00::1]/", True),
        ({"allowed_networks": ("10.1.0.0/16", "fd00::/8")}, "http://10.2.2.3/", False),
        ({"allowed_networks": ("127.0.0.0/8",)}, "http://[::ffff:127.0.0.1]/", False),
    ],
)
def test_rules(rules: dict[str, tuple[str, ...]], url: str, admitted: bool) -> None:
    """The lists of the operator."""
    made = FetchRules(**rules)  # type: ignore[arg-type]
    if admitted:
        assert made.admit(url)
    else:
        with pytest.raises(UrlRefused):
            made.admit(url)


@pytest.mark.parametrize(
    ("addresses", "admitted"),
    [
        (["1.1.1.1", "2001:4860:4860::8888"], True),
        (["1.1.1.1", "127.0.0.1"], False),
        (["::1"], False),
        ([], False),
    ],
)
def test_judge(addresses: list[str], admitted: bool) -> None:
    """A name is as good as the worst of its addresses."""
    found = [ip_address(text) for text in addresses]
    if admitted:
        assert OPEN.judge(parse_target("http://example.org/"), found) == found
    else:
        with pytest.raises(UrlRefused) as caught:
            OPEN.judge(parse_target("http://example.org/"), found)
        assert "127.0.0.1" not in str(caught.value)


def test_named_host() -> None:
    """A name that the operator allows may have an inside address."""
    rules = FetchRules(allowed_hosts=("mirror.internal",))
    found = [ip_address("10.0.0.1")]
    assert rules.judge(rules.admit("http://mirror.internal/"), found) == found
