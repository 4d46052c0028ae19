"""Reading what proxies say, and which codings clients accept."""

from __future__ import annotations

import pytest
from twisted.web.server import Request
from twisted.web.test.requesthelper import DummyChannel

from glancetx.web.middleware import accepts_gzip, seen


def request(**headers: str) -> Request:
    made = Request(DummyChannel(), False)
    for name, value in {"host": "here.example", **headers}.items():
        made.requestHeaders.addRawHeader(name.replace("_", "-"), value)
    return made


@pytest.mark.parametrize(
    ("headers", "url"),
    [
        ({}, "http://here.example"),
        ({"x_forwarded_proto": "https"}, "https://here.example"),
        ({"x_forwarded_host": "there.example:81", "x_forwarded_prefix": "/a/b/"}, "http://there.example:81/a/b"),
        ({"x_forwarded_host": "[fe80::1]:81"}, "http://[fe80::1]:81"),
        ({"forwarded": 'For="[::1]"; Host="there.example"; proto=https'}, "https://there.example"),
        ({"forwarded": "host=one.example, host=two.example"}, "http://one.example"),
        ({"x_forwarded_host": "evil.example/path"}, "http://here.example"),
        ({"x_forwarded_host": 'a"><script>'}, "http://here.example"),
        ({"x_forwarded_prefix": "//evil.example"}, "http://here.example"),
        ({"x_forwarded_prefix": "/a?b"}, "http://here.example"),
        ({"x_forwarded_proto": "javascript"}, "http://here.example"),
        ({"forwarded": ";;;=,="}, "http://here.example"),
    ],
)
def test_seen(headers: dict[str, str], url: str) -> None:
    """What makes sense is believed, if we are to believe."""
    assert seen(request(**headers), believing=True).url == url
    assert seen(request(**headers), believing=False).url == "http://here.example"


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        ("gzip", True),
        ("deflate, gzip;q=0.5", True),
        ("GZIP ; q=1", True),
        ("x-gzip", True),
        ("", False),
        ("*", False),
        ("gzip;q=0", False),
        ("gzip;q=0.000", False),
        ("gzipped", False),
        ("identity", False),
        (";;,,gzip;x", False),
    ],
)
def test_accepts_gzip(accept: str, wanted: bool) -> None:
    """Who names gzip, and does not rule it out, gets it."""
    assert accepts_gzip(accept) is wanted
