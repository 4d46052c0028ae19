"""A request which is routed as soon as its headers are complete, and whose body is then asked for, or not.

Twisted's own Request is routed when its whole body has been written to a temporary file. This one works on the channel
of `glancetx.web.site`, with deadlines, and on the channel of any twisted.web Site.
"""

from __future__ import annotations

from io import BytesIO
from typing import Any, Protocol
from urllib.parse import unquote_to_bytes

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel, parse_qs
from twisted.web.http import Request as HTTPRequest
from twisted.web.iweb import IBodyProducer
from twisted.web.resource import IResource
from twisted.web.server import Request
from zope.interface import implementer

from glancetx.domain.errors import ClientVanished, TooSlow
from glancetx.web.body import spooled
from glancetx.web.channel import PlainConnection
from glancetx.web.upload import Body, Wire


class IStreamingResource(IResource):
    """A resource that reads `ImageRequest.body` itself. All others find the whole body in ``request.content``."""


class Connection(Wire, Protocol):
    """What a streaming request asks of its channel."""

    @property
    def leaf(self) -> IResource | None:
        """The one resource that is asked whatever the path is, if there is one; then server and date are told here."""

    def reusable_after(self, body: Body) -> bool:
        """Whether what is missing of *body* can be read and dropped, so that another request may follow."""

    def close_when_done(self) -> None:
        """Let no other request follow this one."""

    def may_release(self, request: ImageRequest) -> bool:
        """The response is written. False: `ImageRequest.release` is called when the body has ended."""


def has_body(request: HTTPRequest) -> bool:
    """Whether the client announced a body: a Content-Length above 0, or chunks."""
    if isinstance(request, ImageRequest):
        return request.has_body
    length = request.getHeader(b"content-length")
    return request.getHeader(b"transfer-encoding") is not None or (length is not None and length.strip(b"0") != b"")


