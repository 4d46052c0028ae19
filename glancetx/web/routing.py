"""What a room of the API is written with: `route` marks the methods that answer, which are given a `Call`."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from typing import Any, Final, Protocol, TypeVar
from urllib.parse import quote

from attrs import frozen
from twisted.web.server import Request

from glancetx.config.settings import HttpSettings
from glancetx.domain.context import RequestContext
from glancetx.domain.errors import Invalid
from glancetx.web.body import read_json
from glancetx.web.headers import read_header, read_list
from glancetx.web.middleware import seen

NO_DOCUMENT: Final = "Unexpected body type. Expected list/dict."
"""What Glance says of a body that cannot be what an operation wants."""

to_json: Final = json.JSONEncoder(ensure_ascii=False).encode


@frozen(kw_only=True)
class Answer:
    """A status and, if *document* is not None, a JSON body; or *text*, which is JSON already."""

    status: int = 200
    document: Any = None
    text: str | None = None
    headers: tuple[tuple[str, str], ...] = ()


@frozen(kw_only=True)
class Call:
    """One request as an operation's method sees it. *limits* are those in force when it came."""

    context: RequestContext
    request: Request
    limits: HttpSettings

    @property
    def query(self) -> bytes:
        """The raw query string."""
        uri: bytes = self.request.uri
        return uri.partition(b"?")[2]

    def header(self, name: str) -> str | None:
        return read_header(self.request, name)

    def header_list(self, name: str) -> str | None:
        """The value of a header that may be sent in several lines."""
        return read_list(self.request, name)

    async def json(self) -> Any:
        """The body. :raises Invalid, LimitExceeded: if it is not one JSON document within the limits."""
        return await read_json(self.request, self.limits)

    async def document(self) -> Any:
        """As `json`, which must be an object or an array. :raises Invalid: if it is neither."""
        document = await self.json()
        if not isinstance(document, dict | list):
            raise Invalid(NO_DOCUMENT)
        return document

    def absolute(self, path: str) -> str:
        """*path* of this service as a URL the client can follow."""
        return root_url(self.request) + path


class Endpoint(Protocol):
    """An unbound method marked by `route`. A None answer means it wrote the response itself."""

    __name__: str

    def __call__(self, room: Any, call: Call, /, **parts: str) -> Coroutine[Any, Any, Answer | None]: ...


Marked = TypeVar("Marked", bound=Callable[..., Coroutine[Any, Any, Answer | None]])


@frozen
class Mark:
    """What `route` says of a method."""

    method: str
    path: str
    body: bool
    public: bool
    missing: str | None


def route(
    method: str, path: str, *, body: bool = False, public: bool = False, missing: str | None = None
) -> Callable[[Marked], Marked]:
    """Mark a method as the answer to *method* (or several, with blanks between) on *path* (Klein's path syntax).

    *body* False: a request that announces a body is answered 400 (contract row A-008). *public*: nobody is asked
    for credentials, and the context is an anonymous one. *missing* is what is said of an image that is not there, with
    ``{}`` for its id.
    """

    def mark(function: Marked) -> Marked:
        function.__glancetx_route__ = Mark(method, path, body, public, missing)  # type: ignore[attr-defined]
        return function

    return mark


def root_url(request: Request) -> str:
    """The URL of the place where the service is mounted, as the client wrote it."""
    believing: bool = getattr(request, "glancetx_believing", False)
    mount = mount_of(request)
    return "/".join([seen(request, believing=believing).url, *(quote(part, safe="") for part in mount)])


def mount_of(request: Request) -> list[bytes]:
    """The segments of the path below which the service is mounted."""
    mount: list[bytes] = getattr(request, "glancetx_mount", [])
    return mount
