"""``/metrics``: what Prometheus asks for; only those near may ask, and nobody through a proxy."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from glancetx.config.settings import MetricsSettings
from glancetx.domain.errors import NotFound
from glancetx.runtime.metrics import TEXT
from glancetx.web.probes import PROXIED, is_near
from glancetx.web.routing import Answer, Call, route

UNKNOWN: Final = "The resource could not be found."


class MetricsRoom:
    """Writes what *expose* says, in Prometheus' text format."""

    def __init__(self, settings: MetricsSettings, expose: Callable[[], Awaitable[bytes]]) -> None:
        self._settings, self._expose = settings, expose

    @route("GET", "/metrics", public=True)
    async def metrics(self, call: Call) -> Answer | None:
        if any(call.header(name) for name in (*PROXIED, "forwarded")):
            raise NotFound(UNKNOWN)
        if not is_near(call.request, self._settings.sources):
            raise NotFound(UNKNOWN)
        body = await self._expose()
        call.request.setHeader(b"Content-Type", TEXT.encode())
        call.request.setHeader(b"Content-Length", b"%d" % len(body))
        call.request.write(body)
        return None
