"""Things a test can hold in its hand: a source and a consumer that do as they are told, a store in memory."""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Mapping
from typing import Any

from attrs import field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer, IReactorTime
from twisted.internet.task import deferLater
from twisted.web.iweb import UNKNOWN_LENGTH, IBodyProducer
from zope.interface import implementer

from glancetx.domain.errors import Conflict, DataNotFound, SizeMismatch, StoreFull
from glancetx.domain.listed import Item, Kept, Page
from glancetx.interfaces import IListing, IStore, Stored
from glancetx.streams import BytesSource, Intake


@implementer(IBodyProducer)
class ScriptedSource:
    """Delivers *pieces* while it is not paused; then ends, or fails with *error*, or, if *held*, waits for more orders.

    *length* is what it announces: the truth, unless told otherwise; of a held source it is unknown. *started*,
    *paused* and *stopped* tell what was done to it, *pieces* what it still has.
    """

    def __init__(
        self,
        *pieces: bytes,
        length: int | str | None = None,
        error: BaseException | None = None,
        held: bool = False,
    ) -> None:
        truth = UNKNOWN_LENGTH if held else sum(map(len, pieces))
        self.length: int | str = truth if length is None else length
        self.started = self.paused = self.stopped = False
        self.pieces = list(pieces)
        self._error, self._held = error, held
        self._consumer: IConsumer | None = None
        self._done: Deferred[None] | None = None
        self._delivering = False

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        done = self._done = Deferred(lambda _: self.stopProducing())
        self.started, self._consumer = True, consumer
        self._deliver()
        return done

    def pauseProducing(self) -> None:
        self.paused = True

    def resumeProducing(self) -> None:
        self.paused = False
        self._deliver()

    def stopProducing(self) -> None:
        self.stopped = True
        self._done = None

    @property
    def active(self) -> bool:
        """Whether it was started, and has neither ended nor been stopped."""
        return self._done is not None

    def send(self, data: bytes) -> None:
        """Deliver *data*, as soon as the consumer lets it."""
        self.pieces.append(data)
        self._deliver()

    def end(self) -> None:
        """Finish when all is delivered."""
        self._held = False
        self._deliver()

    def fail(self, error: BaseException) -> None:
        """Fail when all is delivered."""
        self._error = error
        self.end()

    def _deliver(self) -> None:
        if self._delivering:
            return
        self._delivering = True
        try:
            while self.pieces and not self.paused and self._done is not None and self._consumer is not None:
                self._consumer.write(self.pieces.pop(0))
        finally:
            self._delivering = False
        if not self.pieces and not self._held and self._done is not None:
            done, self._done = self._done, None
            if self._error is None:
                done.callback(None)
            else:
                done.errback(self._error)


@implementer(IConsumer)
class Recorder:
    """Keeps what it is given. *limit*: at that many bytes it pauses the source, from inside `write`."""

    def __init__(self, limit: int | None = None) -> None:
        self.chunks: list[bytes] = []
        self.limit = limit
        self.paused = False
        self._source: IBodyProducer | None = None

    @property
    def data(self) -> bytes:
        """All bytes so far."""
        return b"".join(self.chunks)

    async def receive(self, source: IBodyProducer) -> bytes:
        """Take everything *source* delivers; its error, if it fails, is raised."""
        self._source = source
        await source.startProducing(self)
        return self.data

    def write(self, data: bytes) -> None:
        self.chunks.append(data)
        if self.limit is not None and self._source is not None and len(self.data) >= self.limit:
            self.paused = True
            self._source.pauseProducing()

    def resume(self) -> None:
        """Let the source go on, for good."""
        self.limit, self.paused = None, False
        if self._source is not None:
            self._source.resumeProducing()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Nothing: the source is given to `receive`."""

    def unregisterProducer(self) -> None:
        """Nothing."""


@frozen
class _Kept:
    data: bytes
    attempt: str
    since: float = field(factory=time.monotonic)


@implementer(IStore, IListing)
class MemoryStore:
    """Keeps images in memory. *capacity*: more bytes than this in all are refused with StoreFull."""

    scheme = "memory"
    random_access = True
    read_only = False

    def __init__(
        self, identifier: str = "memory", capacity: int | None = None, metadata: Mapping[str, Any] | None = None
    ) -> None:
        self.identifier = identifier
        self.url_prefix = f"memory://{identifier}/"
        self.running = False
        self._capacity = capacity
        self._metadata = dict(metadata or {})
        self._kept: dict[str, _Kept] = {}

    @property
    def urls(self) -> list[str]:
        """Where there is data now."""
        return list(self._kept)

    async def start(self) -> None:
        self.running = True

    async def stop(self) -> None:
        self.running = False

    async def add(self, image_id: str, body: IBodyProducer, attempt: str) -> Stored:
        url = self.url_prefix + image_id
        async with Intake(body) as intake:
            self._check_free(url)
            data = await self._read(intake, body.length)
            self._check_free(url)
            self._kept[url] = _Kept(data, attempt)
        return Stored(url=url, size=len(data), metadata=self._metadata)

    async def get(self, url: str, offset: int = 0, length: int | None = None) -> IBodyProducer:
        data = self._find(url).data
        return BytesSource(data[offset:] if length is None else data[offset : offset + length])

    async def size(self, url: str) -> int:
        return len(self._find(url).data)

    async def delete(self, url: str) -> None:
        self._find(url)
        del self._kept[url]

    async def discard(self, image_id: str, attempt: str) -> None:
        url = self.url_prefix + image_id
        if url in self._kept and self._kept[url].attempt == attempt:
            del self._kept[url]

    async def page(self, marker: str, limit: int) -> Page:
        urls = heapq.nsmallest(limit, (url for url in self._kept if url > marker))
        items = [Item(name=url, image_id=url.removeprefix(self.url_prefix), url=url) for url in urls]
        return Page(items=tuple(items), marker=urls[-1] if len(urls) == limit else None)

    async def look(self, item: Item) -> Kept | None:
        kept = self._kept.get(item.name)
        return None if kept is None else Kept(size=len(kept.data), age=time.monotonic() - kept.since)

    async def is_same(self, item: Item, url: str) -> bool:
        return item.url == url

    async def remove(self, item: Item) -> None:
        await self.delete(item.url)

    async def _read(self, intake: Intake, length: object) -> bytes:
        data = bytearray()
        used = sum(len(kept.data) for kept in self._kept.values())
        while chunks := await intake.take():
            data += b"".join(chunks)
            if isinstance(length, int) and len(data) > length:
                raise SizeMismatch(length, len(data))
            if self._capacity is not None and used + len(data) > self._capacity:
                raise StoreFull("The store has no room left")
        if isinstance(length, int) and len(data) != length:
            raise SizeMismatch(length, len(data))
        return bytes(data)

    def _check_free(self, url: str) -> None:
        if url in self._kept:
            raise Conflict("The store holds data of this image already")

    def _find(self, url: str) -> _Kept:
        try:
            return self._kept[url]
        except KeyError:
            raise DataNotFound("There is nothing at the location") from None


async def until(reactor: IReactorTime, condition: Callable[[], bool], patience: float = 60.0) -> None:
    """Let *reactor* turn until the condition holds. :raises TimeoutError: after *patience* seconds."""
    latest = reactor.seconds() + patience
    while not condition():
        if reactor.seconds() > latest:
            raise TimeoutError("What the test waits for did not happen")
        await deferLater(reactor, 0.001)


async def turns(reactor: IReactorTime, count: int = 20) -> None:
    """Let *reactor* turn a few times, so that what is under way could happen."""
    for _ in range(count):
        await deferLater(reactor, 0.0005)
