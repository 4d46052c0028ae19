"""Where the certificates are that signatures name: the places that settings choose."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from attrs import frozen

from glancetx.config.settings import CertificateSettings
from glancetx.interfaces import ICertificates
from glancetx.keymanager.pinned import Nowhere, Pinned
from glancetx.runtime.threads import Threads

if TYPE_CHECKING:
    from glancetx.keystone import Keystone

TIMEOUT = 30.0  # seconds for a request to Barbican


async def _nothing() -> None:
    """There are no connections."""


@frozen
class Keys:
    """Certificates, and what ends the connections to who keeps them."""

    certificates: ICertificates
    close: Callable[[], Awaitable[object]] = _nothing


def choose_certificates(settings: CertificateSettings, keystone: Keystone | None, files: Threads, reactor: Any) -> Keys:
    """A folder if there is one, then Barbican if it could be found."""
    keys = Keys(Nowhere())
    if settings.barbican is not None or keystone is not None:
        keys = _barbican(settings, keystone, reactor)
    if settings.folder is not None:
        return Keys(Pinned(settings.folder, files, keys.certificates), keys.close)
    return keys


def _barbican(settings: CertificateSettings, keystone: Keystone | None, reactor: Any) -> Keys:
    from glancetx.keymanager.barbican import Barbican
    from glancetx.outgoing.exchange import Connections

    async def endpoint() -> str | None:
        if settings.barbican is not None or keystone is None:
            return settings.barbican
        return await keystone.endpoint("key-manager", settings.interface, settings.region)

    connections = Connections(reactor, settings.tls, TIMEOUT, retries=1)
    return Keys(Barbican(connections.exchange, endpoint), connections.close)
