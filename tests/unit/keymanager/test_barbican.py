"""What is asked of Barbican, and what its answers mean; the real one is in tests/integration."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.task import Clock
from twisted.web.resource import Resource
from zope.interface.verify import verifyObject

from glancetx.domain.errors import CertificateRefused, CertificatesUnavailable
from glancetx.interfaces import ICertificates
from glancetx.keymanager.barbican import LARGEST, Barbican
from glancetx.outgoing.exchange import Exchange
from glancetx.testing.network import in_memory

CERTIFICATE = b"-----BEGIN CERTIFICATE-----"
Asked = list[tuple[str, str | None, str | None]]


class Secrets(Resource):
    """One secret, whatever is asked for. *status* of every answer."""

    isLeaf = True

    def __init__(self, status: int = 200, kind: str = "certificate", payload: bytes = CERTIFICATE) -> None:
        super().__init__()
        self.status, self.kind, self.payload = status, kind, payload
        self.asked: Asked = []

    def render_GET(self, request: Any) -> bytes:
        request.setResponseCode(self.status)
        self.asked.append((request.uri.decode(), request.getHeader("x-auth-token"), request.getHeader("accept")))
        if request.path.endswith(b"/payload"):
            return self.payload
        return json.dumps({"secret_type": self.kind, "content_types": {"default": "text/plain"}}).encode()


def barbican(secrets: Secrets, url: str | None = "http://barbican:9311/") -> Barbican:
    async def endpoint() -> str | None:
        return url

    return Barbican(Exchange(in_memory(secrets), Clock(), 30), endpoint)


@pytest.mark.parametrize("url", ["http://barbican:9311", "http://barbican:9311/", "http://barbican:9311/v1/"])
@pytest_twisted.ensureDeferred
async def test_found(url: str) -> None:
    """The caller's token reads it; an id is never more than one part of a path."""
    secrets = Secrets()
    keys = barbican(secrets, url)
    assert verifyObject(ICertificates, keys)
    assert await keys.certificate("a/../b?c", "token") == CERTIFICATE
    place = "/v1/secrets/a%2F..%2Fb%3Fc"
    assert secrets.asked == [(place, "token", "application/json"), (f"{place}/payload", "token", "text/plain")]


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: barbican(Secrets(404)), CertificateRefused),
        (lambda: barbican(Secrets(403)), CertificateRefused),
        (lambda: barbican(Secrets(302)), CertificateRefused),
        (lambda: barbican(Secrets(500)), CertificatesUnavailable),
        (lambda: barbican(Secrets(kind="opaque")), CertificateRefused),
        (lambda: barbican(Secrets(payload=bytes(LARGEST + 1))), CertificateRefused),
        (lambda: barbican(Secrets(), None), CertificateRefused),
    ],
)
@pytest_twisted.ensureDeferred
async def test_not_found(make: Callable[[], Barbican], error: type[Exception]) -> None:
    """What was refused is refused, and what cannot be known now may be asked again."""
    with pytest.raises(error):
        await make().certificate("x", None)
