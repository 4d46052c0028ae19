"""Reading an object of a store that speaks HTTP: in ranges, and always of the same version."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from twisted.web.iweb import IBodyProducer

from glancetx.domain.errors import DataNotFound, StoreUnavailable
from glancetx.outgoing.client import Answer
from glancetx.outgoing.download import Download
from glancetx.outgoing.retries import Retries
from glancetx.streams import BytesSource

Ask = Callable[[Mapping[str, str]], Awaitable[Answer]]
"""GET of the object with these headers; 404 and 412 are answers."""


async def read_object(
    ask: Ask, size: int, offset: int, length: int | None, missing: str, retries: Retries, stall: float
) -> IBodyProducer:
    """A source of what `IStore.get` was asked for, of an object of *size* bytes; opened, if there is anything to read.

    When its connection breaks it goes on with another one, if the object's ETag, or else the time of its last change,
    still is the same. A server that does not know ranges is read from the beginning, and cannot be gone on with.

    :raises DataNotFound: with the text *missing*, if the object is gone.
    :raises StoreUnavailable: if what comes is not what was asked for; and what *ask* raises.
    """
    available = max(0, size - offset)
    wanted = available if length is None else min(length, available)
    if not wanted:
        return BytesSource(b"")
    tag: str | None = None
    changed: str | None = None

    async def open_at(done: int) -> Answer:
        nonlocal tag, changed
        first, last = offset + done, offset + wanted - 1
        answer = await ask({"Range": f"bytes={first}-{last}"} | ({"If-Match": tag} if tag else {}))
        whole = not done and answer.status == 200 and answer.length == size
        part = answer.status == 206 and answer.length == last - first + 1
        if not (whole or part) or (done and not tag and answer.header("Last-Modified") != changed):
            if answer.status < 300:
                answer.drop()
            if answer.status == 404:
                raise DataNotFound(missing)
            raise StoreUnavailable("The stored data is not what it was")
        tag, changed = answer.header("ETag"), answer.header("Last-Modified")
        return answer

    begun = await open_at(0)
    return Download(begun, wanted, open_at, retries, stall, skip=offset if begun.status == 200 else 0)
