"""Which versions there are: ``/versions`` and everything that is not below a known version (api.md, A-001..A-003)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

from twisted.web.resource import Resource
from twisted.web.server import Request
from zope.interface import implementer

from glancetx.web.headers import read_header
from glancetx.web.middleware import Middleware
from glancetx.web.request import IStreamingResource
from glancetx.web.routing import Answer, Call, root_url, route

BASIC: Final = tuple(f"v2.{minor}" for minor in range(7, -1, -1))
STORES: Final = tuple(f"v2.{minor}" for minor in range(13, 7, -1))
CACHE: Final = tuple(f"v2.{minor}" for minor in range(18, 13, -1))
ALWAYS: Final = frozenset({*BASIC, "v2", "v2.9", "v2.15", "v2.17"})
MEDIA_TYPE: Final = re.compile(r"application/vnd\.openstack\.images-(v[0-9.]*)")


def announced(*, multiple: bool, cache: bool) -> list[tuple[str, str]]:
    """The versions with their status, in Glance's order (A-003): some need *multiple* stores, some the *cache*."""
    stores = STORES if multiple else ("v2.9",)
    if cache:
        current, versions = "v2.18", (*CACHE, *stores, *BASIC)
    else:
        current, versions = "v2.17", ("v2.15", *stores, "v2.17", *BASIC)
    return [(version, "CURRENT" if version == current else "SUPPORTED") for version in versions]


class VersionsRoom:
    """Shows the versions document."""

    def __init__(self, public_endpoint: str | None, versions: Sequence[tuple[str, str]]) -> None:
        self._public_endpoint = public_endpoint
        self._versions = tuple(versions)

    @route("GET", "/versions", public=True)
    async def versions(self, call: Call) -> Answer:
        return Answer(document=self.document(call.request))

    @route("GET", "/v2")
    async def root(self, call: Call) -> Answer:
        """Where Glance sends who forgets the slash; nothing is there."""
        return Answer(status=302, headers=(("Location", call.absolute("/v2/")),))

    def choices(self, request: Request) -> Answer | None:
        """300 with the versions, for a path below none of them; None for any other."""
        below: list[bytes] = (request.postpath or [])[:1]
        if below == [b"v2"]:
            return None
        return Answer(status=200 if below == [b"versions"] else 300, document=self.document(request))

    def document(self, request: Request) -> dict[str, Any]:
        href = f"{(self._public_endpoint or root_url(request)).rstrip('/')}/v2/"
        return {
            "versions": [
                {
                    "id": version,
                    "status": status,
                    "links": [{"rel": "self", "href": href}],
                }
                for version, status in self._versions
            ]
        }


@implementer(IStreamingResource)
class VersionedResource(Resource):
    """The service's root: makes the prefix of each of *versions* ``/v2``, then lets *routes* find the route (A-001)."""

    isLeaf = True

    def __init__(self, routes: Resource, versions: Iterable[str], middleware: Middleware) -> None:
        super().__init__()
        self._routes = routes
        self._middleware = middleware
        self._prefixes = frozenset(version.encode() for version in (*ALWAYS, *versions))

    def render(self, request: Any) -> Any:
        request.glancetx_mount = list(request.prepath)
        if not self._middleware.begin(request):
            return b""
        parts: list[bytes] = request.postpath
        if b"" in parts[:-1]:  # an endpoint that ends with a slash, and a path that begins with one
            parts[:-1] = filter(None, parts[:-1])
        if parts and parts[0] in self._prefixes:
            parts[0] = b"v2"
        elif self._asked_for(request) and parts[:1] != [b"versions"]:
            parts.insert(0, b"v2")
        return self._routes.render(request)

    def _asked_for(self, request: Any) -> bool:
        """Whether one of our versions is, by the media type that the client accepts."""
        asked = MEDIA_TYPE.search(read_header(request, "accept") or "")
        return asked is not None and asked[1].encode() in self._prefixes
