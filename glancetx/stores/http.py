"""Image data that lies on some web server: read only, and only where the service may go (stores.md, section 3)."""

from __future__ import annotations

import re
from typing import Final

from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from glancetx.config.store_settings import HttpStoreSettings
from glancetx.domain.addresses import FetchRules
from glancetx.domain.errors import (
    ConfigurationError,
    DataNotFound,
    Forbidden,
    StoreReadOnly,
    StoreUnavailable,
    UrlRefused,
)
from glancetx.interfaces import IStore, Stored
from glancetx.outgoing.answers import NoAnswer
from glancetx.outgoing.client import Answer, HttpClient
from glancetx.outgoing.download import Download
from glancetx.outgoing.redirects import Redirects, TooManyRedirections
from glancetx.outgoing.retries import PASSING, Retries
from glancetx.streams import BytesSource

MOST_REQUESTS: Final = 5  # a request and its redirections (S-037)
_RANGE: Final = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)", re.ASCII)


@implementer(IStore)
class HttpStore:
    """Reads ``http`` and ``https`` locations. *client* connects only where *rules* allow; each redirection is judged.

    A server that does not know ranges is read from the beginning, and what comes before the range is left out.
    """

    scheme = "http"
    url_prefix = "http"
    random_access = True
    read_only = True

    def __init__(self, settings: HttpStoreSettings, client: HttpClient, rules: FetchRules, retries: Retries) -> None:
        self.identifier = settings.identifier
        self._settings, self._client, self._retries = settings, client, retries
        self._redirects = Redirects(client, rules, MOST_REQUESTS, (301, 302))

    async def start(self) -> None:
        if self._settings.proxies:
            raise ConfigurationError("http_proxy_information: requests through proxies are not supported")

    async def stop(self) -> None:
        await self._client.close()

    async def add(self, image_id: str, body: IBodyProducer, attempt: str) -> Stored:
        body.stopProducing()
        raise StoreReadOnly("Error in store configuration. Adding images to store is disabled.")

    async def get(self, url: str, offset: int = 0, length: int | None = None) -> IBodyProducer:
        asked = None if offset == 0 and length is None else (offset, length)
        if length == 0:
            await self.size(url)
            return BytesSource(b"")
        answer = await self._request("GET", url, asked)
        found = None if answer.status == 206 else answer.length
        if (part := _RANGE.fullmatch(answer.header("Content-Range") or "")) and part[3] != "*":
            found = int(part[3])
        if found is None and length is None:
            answer.drop()
            raise StoreUnavailable("The server does not tell how much data there is")
        wanted = length or 0
        if found is not None:
            available = max(0, found - offset)
            wanted = available if length is None else min(length, available)
        if not wanted or answer.status == 416:
            answer.drop()
            return BytesSource(b"")
        self._check(answer, offset)
        tag = answer.header("ETag")

        async def reopen(done: int) -> Answer:
            again = await self._request("GET", url, (offset + done, wanted - done))
            if again.status != 206 or again.header("ETag") != tag:
                again.drop()
                raise StoreUnavailable("The server cannot go on where it broke off")
            self._check(again, offset + done)
            return again

        skip = 0 if answer.status == 206 else offset
        return Download(answer, wanted, reopen, self._retries, self._client.patience.silence, skip)

    async def size(self, url: str) -> int:
        answer = await self._request("HEAD", url, None)
        answer.drop()
        text = answer.header("Content-Length") or "0"
        return int(text) if text.isascii() and text.isdigit() else 0

    async def delete(self, url: str) -> None:
        raise Forbidden("Deleting images from this store is not supported")

    async def discard(self, image_id: str, attempt: str) -> None:
        """Nothing can have been written."""

    async def _request(self, method: str, url: str, part: tuple[int, int | None] | None) -> Answer:
        """The answer of the server where redirections end: 200, 206 or 416.

        :raises DataNotFound: if there is nothing. :raises StoreUnavailable: for all else.
        """
        tried = 0
        while True:
            try:
                answer = await self._follow(method, url, part)
            except NoAnswer as error:
                failure = StoreUnavailable("Remote server where the image is present is unavailable.")
                failure.__cause__ = error
            except UrlRefused as error:
                raise StoreUnavailable(str(error)) from error
            else:
                if answer.status in (200, 206, 416):
                    return answer
                answer.drop()
                if answer.status in (404, 410):
                    raise DataNotFound("HTTP datastore could not find image at URI.")
                failure = StoreUnavailable(f"The server answers {answer.status}")
                if answer.status not in PASSING:
                    raise failure
            tried += 1
            if not await self._retries.pause(tried):
                raise failure

    async def _follow(self, method: str, url: str, part: tuple[int, int | None] | None) -> Answer:
        headers = {"Accept-Encoding": "identity"}
        if part is not None:
            first, length = part
            headers["Range"] = f"bytes={first}-{'' if length is None else first + length - 1}"
        try:
            return await self._redirects.request(method, url, headers)
        except TooManyRedirections as error:
            raise StoreUnavailable(f"The HTTP URL exceeded {MOST_REQUESTS} maximum redirects.") from error

    @staticmethod
    def _check(answer: Answer, offset: int) -> None:
        """:raises StoreUnavailable: if a part is not the one that was asked for."""
        if answer.status == 206:
            part = _RANGE.fullmatch(answer.header("Content-Range") or "")
            if part is None or part[1] is None or int(part[1]) != offset:
                answer.drop()
                raise StoreUnavailable("The server sends another part than the one it was asked for")
