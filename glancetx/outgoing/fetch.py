"""Data of any length from a server that nobody knows: gone on with where the server breaks off, if it can."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from attrs import frozen
from twisted.web.iweb import IBodyProducer

from glancetx.domain.errors import BrokenOff, SourceUnavailable
from glancetx.outgoing.answers import NoAnswer
from glancetx.outgoing.client import Answer
from glancetx.outgoing.download import Download
from glancetx.outgoing.redirects import Redirects, TooManyRedirections
from glancetx.outgoing.retries import PASSING, Retries

_PART: Final = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)", re.ASCII)


@frozen
class Fetcher:
    """Reads URLs by *redirects*. A request is repeated as *retries* allows; *stall*: seconds without a byte."""

    redirects: Redirects
    retries: Retries
    stall: float = 60.0

    async def open(self, url: str, secrets: Mapping[str, str] | None = None) -> IBodyProducer:
        """A source of what is there, which must be started or stopped; its length is what the server announces.

        A server that breaks off is asked for the rest, on condition that it still has the same data; if it cannot go
        on, the source fails with BrokenOff. *secrets* are
        headers for the server of *url* alone.

        :raises UrlRefused: if the URL, or where it leads, may not be fetched.
        :raises SourceUnavailable: if the server does not give the data.
        """
        answer = await self._request(url, {}, secrets)
        if answer.status != 200:
            raise refused(answer)
        condition = _condition(answer)

        async def reopen(delivered: int) -> Answer:
            asked = {"Range": f"bytes={delivered}-"} | ({} if condition is None else {"If-Range": condition})
            rest = await self._request(url, asked, secrets)
            if condition is None or not _continues(rest, delivered, answer.length):
                rest.drop()
                raise BrokenOff(f"The server broke off after {delivered} bytes, and cannot go on there.")
            return rest

        return Download(
            answer, answer.length, reopen, self.retries, self.stall, whose="The server", error=SourceUnavailable
        )

    async def read(self, url: str, secrets: Mapping[str, str] | None = None) -> bytes:
        """The whole of a small document. :raises UrlRefused, SourceUnavailable: as `open`."""
        answer = await self._request(url, {}, secrets)
        if answer.status != 200:
            raise refused(answer)
        try:
            return await answer.read()
        except NoAnswer as error:
            raise SourceUnavailable(f"The server sends {error}.") from error

    async def _request(self, url: str, asked: Mapping[str, str], secrets: Mapping[str, str] | None) -> Answer:
        headers = {"Accept-Encoding": "identity", **asked}
        tried = 0
        while True:
            wish = None
            try:
                answer = await self.redirects.request("GET", url, headers, secrets)
            except TooManyRedirections as error:
                raise SourceUnavailable(f"The server asks for {error}") from error
            except NoAnswer as error:
                failure = SourceUnavailable(f"The server does not answer: {error}")
                failure.__cause__ = error
            else:
                if answer.status not in PASSING:
                    return answer
                wish, failure = answer.header("Retry-After"), refused(answer)
            tried += 1
            if not await self.retries.pause(tried, wish):
                raise failure


def refused(answer: Answer) -> SourceUnavailable:
    """What to raise for an answer that has no data; its connection is ended."""
    answer.drop()
    return SourceUnavailable(f"The server answers with status {answer.status}.")


def _condition(answer: Answer) -> str | None:
    """What makes sure that the rest is of the same data: a strong tag, else a date; None: nothing does."""
    tag = answer.header("ETag")
    if tag is not None and not tag.startswith("W/"):
        return tag
    return answer.header("Last-Modified")


def _continues(rest: Answer, offset: int, length: int | None) -> bool:
    part = _PART.fullmatch(rest.header("Content-Range") or "")
    if rest.status != 206 or part is None or int(part[1]) != offset:
        return False
    return length is None or part[3] in ("*", str(length))
