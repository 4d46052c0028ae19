"""Requests to Swift as far as a store needs them: with a token that is renewed, tried again, and their errors."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from typing import Any
from urllib.parse import quote, urlencode

from twisted.web.iweb import IBodyProducer

from glancetx.domain.errors import Conflict, StoreError, StoreFull, StoreUnavailable, StoreWriteDenied
from glancetx.outgoing.answers import NoAnswer
from glancetx.outgoing.client import Answer, HttpClient
from glancetx.outgoing.retries import PASSING, Retries
from glancetx.stores.swift_sessions import Entry, Session


class SwiftRefusal(StoreError):
    """Swift refuses, and it would not help to ask again."""


class SwiftApi:
    """Requests to one account's storage."""

    def __init__(self, session: Session, client: HttpClient, retries: Retries) -> None:
        self._session, self._client, self._retries = session, client, retries

    async def call(
        self,
        method: str,
        container: str,
        key: str = "",
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: Sequence[bytes] | None = None,
        accept: Sequence[int] = (),
        whole: bool = True,
    ) -> Answer:
        """The answer to a request, tried again if it was a passing fault; its status is a good one, or in *accept*.

        A token that is not accepted is renewed once; what a caller's may not do is done with our own. Unless *whole* is
        false the content was read.

        :raises SwiftRefusal: if it has any other status.
        :raises StoreFull, StoreWriteDenied, StoreUnavailable, Conflict: as they say.
        """
        tried, renewed = 0, False
        chunks = body or (() if method in ("PUT", "POST") else None)
        while True:
            entry = await self._session.enter()
            wish: str | None = None
            failure: StoreError | Conflict
            try:
                answer = await self._client.request(
                    method, address(entry, container, key, query), with_token(entry, headers), chunks
                )
                if whole or answer.status >= 300:
                    await answer.read()
            except NoAnswer as error:
                failure = StoreUnavailable(f"Swift: {error}")
                failure.__cause__ = error
            else:
                if answer.status < 300 or answer.status in accept:
                    answer.tries += tried
                    return answer
                if (entry.borrowed and answer.status in (401, 403)) or (answer.status == 401 and not renewed):
                    renewed = not entry.borrowed
                    self._session.forget(entry)
                    continue
                wish, failure = answer.header("Retry-After"), refusal(answer.status)
                if answer.status not in PASSING:
                    raise failure
            tried += 1
            if not await self._retries.pause(tried, wish):
                raise failure

    async def stream(self, container: str, key: str, headers: Mapping[str, str], body: IBodyProducer) -> None:
        """PUT a body that can be sent only once. :raises: as `call`, and what the body fails with."""
        # A token that ended early would be noticed only when part of the body is gone: this renews it before.
        await self.call("HEAD", container)
        entry = await self._session.enter()
        try:
            answer = await self._client.request("PUT", address(entry, container, key), with_token(entry, headers), body)
        except NoAnswer as error:
            raise StoreUnavailable(f"Swift: {error}") from error
        with suppress(NoAnswer):
            await answer.read()
        if answer.status >= 300:
            raise refusal(answer.status)

    async def names(self, container: str, prefix: str) -> AsyncIterator[str]:
        """The objects whose names begin with *prefix*; none if there is no such container."""
        marker = ""
        while True:
            query = {"format": "json", "prefix": prefix, "marker": marker}
            answer = await self.call("GET", container, query=query, accept=(404,))
            found = [] if answer.status == 404 else listed(answer.content)
            for name in found:
                yield name
            if not found:
                return
            marker = found[-1]


def address(entry: Entry, container: str, key: str, query: Mapping[str, str] | None = None) -> str:
    """Where an object or, without a key, a container is; without a name of that, the account."""
    path = entry.url + (f"/{quote(container, safe='')}" if container else "")
    path += f"/{quote(key, safe='/~')}" if key else ""
    asked = urlencode(query or {}, quote_via=quote, safe="")
    return path + (f"?{asked}" if asked else "")


def with_token(entry: Entry, headers: Mapping[str, str] | None) -> dict[str, str]:
    return {"X-Auth-Token": entry.token, **(headers or {})}


def listed(content: bytes) -> list[str]:
    """The names in a listing. :raises StoreUnavailable: if it is none."""
    if not content:
        return []
    try:
        found: Any = json.loads(content)
        return [str(each["name"]) for each in found if "name" in each]
    except (ValueError, TypeError) as error:
        raise StoreUnavailable("Swift gives a listing that cannot be read") from error


def refusal(status: int) -> StoreError | Conflict:
    """The error that means this status."""
    if status in (413, 507):
        return StoreFull("The store has no room left")
    if status == 403:
        return StoreWriteDenied("Swift refuses the request")
    if status in (409, 412):
        return Conflict("Swift already has an image at this location")
    if status == 401 or status >= 500 or status in PASSING:
        return StoreUnavailable(f"Swift answers {status}")
    return SwiftRefusal(f"Swift answers {status}")
