"""The shortest way to a route, for most requests: what Klein and werkzeug do to find one is a sixth of a `show`.

Nothing is found here that they would not find as well. What is unusual - another shape of path, a host that has to be
looked at closely - and what is not found is left to them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from attrs import frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

Endpoint = Callable[..., Deferred[None]]

PLACE: Final = 2
"""Where in a path a variable is: behind ``/v2/images``, for instance."""
_VARIABLE: Final = re.compile(r"<(\w+)>")
_PLAIN: Final = re.compile(rb"[A-Za-z0-9_-]+")
_HOST: Final = re.compile(rb"(?:[A-Za-z0-9-]{1,63}\.)*[A-Za-z0-9-]{1,63}(?::[0-9]{1,5})?")

_log = Logger()


@frozen
class Route:
    """Who answers *verbs* on *path* (Klein's path syntax)."""

    verbs: Sequence[str]
    path: str
    name: str
    endpoint: Endpoint


class Shortcuts:
    """Routes whose paths have no variable, or one, as their third segment."""

    def __init__(self) -> None:
        self._endpoints: dict[tuple[bytes | None, ...], tuple[Endpoint, str | None]] = {}

    def add(self, verbs: Iterable[str], path: str, endpoint: Endpoint) -> None:
        """Add a route, if it is one of these."""
        segments: list[bytes | None] = [segment.encode() for segment in path.split("/")[1:]]
        variable = _VARIABLE.fullmatch(path.split("/")[1 + PLACE]) if len(segments) > PLACE else None
        if variable is not None:
            segments[PLACE] = None
        if not any(segment is not None and b"<" in segment for segment in segments):
            for verb in verbs:
                self._endpoints[verb.encode(), *segments] = endpoint, variable[1] if variable else None

    def find(self, request: Any) -> tuple[Endpoint, dict[str, str]] | None:
        """Who answers *request*, and the variables of its path."""
        parts: list[bytes] = request.postpath
        hosts = request.requestHeaders.getRawHeaders(b"host", ())
        if len(hosts) != 1 or not _HOST.fullmatch(hosts[0]):
            return None
        found = self._endpoints.get((request.method, *parts))
        if found is not None:
            return found[0], {}
        if len(parts) <= PLACE or not _PLAIN.fullmatch(parts[PLACE]):
            return None
        found = self._endpoints.get((request.method, *parts[:PLACE], None, *parts[PLACE + 1 :]))
        return None if found is None else (found[0], {found[1] or "": parts[PLACE].decode()})


def follow(request: Any, answering: Deferred[None]) -> None:
    """Finish *request* when it is answered, as Klein does; whoever answers is cancelled if the client goes away."""
    following = _Following(request, answering)
    request.notifyFinish().addBoth(following.ended)
    answering.addCallbacks(following.answered, following.failed)


class _Following:
    __slots__ = ("_answering", "_over", "_request")

    def __init__(self, request: Any, answering: Deferred[None]) -> None:
        self._request, self._answering = request, answering
        self._over = False

    def ended(self, outcome: Any) -> None:
        self._over = True
        if isinstance(outcome, Failure):
            self._answering.cancel()

    def answered(self, _: None) -> None:
        if not self._over:
            self._request.finish()

    def failed(self, failure: Failure) -> None:
        if not self._over:
            self._request.processingFailed(failure)
        elif not failure.check(CancelledError):
            _log.failure("a request that is over already", failure)
