"""Certificates kept in Barbican, read with what its caller showed us."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final
from urllib.parse import quote

from twisted.logger import Logger
from zope.interface import implementer

from glancetx.domain.errors import CertificateRefused, CertificatesUnavailable
from glancetx.interfaces import ICertificates
from glancetx.outgoing.answers import NoAnswer
from glancetx.outgoing.exchange import Exchange, Reply

LARGEST: Final = 64 * 1024  # bytes of a certificate

_log = Logger()


@implementer(ICertificates)
class Barbican:
    """A Barbican reached through *exchange*. *endpoint* finds its URL; None: there is none."""

    def __init__(self, exchange: Exchange, endpoint: Callable[[], Awaitable[str | None]]) -> None:
        self._exchange, self._endpoint = exchange, endpoint

    async def certificate(self, certificate_id: str, token: str | None) -> bytes:
        root = await self._endpoint()
        if root is None:
            raise CertificateRefused(f"Unable to retrieve certificate with ID: {certificate_id}")
        root = root.rstrip("/").removesuffix("/v1")
        url = f"{root}/v1/secrets/{quote(certificate_id, safe='')}"
        found = (await self._ask(url, certificate_id, token, "application/json")).document()
        if not isinstance(found, dict) or found.get("secret_type") != "certificate":
            raise CertificateRefused(f"Invalid certificate format: {certificate_id} is no certificate")
        kinds = found.get("content_types")
        kind = kinds.get("default") if isinstance(kinds, dict) else None
        reply = await self._ask(f"{url}/payload", certificate_id, token, str(kind or "application/octet-stream"))
        if len(reply.body) > LARGEST:
            raise CertificateRefused(f"Unable to retrieve certificate with ID: {certificate_id}")
        return reply.body

    async def _ask(self, url: str, certificate_id: str, token: str | None, kind: str) -> Reply:
        headers = {"Accept": kind} | ({"X-Auth-Token": token} if token else {})
        try:
            reply = await self._exchange.request("GET", url, headers)
        except NoAnswer as error:
            _log.error("Barbican does not answer: {why}", why=str(error))
            raise CertificatesUnavailable from error
        if reply.status == 404:
            raise CertificateRefused(f"Certificate not found with ID: {certificate_id}")
        if reply.status >= 500:
            _log.error("Barbican answers {status}", status=reply.status)
            raise CertificatesUnavailable
        if reply.status != 200:
            raise CertificateRefused(f"Unable to retrieve certificate with ID: {certificate_id}")
        return reply
