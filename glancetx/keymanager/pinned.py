"""Certificates in a folder of this host, put there by whoever runs the service."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from zope.interface import implementer

from glancetx.domain.errors import CertificateRefused
from glancetx.interfaces import ICertificates
from glancetx.runtime.threads import Threads

LARGEST: Final = 64 * 1024  # bytes of a certificate
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


@implementer(ICertificates)
class Nowhere:
    """No certificates at all."""

    async def certificate(self, certificate_id: str, token: str | None) -> bytes:
        raise CertificateRefused(f"Certificate not found with ID: {certificate_id}")


@implementer(ICertificates)
class Pinned:
    """The file ``ID.pem`` of *folder*, for every caller. What is not there is asked for from *others*."""

    def __init__(self, folder: Path, files: Threads, others: ICertificates) -> None:
        self._folder, self._files, self._others = folder, files, others

    async def certificate(self, certificate_id: str, token: str | None) -> bytes:
        found = await self._files.run(self._read, certificate_id) if _NAME.fullmatch(certificate_id) else None
        if found is not None:
            return found
        certificate: bytes = await self._others.certificate(certificate_id, token)
        return certificate

    def _read(self, certificate_id: str) -> bytes | None:
        try:
            with (self._folder / f"{certificate_id}.pem").open("rb") as file:
                return file.read(LARGEST)
        except FileNotFoundError:
            return None
