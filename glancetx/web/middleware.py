"""What surrounds every route: proxies in front, pages of other origins, compression (api.md, A-007; C-079, C-081)."""

from __future__ import annotations

import gzip
import re
from typing import Any, Final

from attrs import frozen
from twisted.web.server import Request

from glancetx.config.settings import CorsSettings, MiddlewareSettings
from glancetx.web.headers import read_header

SIMPLE_HEADERS: Final = frozenset(
    [
        "accept",
        "accept-language",
        "content-type",
        "cache-control",
        "content-language",
        "expires",
        "last-modified",
        "pragma",
    ]
)
_HOST: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?")
_PREFIX: Final = re.compile(r"(/[A-Za-z0-9._~%-]+)*")
_CODING: Final = re.compile(r"\s*([^\s;]+)\s*(?:;\s*q\s*=\s*([0-9.]+))?\s*")


@frozen
class Seen:
    """How the client sees us: *prefix* is the path at which a proxy has put the service."""

    scheme: str
    host: str
    prefix: str = ""

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.host}{self.prefix}"


class Middleware:
    """Looks at each request before it is routed."""

    def __init__(self, settings: MiddlewareSettings) -> None:
        self._settings = settings

    def begin(self, request: Request) -> bool:
        """Prepare *request*, and the headers of its answer; False if it is answered already."""
        marked: Any = request
        marked.glancetx_believing = self._settings.proxy_headers
        marked.glancetx_gzip = self._settings.gzip
        origin = self._allowed_origin(request)
        if origin is not None:
            self._let_read(request, origin)
        if request.method != b"OPTIONS":
            return True
        if origin is not None:
            self._answer_preflight(request)
        request.setHeader(b"Content-Length", b"0")
        request.defaultContentType = None
        return False

    def _allowed_origin(self, request: Request) -> str | None:
        """What to call the origin of the page that asks, if it is allowed to."""
        origin = read_header(request, "origin")
        allowed = self._settings.cors.allowed_origin
        if origin is None or (request.postpath or [])[:1] == [b"healthcheck"]:
            return None
        return "*" if "*" in allowed else origin if origin in allowed else None

    def _let_read(self, request: Request, origin: str) -> None:
        cors = self._settings.cors
        request.setHeader(b"Vary", b"Origin")
        request.setHeader(b"Access-Control-Allow-Origin", origin.encode())
        if cors.allow_credentials:
            request.setHeader(b"Access-Control-Allow-Credentials", b"true")
        if cors.expose_headers:
            request.setHeader(b"Access-Control-Expose-Headers", ",".join(cors.expose_headers).encode())

    def _answer_preflight(self, request: Request) -> None:
        """Allow what the page wants to send, or nothing at all."""
        request.responseHeaders.removeHeader(b"Access-Control-Expose-Headers")
        method = read_header(request, "access-control-request-method")
        asked = read_header(request, "access-control-request-headers") or ""
        headers = [name.strip() for name in asked.split(",") if name.strip()]
        cors = self._settings.cors
        if method not in cors.allow_methods or not _may_send(headers, cors):
            for name in (b"Vary", b"Access-Control-Allow-Origin", b"Access-Control-Allow-Credentials"):
                request.responseHeaders.removeHeader(name)
            return
        request.setHeader(b"Access-Control-Allow-Methods", method.encode())
        if cors.max_age is not None:
            request.setHeader(b"Access-Control-Max-Age", b"%d" % cors.max_age)
        if headers:
            request.setHeader(b"Access-Control-Allow-Headers", ",".join(headers).encode())


def _may_send(headers: list[str], cors: CorsSettings) -> bool:
    allowed = SIMPLE_HEADERS | {name.lower() for name in cors.allow_headers}
    return all(name.lower() in allowed for name in headers)


def seen(request: Request, *, believing: bool) -> Seen:
    """Scheme and host as the client wrote them; if we are *believing*, as the proxies in front say."""
    scheme = "https" if request.isSecure() else "http"
    host = (read_header(request, "host") or "localhost").encode("ascii", "ignore").decode()
    if not believing:
        return Seen(scheme, host)
    said = _said_by_proxies(request)
    prefix = said.get("prefix", "").rstrip("/")
    return Seen(
        said["proto"] if said.get("proto") in ("http", "https") else scheme,
        said["host"] if _HOST.fullmatch(said.get("host", "")) else host,
        prefix if _PREFIX.fullmatch(prefix) else "",
    )


def _said_by_proxies(request: Request) -> dict[str, str]:
    """The first element of Forwarded (RFC 7239), that of the proxy next to the client; else X-Forwarded-*."""
    forwarded = read_header(request, "forwarded")
    if forwarded:
        first = (pair.partition("=") for pair in forwarded.split(",")[0].split(";"))
        said = {name.strip().lower(): value.strip().strip('"') for name, _, value in first}
        said.pop("prefix", None)  # none of the standard's
        return said
    names = ("proto", "host", "prefix")
    return {name: (read_header(request, f"x-forwarded-{name}") or "").split(",")[0].strip() for name in names}


def compressed(request: Request, body: bytes) -> bytes:
    """*body*, a document, in the coding the client accepts; sets the headers that tell so.

    Quick rather than small: this runs in the reactor's thread.
    """
    if not getattr(request, "glancetx_gzip", False) or not body:
        return body
    vary = request.responseHeaders.getRawHeaders(b"Vary") or []
    request.setHeader(b"Vary", b", ".join([*vary, b"Accept-Encoding"]))
    if not accepts_gzip(read_header(request, "accept-encoding") or ""):
        return body
    request.setHeader(b"Content-Encoding", b"gzip")
    return gzip.compress(body, compresslevel=1, mtime=0)


def accepts_gzip(accept: str) -> bool:
    """Whether a client that sent this Accept-Encoding wants gzip (RFC 9110, 12.5.3); it has to say so by name."""
    for part in accept.lower().split(","):
        match = _CODING.fullmatch(part)
        if match is not None and match[1] in ("gzip", "x-gzip"):
            return match[2] is None or match[2].strip("0.") != ""
    return False
