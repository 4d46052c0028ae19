"""Klein's resource with a guard: what clients write into a URL is never an error of ours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from klein import Klein
from klein.resource import KleinResource
from twisted.web.server import NOT_DONE_YET, Request
from werkzeug.exceptions import BadHost

from glancetx.domain.errors import Invalid
from glancetx.web.shortcuts import Shortcuts, follow


class GuardedRoutes(KleinResource):
    """Finds routes as Klein does, or by one of the *shortcuts*.

    What Klein would log as a failure is given to *refuse*, which answers the request.
    """

    def __init__(self, app: Klein, shortcuts: Shortcuts, refuse: Callable[[Request, Exception], None]) -> None:
        super().__init__(app)
        self._shortcuts, self._refuse = shortcuts, refuse

    def render(self, request: Any) -> Any:
        found = self._shortcuts.find(request)
        if found is not None:
            endpoint, parts = found
            follow(request, endpoint(request, **parts))
            return NOT_DONE_YET
        if not _is_text(b"/".join((*request.prepath, *request.postpath, request.method))):
            return self._refused(request, "The URL is not UTF-8.")
        if not _is_text(request.getRequestHostname()):
            return self._refused(request, "The Host header is malformed.")
        try:
            return super().render(request)
        except BadHost:
            return self._refused(request, "The Host header is malformed.")

    def _refused(self, request: Any, text: str) -> Any:
        self._refuse(request, Invalid(text))
        return NOT_DONE_YET


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
