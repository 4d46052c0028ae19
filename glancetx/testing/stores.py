"""The compliance suite of stores: what `glancetx.interfaces.IStore` promises, as tests.

Whoever writes a store subclasses `StoreTests` in a test module, gives it `make_store`, and lets pytest (with
pytest-twisted) run it::

    class TestMyStore(StoreTests):
        async def make_store(self):
            return MyStore(...)
"""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
import pytest_twisted
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.web.iweb import UNKNOWN_LENGTH
from zope.interface.verify import verifyObject

from glancetx.domain.errors import Conflict, DataNotFound, SizeMismatch
from glancetx.domain.listed import Item
from glancetx.interfaces import IListing, IStore, Stored
from glancetx.streams import BytesSource, gather
from glancetx.testing.fakes import Recorder, ScriptedSource, turns, until

MIB = 1024 * 1024
CONTENT = os.urandom(3 * MIB + 17)
IDS = [str(uuid.uuid4()) for _ in range(3)]


class SourceFailed(Exception):
    """What sources of this suite fail with."""


def new_id() -> str:
    """A new image id."""
    return str(uuid.uuid4())


def new_attempt() -> str:
    """A new attempt."""
    return uuid.uuid4().hex


def the_reactor() -> IReactorTime:
    """The one pytest-twisted runs."""
    from twisted.internet import reactor

    return cast(IReactorTime, reactor)


async def keep(store: IStore, content: bytes, image_id: str | None = None, attempt: str | None = None) -> Stored:
    """Add *content* in pieces."""
    pieces = [content[i : i + 100_000] for i in range(0, len(content), 100_000)]
    stored: Stored = await store.add(image_id or new_id(), ScriptedSource(*pieces), attempt or new_attempt())
    return stored


async def read(store: IStore, url: str, offset: int = 0, length: int | None = None) -> bytes:
    """What `get` delivers; checks that it is as long as announced."""
    source = await store.get(url, offset, length)
    content = await gather(source, 256 * MIB)
    assert len(content) == source.length
    return content


async def listed(store: IStore, limit: int = 2) -> list[Item]:
    """All items, page by page; the test is skipped if this store does not tell what it keeps."""
    if not IListing.providedBy(store):
        pytest.skip("The store does not list what it keeps")
    items, marker = list[Item](), ""
    while True:
        page = await cast(IListing, store).page(marker, limit)
        items += page.items
        if page.marker is None:
            return items
        assert page.marker != marker
        marker = page.marker


