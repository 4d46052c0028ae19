"""One image service as the replicator sees it: records, and data that come and go as streams."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final
from urllib.parse import quote, urlsplit

from twisted.web.iweb import IBodyProducer

from glancetx.domain.errors import ImageServiceError, StoreUnavailable
from glancetx.outgoing.answers import NoAnswer
from glancetx.outgoing.bodies import Chunks
from glancetx.outgoing.client import Answer, HttpClient
from glancetx.outgoing.download import Download
from glancetx.outgoing.retries import PASSING, Retries

PAGE: Final = 100
DATA: Final = "application/octet-stream"
PATCH: Final = "application/openstack-images-v2.1-json-patch"
Record = Mapping[str, Any]


class ServerError(ImageServiceError):
    """The other side did not do what was asked for. *status*: what it said; None if it said nothing."""

    def __init__(self, text: str, status: int | None = None) -> None:
        super().__init__(text)
        self.status = status


def base_url(place: str) -> str:
    """The URL of an image service, which may be named as host:port, as glance-replicator has it."""
    url = place if "://" in place else f"http://{place}"
    return url.rstrip("/").removesuffix("/v2")


class ImageServer:
    """The service at *place*, asked with *headers* that say who asks; what may pass is tried again, by *retries*."""

    def __init__(self, place: str, client: HttpClient, retries: Retries, headers: Mapping[str, str]) -> None:
        self.url = base_url(place)
        self._client, self._retries, self._headers = client, retries, dict(headers)

    async def images(self) -> AsyncIterator[Record]:
        """All images that the caller may see, hidden ones too, those that were made first at the beginning.

        :raises ServerError: if the server cannot be asked.
        """
        for hidden in ("false", "true"):
            where: str | None = f"/v2/images?limit={PAGE}&sort=created_at:asc&os_hidden={hidden}"
            while where is not None:
                page = await self._ask("GET", where)
                for image in page["images"]:
                    yield image
                where = page.get("next")
                if where is not None and "://" in where:
                    where = where[where.index("/v2/") :]

    async def image(self, image_id: str) -> Record | None:
        """One image; None if there is none."""
        try:
            record: Record = await self._ask("GET", f"/v2/images/{quote(image_id)}")
        except ServerError as error:
            if error.status == 404:
                return None
            raise
        return record

    async def create(self, values: Record) -> Record:
        """A new image. :raises ServerError: with the status 409 if there is one of this id."""
        record: Record = await self._ask("POST", "/v2/images", values, "application/json")
        return record

    async def patch(self, image_id: str, changes: Sequence[Record]) -> None:
        await self._ask("PATCH", f"/v2/images/{quote(image_id)}", changes, PATCH)

    async def delete(self, image_id: str) -> None:
        """Remove an image; to find none is success."""
        answer = await self._send("DELETE", f"/v2/images/{quote(image_id)}")
        if answer.status >= 300 and answer.status != 404:
            raise await self._refusal(answer)

    async def data(self, image_id: str, size: int, offset: int = 0) -> IBodyProducer:
        """A source of the image's data from *offset* on. When the connection breaks it goes on with another one."""

        async def open_at(done: int) -> Answer:
            first = offset + done
            wanted = {"Range": f"bytes={first}-{size - 1}"} if first else {}
            answer = await self._send("GET", f"/v2/images/{quote(image_id)}/file", headers=wanted)
            if answer.status != (206 if first else 200):
                raise StoreUnavailable(str(await self._refusal(answer)))
            return answer

        answer = await open_at(0)
        return Download(answer, size - offset, open_at, self._retries, whose="The image service")

    async def upload(self, image_id: str, body: IBodyProducer, headers: Mapping[str, str]) -> None:
        """Give an image its data; not tried again, since the stream is used up. :raises ServerError: if refused."""
        path = f"/v2/images/{quote(image_id)}/file"
        sent = {"Content-Type": DATA, **self._headers, **headers}
        try:
            answer = await self._client.request("PUT", self.url + path, sent, body)
        except NoAnswer as error:
            raise ServerError(f"{self.host}: {error}") from error
        if answer.status != 204:
            raise await self._refusal(answer)
        answer.drop()

    @property
    def host(self) -> str:
        """How to call it in messages: without anything that may be secret."""
        return urlsplit(self.url).netloc.rpartition("@")[2]

    async def _ask(self, method: str, path: str, document: Any = None, kind: str | None = None) -> Any:
        body = None if document is None else json.dumps(document).encode()
        answer = await self._send(method, path, body, {} if kind is None else {"Content-Type": kind})
        if answer.status >= 300:
            raise await self._refusal(answer)
        try:
            return json.loads(await answer.read(64 * 1024 * 1024))
        except (NoAnswer, ValueError) as error:
            raise ServerError(f"{self.host}: no JSON came") from error

    async def _send(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        tried = 0
        while True:
            sent = {"Accept": "application/json", **self._headers, **(headers or {})}
            failure: ServerError
            wish = None
            try:
                answer = await self._client.request(method, self.url + path, sent, _content(method, body))
                if answer.status not in PASSING:
                    return answer
                wish = answer.header("Retry-After")
                failure = await self._refusal(answer)
            except NoAnswer as error:
                failure = ServerError(f"{self.host}: {error}")
            tried += 1
            # A POST may have been obeyed although no answer came.
            if (method == "POST" and failure.status is None) or not await self._retries.pause(tried, wish):
                raise failure

    async def _refusal(self, answer: Answer) -> ServerError:
        try:
            text = (await answer.read(65536)).decode(errors="replace")
        except NoAnswer:
            text = ""
        words = words_of(text)[:300]
        return ServerError(f"{self.host} says {answer.status}: {words}", answer.status)


def _content(method: str, body: bytes | None) -> IBodyProducer | Sequence[bytes] | None:
    """What is not tried again goes as a stream, which has a connection of its own: a Glance closes those it has
    answered on, and says so to nobody, so that a request on one that was kept is lost.
    """
    if body is None:
        return None
    return Chunks([body]) if method == "POST" else [body]


def words_of(text: str) -> str:
    """The message of an error, be it JSON or an HTML page, in one line."""
    with suppress(ValueError, KeyError, TypeError):
        text = str(json.loads(text)["message"])
    body = text.partition("<body>")[2] or text
    return " ".join("".join(part.rpartition(">")[2] for part in body.split("<")).split())
