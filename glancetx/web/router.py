"""From marked methods to the routes: who asks, is a body expected, call the operation, write the answer.

`Router.mount` makes routes of the methods that `glancetx.web.routing.route` marks. Every request passes through
`Router._answer`, so what all routes share is written once.
"""

from __future__ import annotations

import random
import re
import uuid
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import Request

from glancetx.config.settings import HttpSettings
from glancetx.domain.access_rules import any_allows
from glancetx.domain.context import RequestContext
from glancetx.domain.errors import Forbidden, ImageNotFound, Invalid, NotAuthenticated, NotReady
from glancetx.interfaces import IAuthenticator
from glancetx.runtime.log import request_id as logged_request
from glancetx.runtime.metrics import Metrics
from glancetx.runtime.ongoing import Ongoing
from glancetx.web.errors import INTERNAL, NoRoute, Problem, problem_of
from glancetx.web.guarded import GuardedRoutes
from glancetx.web.headers import header_reader, read_header
from glancetx.web.middleware import compressed
from glancetx.web.request import ImageRequest, has_body
from glancetx.web.routing import Answer, Call, Mark, mount_of, to_json
from glancetx.web.shortcuts import Route, Shortcuts

READING: Final = (b"GET", b"HEAD")
_SAFE_ID: Final = re.compile(r"[A-Za-z0-9_.:-]+")
_ONLY_SHOWN: Final = re.compile(r"/v2/(info/usage|images/[^/]+/tasks)")
"""Where another method than GET finds nothing, rather than being the wrong one (A-007)."""


class Router:
    """The routes that `mount` makes, and everything they have in common."""

    def __init__(
        self,
        authenticator: IAuthenticator,
        settings: HttpSettings,
        max_request_id: int,
        requests: Ongoing,
        metrics: Metrics,
        clock: IReactorTime,
    ) -> None:
        self._authenticator = authenticator
        self._metrics, self._clock = metrics, clock
        self._requests = requests
        self.settings = settings
        self.open = False  # whether the service behind is ready
        self._max_request_id = max_request_id
        self._random = random.Random()  # noqa: S311 - no secrets
        self._log = Logger()
        self._routes: list[Route] = []
        self._shortcuts = Shortcuts()
        self._verbs: dict[str, set[str]] = {}  # of each path
        self.not_found: Callable[[Request], Answer | None] = lambda request: None

    def mount(self, room: object) -> None:
        """Add every marked method of *room*."""
        for name in dir(type(room)):
            method = getattr(room, name)
            mark = getattr(method, "__glancetx_route__", None)
            if mark is not None:
                self._add(method, mark)

    def _add(self, method: Callable[..., Any], mark: Mark) -> None:
        def endpoint(request: Request, **parts: str) -> Deferred[None]:
            return self._requests.run(self._measure(mark.path, request, self._answer(request, method, mark, parts)))

        verbs = ["GET", "HEAD"] if mark.method == "GET" else mark.method.split()
        self._verbs.setdefault(mark.path, set()).update(verbs)
        self._routes.append(Route(verbs, mark.path, f"{mark.method} {mark.path}", endpoint))
        self._shortcuts.add(verbs, mark.path, endpoint)

    def resource(self) -> Resource:
        return GuardedRoutes(self._shortcuts, self._load_unusual, self._refuse)

    def _load_unusual(self) -> Resource:
        from glancetx.web.unusual import UnusualRoutes  # which loads Klein

        return UnusualRoutes(self._routes, self._unrouted)

    async def _measure(self, path: str, request: Request, answering: Coroutine[Any, Any, None]) -> None:
        began = self._clock.seconds()
        timed: Any = request
        timed.glancetx_began = began
        self._metrics.request_begun()
        try:
            await answering
        finally:
            taken = self._clock.seconds() - began
            self._metrics.request_ended(request.method.decode("latin-1"), path, request.code, taken)

    async def _answer(self, request: Request, method: Callable[..., Any], mark: Mark, parts: Mapping[str, str]) -> None:
        try:
            request_id = self._request_id(request)
            logged_request.set(request_id)
            if not self.open:
                raise NotReady("The service is starting or stopping.")
            context = await self._identify(request, request_id, mark.public)
            answered: Any = request
            answered.glancetx_caller = context
            if request.method.decode() not in self._verbs[mark.path]:
                raise _misused(request, NoRoute(self._verbs[mark.path]))  # Klein has not seen small letters
            if not mark.body and has_body(request):
                raise Invalid("A body is not expected with this request.")
            answer = await method(Call(context=context, request=request, limits=self.settings), **parts)
        except ImageNotFound as error:
            self._fail(request, ImageNotFound(error.image_id, mark.missing) if mark.missing else error)
        except Exception as error:
            self._fail(request, error)
        else:
            if answer is not None:
                write_answer(request, answer)

    async def _identify(self, request: Request, request_id: str, public: bool) -> RequestContext:
        if public:
            return RequestContext(request_id=request_id, read_only=True)
        context = await self._authenticator.identify(header_reader(request), request_id)
        if context.access_rules is not None and not any_allows(context.access_rules, *_named(request)):
            raise NotAuthenticated(self._authenticator.challenge)
        if context.read_only and request.method not in READING:
            raise Forbidden("Read-only access")
        return context

    def _request_id(self, request: Request) -> str:
        """The client's id if it has one, else a new one; set on the answer (contract row A-006)."""
        given = read_header(request, "x-openstack-request-id") or ""
        request_id = given if given.startswith("req-") else f"req-{given}" if given else self._new_id()
        valid = not given or (len(given) <= self._max_request_id and _SAFE_ID.fullmatch(given))
        if not valid:
            request_id = self._new_id()
        request.setHeader(b"x-openstack-request-id", request_id.encode())
        if not valid:
            raise Invalid("The request id is too long, or has characters other than letters, digits and _.:-")
        return request_id

    def _new_id(self) -> str:
        """One that nobody else has; as it is no secret, the kernel need not be asked for each."""
        return f"req-{uuid.UUID(int=self._random.getrandbits(128), version=4)}"

    def _refuse(self, request: Request, error: Exception) -> None:
        """Answer a request that cannot even be looked for."""
        try:
            self._request_id(request)
        except Invalid as other:
            error = other
        self._fail(request, error)
        request.finish()

    async def _unrouted(self, request: Request, error: NoRoute) -> None:
        """No route: unknown callers learn no more than that they are unknown."""
        try:
            answer = self.not_found(request)
            request_id = self._request_id(request)
            if answer is None:
                await self._identify(request, request_id, public=False)
        except Exception as reason:
            self._fail(request, reason)
        else:
            if answer is None:
                self._fail(request, _misused(request, error))
            else:
                write_answer(request, answer)

    def _fail(self, request: Request, error: BaseException) -> None:
        """Tell the client, or end the connection if the answer has begun (a short body must not look whole)."""
        if getattr(request, "_disconnected", False) or request.finished:
            if not isinstance(error, CancelledError):
                self._log.debug("client gone: {error!r}", error=error)
            return
        problem = problem_of(error, request.method.decode("latin-1"))
        if problem is None:
            ids = request.responseHeaders.getRawHeaders("x-openstack-request-id") or ["-"]
            method, path = request.method.decode("latin-1"), request.path.decode("latin-1")
            told = "{request_id} {method} {path}"
            self._log.failure(told, Failure(error), request_id=ids[0], method=method, path=path)
            problem = INTERNAL
        if request.startedWriting:
            self._log.warn("aborted after the first byte: {error!r}", error=error)
            abort(request)
        else:
            write_problem(request, problem)


