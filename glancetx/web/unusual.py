"""Klein, which finds the routes that no shortcut finds. It is loaded when the first request of that kind comes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from klein import Klein
from klein.resource import KleinResource
from twisted.python.failure import Failure
from twisted.web.server import Request
from werkzeug.exceptions import BadHost, MethodNotAllowed, NotFound

from glancetx.domain.errors import Invalid
from glancetx.web.errors import NoRoute
from glancetx.web.shortcuts import Route


class UnusualRoutes(KleinResource):
    """Of *routes*. What fits none of them is given to *unrouted*."""

    def __init__(self, routes: Iterable[Route], unrouted: Callable[[Request, NoRoute], Any]) -> None:
        app = Klein()
        app.url_map.merge_slashes = False  # or ``//v2`` would be answered by a redirection
        for route in routes:
            app.route(route.path, methods=route.verbs, endpoint=route.name, strict_slashes=True)(route.endpoint)

        def refuse(request: Request, failure: Failure) -> Any:
            return unrouted(request, NoRoute(getattr(failure.value, "valid_methods", None)))

        refusing: Any = refuse
        app.handle_errors(NotFound, MethodNotAllowed)(refusing)
        super().__init__(app)

    def render(self, request: Any) -> Any:
        """:raises Invalid: if the host it is for is none."""
        try:
            return super().render(request)
        except BadHost as error:
            raise Invalid("The Host header is malformed.") from error
