"""A line for each request that was answered: who asked for what, and what came of it. No header, no body, no token."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from glancetx.domain.context import RequestContext
from glancetx.web.request import ImageRequest

LINE = "{client} {user} {project} {method} {path} {status} {sent} {seconds} {request_id}"


def access_log(clock: IReactorTime) -> Callable[[ImageRequest], None]:
    """What an `ImageSite` calls with each request; *sent* is bytes, *seconds* is from the headers to the end."""
    log = Logger(namespace="glancetx.access")

    def write(request: ImageRequest) -> None:
        known: Any = request
        caller: RequestContext | None = getattr(known, "glancetx_caller", None)
        began: float | None = getattr(known, "glancetx_began", None)
        ids = request.responseHeaders.getRawHeaders("x-openstack-request-id") or ["-"]
        log.info(
            LINE,
            client=getattr(request.getClientAddress(), "host", "-"),
            user=(caller.user_id if caller else None) or "-",
            project=(caller.project_id if caller else None) or "-",
            method=request.method.decode("latin-1"),
            path=request.uri.decode("latin-1"),
            status=request.code,
            sent=request.sentLength,
            seconds=0.0 if began is None else round(clock.seconds() - began, 4),
            request_id=ids[0],
        )

    return write
