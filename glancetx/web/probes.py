"""``/healthcheck``: for load balancers; nobody is asked for credentials (api.md, A-210)."""

from __future__ import annotations

import gc
import html
import platform
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from ipaddress import IPv4Network, IPv6Network, ip_address
from pathlib import Path
from typing import Any, Final

from attrs import frozen
from twisted.web.server import Request

from glancetx.config.settings import HealthSettings
from glancetx.domain.errors import NotFound
from glancetx.runtime.threads import Threads
from glancetx.web.routing import Answer, Call, route

PROXIED: Final = ("x-forwarded", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-for", "x-forwarded-prefix")


@frozen
class Result:
    """What one look has found; *details* are for those who may know more."""

    reason: str
    well: bool = True
    details: str = ""


OK: Final = Result("OK")


class ProbesRoom:
    """Answers whether this process serves; files are looked at in *threads*.

    *draining* is asked each time: while it is true, it does not.
    """

    def __init__(self, settings: HealthSettings, threads: Threads) -> None:
        self._settings = settings
        self._threads = threads
        self.draining = False

    @route("GET", "/healthcheck", public=True)
    async def healthcheck(self, call: Call) -> Answer | None:
        self._check_caller(call)
        results = await self._look(call.request)
        well = all(result.well for result in results)
        if call.request.method == b"HEAD":
            write_text(call.request, 204 if well else 503, "")
            return None
        status = 200 if well else 503
        accept = call.header("accept") or "application/json"
        if "text/html" in accept:
            write_text(call.request, status, self._page(results), "text/html")
        elif "application/json" in accept:
            return Answer(status=status, document=self._document(results))
        else:
            write_text(call.request, status, "\n".join(result.reason for result in results))
        return None

    def _check_caller(self, call: Call) -> None:
        """:raises NotFound: if it is not for this caller to know."""
        if self._settings.ignore_proxied and any(call.header(name) for name in PROXIED):
            raise NotFound("The resource could not be found.")
        if self._settings.sources and not is_near(call.request, self._settings.sources):
            raise NotFound("The resource could not be found.")

    async def _look(self, request: Request) -> list[Result]:
        if self.draining:
            return [Result("DRAINING", well=False)]
        settings = self._settings
        port = getattr(request.getHost(), "port", None)
        disabling = [path for path in (settings.disabled_by, settings.disabled_by_port.get(port or 0)) if path]
        if not disabling and not settings.enabled_by:
            return [OK]
        return await self._threads.run(_look_at_files, disabling, list(settings.enabled_by))

    def _document(self, results: list[Result]) -> dict[str, Any]:
        if not self._settings.detailed:
            return {"detailed": False, "reasons": [result.reason for result in results]}
        return {
            "detailed": True,
            "gc": {"counts": gc.get_count(), "threshold": gc.get_threshold()},
            "now": str(datetime.now(UTC).replace(tzinfo=None)),
            "platform": platform.platform(),
            "python_version": sys.version,
            "reasons": [
                {"class": "HealthcheckResult", "details": result.details, "reason": result.reason} for result in results
            ],
        }

    def _page(self, results: list[Result]) -> str:
        rows = "".join(f"<tr><td>{html.escape(result.reason)}</td></tr>" for result in results)
        return f"<html><head><title>Healthcheck Status</title></head><body><table>{rows}</table></body></html>"


def is_near(request: Request, networks: Iterable[IPv4Network | IPv6Network]) -> bool:
    """Whether the peer of this connection has an address in one of *networks*."""
    try:
        address = ip_address(getattr(request.getClientAddress(), "host", ""))
    except ValueError:
        return False
    return any(address in network for network in networks)


def _look_at_files(disabling: list[Path], enabling: list[Path]) -> list[Result]:
    results = [
        Result("DISABLED BY FILE", well=False, details=f"Path '{path}' exists") if path.exists() else OK
        for path in disabling
    ]
    missing = next((path for path in enabling if not path.exists()), None)
    if missing is not None:
        results.append(Result("FILE PATH MISSING", well=False, details=f"Path '{missing}' does not exist"))
    elif enabling:
        results.append(OK)
    return results


def write_text(request: Request, status: int, text: str, kind: str = "text/plain") -> None:
    body = text.encode()
    request.setResponseCode(status)
    request.setHeader(b"Content-Type", f"{kind}; charset=UTF-8".encode())
    request.setHeader(b"Content-Length", b"%d" % len(body))
    request.write(body)