class StoreTests:
    """Subclass it and write `make_store`; the other two methods if the store needs them."""

    async def make_store(self) -> IStore:
        """A new, empty store that was not started yet. Called once in each test."""
        raise NotImplementedError

    async def dispose(self, store: IStore) -> None:
        """Release what `make_store` made; called after `stop`."""

    async def remains(self, store: IStore) -> Collection[str]:
        """The names of everything that is in the store, under whatever names, if that can be found out."""
        return ()

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[IStore]:
        """A started store."""
        store = await self.make_store()
        await store.start()
        try:
            yield store
        finally:
            await store.stop()
            await self.dispose(store)

    async def check_nothing_left(self, store: IStore, image_id: str) -> None:
        """Nothing is in the store, and the image can be added."""
        assert list(await self.remains(store)) == []
        stored = await keep(store, b"another try", image_id)
        assert await read(store, stored.url) == b"another try"

    @pytest_twisted.ensureDeferred
    async def test_provides_the_interface(self) -> None:
        """The object has everything that IStore names."""
        async with self.opened() as store:
            assert verifyObject(IStore, store)

    @pytest_twisted.ensureDeferred
    async def test_returns_what_was_added(self) -> None:
        """All bytes come back, and the answer to `add` tells where and how many."""
        async with self.opened() as store:
            stored = await keep(store, CONTENT)
            assert stored.size == len(CONTENT)
            assert stored.url.startswith(store.url_prefix)
            assert await read(store, stored.url) == CONTENT
            assert await store.size(stored.url) == len(CONTENT)

    @pytest_twisted.ensureDeferred
    async def test_keeps_an_empty_image(self) -> None:
        """No bytes are data, too."""
        async with self.opened() as store:
            stored = await keep(store, b"")
            assert stored.size == 0
            assert await store.size(stored.url) == 0
            assert await read(store, stored.url) == b""

    @pytest_twisted.ensureDeferred
    async def test_keeps_a_large_image(self) -> None:
        """Much more than any buffer, mostly zeros, comes back."""
        async with self.opened() as store:
            pieces = [bytes(MIB)] * 40 + [b"end"]
            stored = await store.add(new_id(), ScriptedSource(*pieces), new_attempt())
            assert stored.size == 40 * MIB + 3
            expected = hashlib.sha256(b"".join(pieces)).digest()
            assert hashlib.sha256(await read(store, stored.url)).digest() == expected

    @pytest_twisted.ensureDeferred
    async def test_takes_an_unknown_length(self) -> None:
        """The length need not be known before."""
        async with self.opened() as store:
            body = ScriptedSource(CONTENT, length=UNKNOWN_LENGTH)
            stored = await store.add(new_id(), body, new_attempt())
            assert stored.size == len(CONTENT)
            assert await read(store, stored.url) == CONTENT

    @pytest_twisted.ensureDeferred
    async def test_takes_single_bytes(self) -> None:
        """A source may deliver in the smallest pieces."""
        async with self.opened() as store:
            content = CONTENT[:5000]
            body = ScriptedSource(*(content[i : i + 1] for i in range(len(content))))
            stored = await store.add(new_id(), body, new_attempt())
            assert await read(store, stored.url) == content

    @pytest.mark.parametrize("announced", [1, 4 * MIB])
    @pytest_twisted.ensureDeferred
    async def test_refuses_a_wrong_length(self, announced: int) -> None:
        """More or fewer bytes than announced fail, and leave nothing."""
        async with self.opened() as store:
            image_id = new_id()
            body = ScriptedSource(CONTENT, length=announced)
            with pytest.raises(SizeMismatch) as caught:
                await store.add(image_id, body, new_attempt())
            assert caught.value.announced == announced
            assert not body.active
            await self.check_nothing_left(store, image_id)

    @pytest_twisted.ensureDeferred
    async def test_stops_a_source_that_sends_too_much(self) -> None:
        """Of a source that never ends, not more than its announced length is awaited."""
        async with self.opened() as store:
            image_id = new_id()
            body = ScriptedSource(*[bytes(MIB)] * 4, length=MIB, held=True)
            with pytest.raises(SizeMismatch):
                await store.add(image_id, body, new_attempt())
            assert body.stopped
            await self.check_nothing_left(store, image_id)

    @pytest.mark.parametrize("delivered", [0, 1, 300_000, 3 * MIB])
    @pytest_twisted.ensureDeferred
    async def test_passes_on_the_error_of_a_source(self, delivered: int) -> None:
        """A source that fails at some byte fails `add` with the same error; nothing is left."""
        async with self.opened() as store:
            image_id = new_id()
            error = SourceFailed("no more")
            pieces = [CONTENT[:delivered]] if delivered else []
            with pytest.raises(SourceFailed) as caught:
                await store.add(image_id, ScriptedSource(*pieces, error=error, length=4 * MIB), new_attempt())
            assert caught.value is error
            await self.check_nothing_left(store, image_id)

    @pytest.mark.parametrize("delivered", [0, 1, 300_000, 3 * MIB])
    @pytest_twisted.ensureDeferred
    async def test_can_be_cancelled(self, delivered: int) -> None:
        """Cancelled in the middle, `add` stops the source and leaves nothing."""
        async with self.opened() as store:
            image_id = new_id()
            pieces = [CONTENT[:delivered]] if delivered else []
            body = ScriptedSource(*pieces, held=True)
            adding = Deferred.fromCoroutine(store.add(image_id, body, new_attempt()))
            await until(the_reactor(), lambda: body.started)
            await turns(the_reactor())
            adding.cancel()
            with pytest.raises(CancelledError):
                await adding
            assert body.stopped
            await self.check_nothing_left(store, image_id)

    @pytest_twisted.ensureDeferred
    async def test_can_be_cancelled_at_once(self) -> None:
        """Cancelled before anything could happen, `add` leaves nothing and no running source."""
        async with self.opened() as store:
            image_id = new_id()
            body = ScriptedSource(CONTENT, held=True)
            adding = Deferred.fromCoroutine(store.add(image_id, body, new_attempt()))
            adding.cancel()
            with pytest.raises(CancelledError):
                await adding
            assert body.stopped
            await self.check_nothing_left(store, image_id)

    @pytest.mark.parametrize("later", [0, 1, 2, 4, 8])
    @pytest_twisted.ensureDeferred
    async def test_can_be_cancelled_near_the_end(self, later: int) -> None:
        """Cancelled while the last steps are made, `add` either has done everything or leaves nothing."""
        async with self.opened() as store:
            image_id = new_id()
            body = ScriptedSource(b"content", held=True)
            adding = Deferred.fromCoroutine(store.add(image_id, body, new_attempt()))
            await until(the_reactor(), lambda: body.started)
            body.end()
            await turns(the_reactor(), later)
            adding.cancel()
            try:
                stored = await adding
            except CancelledError:
                await self.check_nothing_left(store, image_id)
            else:
                assert await read(store, stored.url) == b"content"

    @pytest_twisted.ensureDeferred
    async def test_shows_nothing_before_the_end(self) -> None:
        """While data arrives, there is nothing to be read where it is going to be."""
        async with self.opened() as store:
            image_id = new_id()
            url = (await keep(store, CONTENT, image_id)).url
            await store.delete(url)
            body = ScriptedSource(CONTENT, held=True)
            adding = Deferred.fromCoroutine(store.add(image_id, body, new_attempt()))
            await until(the_reactor(), lambda: body.started)
            await turns(the_reactor())
            with pytest.raises(DataNotFound):
                await store.size(url)
            with pytest.raises(DataNotFound):
                await store.get(url)
            body.end()
            assert await read(store, (await adding).url) == CONTENT

    @pytest_twisted.ensureDeferred
    async def test_refuses_a_second_add(self) -> None:
        """An image that has data gets no other; the new source is stopped, the old data stays."""
        async with self.opened() as store:
            image_id = new_id()
            stored = await keep(store, CONTENT, image_id)
            body = ScriptedSource(b"other", held=True)
            with pytest.raises(Conflict):
                await store.add(image_id, body, new_attempt())
            assert body.stopped
            assert await read(store, stored.url) == CONTENT

    @pytest_twisted.ensureDeferred
    async def test_lets_one_of_two_adds_win(self) -> None:
        """Of two adds of one image at the same time one succeeds, whole, and the other fails with Conflict."""
        async with self.opened() as store:
            image_id = new_id()
            bodies = [ScriptedSource(text * MIB, held=True) for text in (b"a", b"b")]
            adding = [Deferred.fromCoroutine(store.add(image_id, body, new_attempt())) for body in bodies]
            await turns(the_reactor())
            for body in bodies:
                body.end()
            outcomes: list[Any] = []
            for each in adding:
                try:
                    outcomes.append(await each)
                except Conflict as error:
                    outcomes.append(error)
            stored = next(outcome for outcome in outcomes if isinstance(outcome, Stored))
            assert sum(isinstance(outcome, Conflict) for outcome in outcomes) == 1
            winner = b"ab"[outcomes.index(stored) : outcomes.index(stored) + 1]
            assert await read(store, stored.url) == winner * MIB

    @pytest_twisted.ensureDeferred
    async def test_takes_many_images_at_once(self) -> None:
        """Adds of different images do not disturb each other."""
        async with self.opened() as store:
            contents = [bytes([number]) * (MIB + number) for number in range(8)]
            adding = [Deferred.fromCoroutine(keep(store, content)) for content in contents]
            stored = [await each for each in adding]
            assert len({each.url for each in stored}) == 8
            for each, content in zip(stored, contents, strict=True):
                assert await read(store, each.url) == content

    @pytest.mark.parametrize(
        ("offset", "length"),
        [(0, 0), (0, 1), (5, 10), (MIB - 1, 2), (7, None), (len(CONTENT) - 1, None), (len(CONTENT) - 5, 5)],
    )
    @pytest_twisted.ensureDeferred
    async def test_reads_a_range(self, offset: int, length: int | None) -> None:
        """A store with random access delivers exactly the bytes of a range."""
        async with self.opened() as store:
            if store.random_access:
                url = (await keep(store, CONTENT)).url
                end = len(CONTENT) if length is None else offset + length
                assert await read(store, url, offset, length) == CONTENT[offset:end]

    @pytest.mark.parametrize(
        ("offset", "length"), [(len(CONTENT) - 3, 10), (len(CONTENT), None), (len(CONTENT) + 5, 5)]
    )
    @pytest_twisted.ensureDeferred
    async def test_cuts_a_range_at_the_end(self, offset: int, length: int | None) -> None:
        """Of a range that goes beyond the end comes what is there, and the length tells how much that is."""
        async with self.opened() as store:
            if store.random_access:
                url = (await keep(store, CONTENT)).url
                assert await read(store, url, offset, length) == CONTENT[offset:]

    @pytest_twisted.ensureDeferred
    async def test_obeys_a_pausing_consumer(self) -> None:
        """While the consumer wants a pause nothing comes; then the rest does."""
        async with self.opened() as store:
            url = (await keep(store, CONTENT)).url
            recorder = Recorder(limit=1)
            receiving = Deferred.fromCoroutine(recorder.receive(await store.get(url)))
            await until(the_reactor(), lambda: recorder.paused)
            await turns(the_reactor())
            assert len(recorder.chunks) == 1
            assert not receiving.called
            recorder.resume()
            assert await receiving == CONTENT

    @pytest_twisted.ensureDeferred
    async def test_stops_delivering_when_told(self) -> None:
        """After stopProducing no byte comes, and the Deferred does not fire."""
        async with self.opened() as store:
            url = (await keep(store, CONTENT)).url
            source = await store.get(url)
            recorder = Recorder(limit=1)
            receiving = Deferred.fromCoroutine(recorder.receive(source))
            await until(the_reactor(), lambda: recorder.paused)
            source.stopProducing()
            recorder.resume()
            await turns(the_reactor())
            assert len(recorder.chunks) == 1
            assert not receiving.called

    @pytest_twisted.ensureDeferred
    async def test_cancelling_a_delivery_stops_it(self) -> None:
        """Cancelling the Deferred of a source ends the delivery with CancelledError."""
        async with self.opened() as store:
            url = (await keep(store, CONTENT)).url
            recorder = Recorder(limit=1)
            receiving = Deferred.fromCoroutine(recorder.receive(await store.get(url)))
            await until(the_reactor(), lambda: recorder.paused)
            receiving.cancel()
            with pytest.raises(CancelledError):
                await receiving
            assert len(recorder.chunks) == 1

    @pytest_twisted.ensureDeferred
    async def test_closes_a_source_that_is_not_started(self) -> None:
        """A source may be stopped instead of started, and twice; the data can be deleted and read by others."""
        async with self.opened() as store:
            url = (await keep(store, CONTENT)).url
            source = await store.get(url)
            source.stopProducing()
            source.stopProducing()
            assert await read(store, url) == CONTENT
            await store.delete(url)

    @pytest_twisted.ensureDeferred
    async def test_serves_several_readers(self) -> None:
        """Readers of one image do not disturb each other."""
        async with self.opened() as store:
            url = (await keep(store, CONTENT)).url
            reading = [Deferred.fromCoroutine(read(store, url)) for _ in range(5)]
            for each in reading:
                assert await each == CONTENT

    @pytest_twisted.ensureDeferred
    async def test_deletes(self) -> None:
        """What was deleted is gone, and a second delete says so."""
        async with self.opened() as store:
            url = (await keep(store, CONTENT)).url
            await store.delete(url)
            for attempt in (store.get(url), store.size(url), store.delete(url)):
                with pytest.raises(DataNotFound):
                    await attempt
            assert list(await self.remains(store)) == []

    @pytest_twisted.ensureDeferred
    async def test_adds_again_after_a_delete(self) -> None:
        """The id is free again."""
        async with self.opened() as store:
            image_id = new_id()
            await store.delete((await keep(store, CONTENT, image_id)).url)
            stored = await keep(store, b"other", image_id)
            assert await read(store, stored.url) == b"other"

    @pytest_twisted.ensureDeferred
    async def test_discards_a_complete_attempt(self) -> None:
        """What an attempt completed and nobody published goes away by its name; a repetition is harmless."""
        async with self.opened() as store:
            image_id, attempt = new_id(), new_attempt()
            url = (await keep(store, CONTENT, image_id, attempt)).url
            await store.discard(image_id, attempt)
            with pytest.raises(DataNotFound):
                await store.size(url)
            await store.discard(image_id, attempt)
            await self.check_nothing_left(store, image_id)

    @pytest_twisted.ensureDeferred
    async def test_discards_nothing_of_another_attempt(self) -> None:
        """The data of one attempt survives the discarding of another, and of the same one for another image."""
        async with self.opened() as store:
            image_id, attempt = new_id(), new_attempt()
            url = (await keep(store, CONTENT, image_id, attempt)).url
            await store.discard(image_id, new_attempt())
            await store.discard(new_id(), attempt)
            assert await read(store, url) == CONTENT

    @pytest_twisted.ensureDeferred
    async def test_discards_what_never_was(self) -> None:
        """To find nothing is success."""
        async with self.opened() as store:
            await store.discard(new_id(), new_attempt())

    @pytest_twisted.ensureDeferred
    async def test_lists_what_it_keeps(self) -> None:
        """Page by page, every image once, with the location that it has; and how each is."""
        async with self.opened() as store:
            assert await listed(store) == []
            kept = [await keep(store, bytes(size), image_id) for size, image_id in enumerate(IDS)]
            items = await listed(store)
            expected = [(image_id, stored.url) for image_id, stored in zip(IDS, kept, strict=True)]
            assert sorted((item.image_id, item.url) for item in items) == sorted(expected)
            assert not any(item.piece for item in items)
            listing = cast(IListing, store)
            for item, stored in zip(sorted(items, key=lambda item: IDS.index(item.image_id)), kept, strict=True):
                found = await listing.look(item)
                assert found is not None
                assert (found.size, found.superseded) == (stored.size, False)
                assert -600 < found.age < 600
                assert [await listing.is_same(item, each.url) for each in kept] == [each is stored for each in kept]

    @pytest_twisted.ensureDeferred
    async def test_removes_an_item(self) -> None:
        """It is gone then, and the others are there; a second time tells so."""
        async with self.opened() as store:
            first, second = [await keep(store, CONTENT, image_id) for image_id in IDS[:2]]
            item = next(each for each in await listed(store) if each.url == first.url)
            listing = cast(IListing, store)
            await listing.remove(item)
            assert await listing.look(item) is None
            with pytest.raises(DataNotFound):
                await listing.remove(item)
            with pytest.raises(DataNotFound):
                await store.size(first.url)
            assert await read(store, second.url) == CONTENT
            assert [each.url for each in await listed(store)] == [second.url]
            await store.delete(second.url)
            assert list(await self.remains(store)) == []

    @pytest_twisted.ensureDeferred
    async def test_takes_any_body_producer(self) -> None:
        """A source made elsewhere, here the simplest one, is as good."""
        async with self.opened() as store:
            stored = await store.add(new_id(), BytesSource(CONTENT), new_attempt())
            assert await read(store, stored.url) == CONTENT