def _misused(request: Request, error: NoRoute) -> NoRoute:
    """What to say where no route fits, or not by its method."""
    return NoRoute() if _ONLY_SHOWN.fullmatch(_named(request)[1]) else error


def _named(request: Request) -> tuple[str, str]:
    """Method and path as access rules name them: the path by which routes are found, below where we are mounted."""
    parts = [*(request.prepath or []), *(request.postpath or [])][len(mount_of(request)) :]
    return request.method.decode(), "/" + b"/".join(parts).decode()


def abort(request: Request) -> None:
    if isinstance(request, ImageRequest):
        request.abort()
    else:
        transport: Any = request.transport
        transport.abortConnection()


def write_answer(request: Request, answer: Answer) -> None:
    """Write status, headers and body; Klein finishes the request."""
    for name, value in answer.headers:
        request.setHeader(name.encode(), value.encode())
    text = to_json(answer.document) if answer.text is None and answer.document is not None else answer.text
    if text is None:
        _write(request, answer.status, "text/html; charset=UTF-8", b"")
    else:
        _write(request, answer.status, "application/json", compressed(request, text.encode()))


def write_problem(request: Request, problem: Problem) -> None:
    for name, value in problem.headers:
        request.setHeader(name.encode(), value.encode())
    content_type, body = problem.body(read_header(request, "accept") or "")
    _write(request, problem.status, content_type, compressed(request, body))


def _write(request: Request, status: int, content_type: str, body: bytes) -> None:
    request.setResponseCode(status)
    request.setHeader(b"Content-Type", content_type.encode())
    request.setHeader(b"Content-Length", b"%d" % len(body))
    request.write(body)
