"""``/v2/images/{id}/import/events``: an import as a stream of server-sent events (WHATWG HTML, section 9.2)."""

from __future__ import annotations

import json
from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.web.server import Request
from zope.interface import implementer

from glancetx.domain.following import ImportState
from glancetx.operations.following import Follower, Following
from glancetx.web.routing import Answer, Call, route

HEARTBEAT: Final = 15.0  # seconds of silence after which a comment is sent, so that nobody takes the stream for dead
RETRY: Final = 3000  # milliseconds after which clients connect again


class EventsRoom:
    """Shows clients what `Following` tells."""

    heartbeat = HEARTBEAT

    def __init__(self, following: Following) -> None:
        self._following = following

    @route("GET", "/v2/images/<image_id>/import/events")
    async def follow(self, call: Call, image_id: str) -> Answer | None:
        follower = await self._following.follow(call.context, image_id)
        try:
            await self._send(call.request, follower)
        finally:
            follower.close()
        return None

    async def _send(self, request: Request, follower: Follower) -> None:
        request.setHeader(b"Content-Type", b"text/event-stream")
        request.setHeader(b"Cache-Control", b"no-store")
        request.setHeader(b"X-Accel-Buffering", b"no")  # or nginx keeps events for itself
        if request.method == b"HEAD":
            return
        pace = _Pace()
        request.registerProducer(pace, True)
        try:
            request.write(b"retry: %d\n\n" % RETRY)
            while not follower.ended:
                state = await follower.next(self.heartbeat)
                await pace.wanted()
                if state is None:
                    request.write(b"" if follower.ended else b": \n\n")
                    continue
                request.write(event("progress" if state.going_on else "end", view(state)))
                if not state.going_on:
                    return
        except CancelledError:
            if getattr(request, "_disconnected", False):
                raise
            # The service stops: the client is to come again, to another process or the next one.
        finally:
            if request.channel is not None:
                request.unregisterProducer()


@implementer(IPushProducer)
class _Pace:
    """Knows whether the client has taken what was sent."""

    def __init__(self) -> None:
        self._resumed: Deferred[None] | None = None

    async def wanted(self) -> None:
        """Wait until more may be sent."""
        if self._resumed is not None:
            await self._resumed

    def pauseProducing(self) -> None:
        if self._resumed is None:
            self._resumed = Deferred()

    def resumeProducing(self) -> None:
        resumed, self._resumed = self._resumed, None
        if resumed is not None and not resumed.called:
            resumed.callback(None)

    def stopProducing(self) -> None:
        """The client has gone: who waits is cancelled by that."""


def event(name: str, document: dict[str, Any]) -> bytes:
    """One event."""
    return f"event: {name}\ndata: {json.dumps(document)}\n\n".encode()


def view(state: ImportState) -> dict[str, Any]:
    """What an event says: that of the task which a caller may see."""
    document: dict[str, Any] = {"image_id": state.image_id, "status": state.status}
    if state.task is None:
        return document
    task = state.task
    document |= {"task_id": task.id, "task_status": task.status, "message": task.message}
    document |= {name: value for name, value in (task.result or {}).items() if name != "image_id"}
    return document
