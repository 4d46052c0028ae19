"""Writing a source to the client as the body of a response, at the pace of the client."""

from __future__ import annotations

from typing import Any

from twisted.internet import tcp
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IConsumer, IPushProducer, ISSLTransport
from twisted.python.failure import Failure
from twisted.web.http import Request
from twisted.web.iweb import UNKNOWN_LENGTH, IBodyProducer
from zope.interface import implementer

from glancetx.domain.errors import ClientVanished, StoreError
from glancetx.runtime.threads import Threads
from glancetx.streams import IFileSource
from glancetx.web.sendfile import Buffered, Delivery, Mapped, Sendfile
from glancetx.web.turns import Turns


class Responder:
    """Sends sources. *threads* read from files what is not in memory yet."""

    def __init__(self, reactor: Any, threads: Threads) -> None:
        self._reactor = reactor
        self._threads = threads
        self._turns = Turns(reactor)

    async def send(self, request: Request, source: IBodyProducer) -> None:
        """Write all of *source* as the response's body, or as its next part; does not finish the request.

        The caller has set the status and an exact Content-Length. The source is used up in any event. Cancelling
        stops it; so does a client that leaves (ClientVanished). When the source fails, its error is raised; if bytes
        of the response are out already the connection is aborted then, because what came must not look whole.

        :raises StoreError: if the source ends before its announced length.
        """
        if request.method == b"HEAD" or getattr(request, "_disconnected", False):
            source.stopProducing()
            request.write(b"")
            return
        try:
            await self._deliver(request, source)
        except (CancelledError, ClientVanished):
            raise
        except BaseException:
            if request.startedWriting:
                abort(request)
            raise

    async def _deliver(self, request: Request, source: IBodyProducer) -> None:
        if not IFileSource.providedBy(source):
            await _Writing(request, source).run()
        elif not source.length:
            source.stopProducing()
        else:
            await self._delivery(request, source).run()

    def _delivery(self, request: Request, source: Any) -> Delivery:
        pages = Mapped(source.descriptor, self._threads)
        if is_plain_tcp(request.channel.transport):
            return Sendfile(request, source, pages, self._turns, self._reactor)
        return Buffered(request, source, pages, self._reactor)


def is_plain_tcp(transport: Any) -> bool:
    """Whether what is written reaches the socket as it is."""
    return isinstance(transport, tcp.Connection) and not ISSLTransport.providedBy(transport)


def abort(request: Request) -> None:
    """End the connection at once, without the end of the response."""
    own = getattr(request, "abort", None)
    if own is not None:
        own()
    elif request.channel is not None:
        transport: Any = request.channel.transport
        transport.abortConnection()


@implementer(IConsumer, IPushProducer)
class _Writing:
    """One source on its way into a response: consumes from the source, and is the response's producer."""

    def __init__(self, request: Request, source: IBodyProducer) -> None:
        self._request, self._source = request, source
        self._written = 0
        self._stopped = False
        self._done: Deferred[None] = Deferred(lambda _: self.stopProducing())

    async def run(self) -> None:
        request = self._request
        gone = request.notifyFinish()
        gone.addErrback(self._gone)
        request.registerProducer(self, True)
        self._source.startProducing(self).addCallbacks(self._ended, self._failed)
        try:
            await self._done
        finally:
            if request.producer is self and request.channel is not None:
                request.unregisterProducer()

    def write(self, data: bytes) -> None:
        self._written += len(data)
        if not self._done.called:
            self._request.write(data)

    def registerProducer(self, producer: object, streaming: bool) -> None:
        """Nothing to do: it was chosen before."""

    def unregisterProducer(self) -> None:
        """Nothing to do."""

    def pauseProducing(self) -> None:
        if not self._stopped:
            self._source.pauseProducing()

    def resumeProducing(self) -> None:
        if not self._stopped:
            self._source.resumeProducing()

    def stopProducing(self) -> None:
        if not self._stopped:
            self._stopped = True
            self._source.stopProducing()

    def _ended(self, _: object) -> None:
        self._stopped = True
        length = self._source.length
        if length is not UNKNOWN_LENGTH and length != self._written:
            self._failed(Failure(StoreError(f"The data has {self._written} bytes instead of {length}")))
        elif not self._done.called:
            self._done.callback(None)

    def _failed(self, failure: Failure) -> None:
        self._stopped = True
        if not self._done.called:
            self._done.errback(failure)

    def _gone(self, _: Failure) -> None:
        if not self._done.called:
            self.stopProducing()
            self._done.errback(ClientVanished("The client closed the connection."))