class ImageRequest(Request):
    """The ``requestFactory`` of a Site whose uploads shall stream.

    *body* is an IBodyProducer and can be read once. ``100 Continue`` is sent when somebody starts it. An answer
    before the body was read ends the connection, unless what is left of the body is small.
    """

    __slots__ = (  # with more than 30 attributes in its dictionary an instance has a dictionary of 1.5 KiB
        "_answered",
        "_arriving",
        "_connection",
        "_plain",
        "_spooled_for",
        "aborted",
        "body",
        "glancetx_began",
        "glancetx_believing",
        "glancetx_caller",
        "glancetx_gzip",
        "glancetx_mount",
        "has_body",
    )
    body: IBodyProducer

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.has_body = self.aborted = self._answered = False
        self._arriving: Body | None = None
        self._connection: Connection | None = None
        self._plain: PlainConnection | None = None
        self._spooled_for: Any = None

    # What channels call.

    def begin(self, method: bytes, uri: bytes, version: bytes, body: Body, connection: Connection) -> None:
        """The headers are complete: route."""
        self._prepare(method, uri, version, body, connection)
        self.process()

    def refuse(self, method: bytes, uri: bytes, version: bytes, body: Body, connection: Connection) -> None:
        """The headers are complete, and expect what nobody can do."""
        self._prepare(method, uri, version, body, connection)
        self._end_with(417)

    def _prepare(self, method: bytes, uri: bytes, version: bytes, body: Body, connection: Connection) -> None:
        self.method, self.uri, self.clientproto = method, uri, version
        self.path, _, query = uri.partition(b"?")
        self.args = parse_qs(query, True) if query else {}
        self.content = BytesIO()
        self.has_body = body.length != 0
        self.body = self._arriving = body
        self._connection = connection

    def gotLength(self, length: int | None) -> None:
        """A channel of Twisted's has read all headers."""
        if length == 0 or not isinstance(self.channel, HTTPChannel):
            super().gotLength(length)
        else:
            self._plain = PlainConnection(self.channel)
            self._plain.begin(self, length)

    def handleContentChunk(self, data: bytes) -> None:
        """A channel of Twisted's has the next bytes of the body."""
        if self._arriving is not None:
            self._arriving.receive(data)
        else:
            super().handleContentChunk(data)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """A channel of Twisted's has read the whole request."""
        if self._plain is not None and self._arriving is not None:
            self._plain.body_ended()
            self._arriving.end()
            if self._answered:
                self.release()
        elif isinstance(self.channel, HTTPChannel):
            plain = self._plain = PlainConnection(self.channel)
            self.begin(command, path, version, Body(0, plain), plain)
        else:  # HTTP/2: spooled
            self.has_body = bool(self.content.tell())
            self.body = spooled(self)
            super().requestReceived(command, path, version)

    def release(self) -> None:
        """Body and response are both done with."""
        super()._cleanup()

    def connectionLost(self, reason: Failure) -> None:
        super().connectionLost(reason)  # first: who is cancelled by it need not hear the same from the body
        if self._plain is not None:
            self._plain.lost()
        if self._arriving is not None:
            self._arriving.fail(ClientVanished("The client closed the connection."))

    # Resources which do not stream.

    def render(self, resrc: IResource) -> None:
        if self.has_body and self._spooled_for is None and not IStreamingResource.providedBy(resrc):
            self._spool(resrc)
        else:
            super().render(resrc)

    def _spool(self, resource: IResource) -> None:
        """Read the body into ``content`` first, as Twisted does, form fields included."""
        assert self._arriving is not None
        length = self._arriving.missing
        super().gotLength(length)
        self._spooled_for = resource
        done = self._arriving.startProducing(_Spool(self.content))
        done.addCallbacks(self._spooled, self._not_spooled)
        done.addErrback(self._log_failure)

    def _spooled(self, _: None) -> None:
        super().requestReceived(self.method, self.uri, self.clientproto)

    def _not_spooled(self, failure: Failure) -> None:
        if failure.check(ClientVanished) is None and not self._disconnected:
            self._end_with(408 if failure.check(TooSlow) else 400)

    def _log_failure(self, failure: Failure) -> None:
        self._log.failure("", failure=failure)

    def process(self) -> None:
        if self._spooled_for is not None:
            self.body = spooled(self)
            self._ask(self._spooled_for)
            return
        leaf = self._connection.leaf if self._connection is not None else None
        if leaf is None or self.path == b"*":
            super().process()
        else:
            self._ask_leaf(leaf)

    def _ask_leaf(self, leaf: IResource) -> None:
        """As Twisted's `process`, but there is no way to look for, and the connection tells server and date."""
        channel: Any = self.channel
        self.site, self.prepath = channel.site, []
        self.sitepath: list[bytes] = []
        path: bytes = self.path[1:]
        parts = path.split(b"/")
        self.postpath = [unquote_to_bytes(part) for part in parts] if b"%" in path else parts
        self._ask(leaf)

    def _ask(self, resource: IResource) -> None:
        try:
            self.render(resource)
        except BaseException:
            self.processingFailed(Failure())

    # The response.

    def write(self, data: bytes) -> None:
        if self.aborted:
            return
        if not self.startedWriting:
            self._decide_whether_to_close()
        super().write(data)
        if not data and self.channel is not None:
            self.channel.write(b"")  # the headers, which would wait for more

    def finish(self) -> None:
        if not self.aborted:
            super().finish()

    def abort(self) -> None:
        """End the connection at once: what the client got so far must not look whole.

        What is written after this is dropped.
        """
        if self.aborted or self.channel is None:
            return
        self.aborted = True
        transport: Any = self.channel.transport
        transport.abortConnection()

    def _end_with(self, status: int) -> None:
        self.setResponseCode(status)
        self.setHeader(b"Content-Length", b"0")
        self.finish()

    def _decide_whether_to_close(self) -> None:
        body, connection = self._arriving, self._connection
        if body is not None and connection is not None and not body.complete and not connection.reusable_after(body):
            connection.close_when_done()
        if not self.channel.persistent:
            self.responseHeaders.setRawHeaders(b"Connection", [b"close"])

    def _cleanup(self) -> None:
        body = self._arriving
        if body is not None and not body.complete:
            body.discard()
        if self._connection is None or self._connection.may_release(self):
            self.release()
            return
        self._answered = True
        notifications: list[Deferred[None]] = self.notifications
        self.notifications = []
        for notification in notifications:
            notification.callback(None)


@implementer(IConsumer)
class _Spool:
    """Writes to the file which Twisted gives a request."""

    def __init__(self, content: Any) -> None:
        self._content = content

    def write(self, data: bytes) -> None:
        self._content.write(data)

    def registerProducer(self, producer: object, streaming: bool) -> None:
        """Nothing to do: this never pauses."""

    def unregisterProducer(self) -> None:
        """Nothing to do."""
