"""The resource of all routes, with a guard: what clients write into a URL is never an error of ours."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from glancetx.domain.errors import Invalid
from glancetx.web.shortcuts import Shortcuts, follow


class GuardedRoutes(Resource):
    """Finds routes by one of the *shortcuts*, else by what *load_unusual* returns, a resource that is loaded then.

    What that would log as a failure is given to *refuse*, which answers the request.
    """

    isLeaf = True

    def __init__(
        self,
        shortcuts: Shortcuts,
        load_unusual: Callable[[], Resource],
        refuse: Callable[[Request, Exception], None],
    ) -> None:
        super().__init__()
        self._shortcuts, self._load_unusual, self._refuse = shortcuts, load_unusual, refuse

    @cached_property
    def _unusual(self) -> Resource:
        return self._load_unusual()

    def render(self, request: Any) -> Any:
        found = self._shortcuts.find(request)
        if found is not None:
            endpoint, parts = found
            follow(request, endpoint(request, **parts))
            return NOT_DONE_YET
        if not _is_text(b"/".join((*request.prepath, *request.postpath, request.method))):
            return self._refused(request, Invalid("The URL is not UTF-8."))
        if not _is_text(request.getRequestHostname()):
            return self._refused(request, Invalid("The Host header is malformed."))
        try:
            return self._unusual.render(request)
        except Invalid as error:
            return self._refused(request, error)

    def _refused(self, request: Any, error: Invalid) -> Any:
        self._refuse(request, error)
        return NOT_DONE_YET


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
