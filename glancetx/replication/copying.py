"""Copying images between two services, one after the other; whatever ended early is gone on with the next time."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Collection
from typing import Any, Final

from attrs import define, frozen
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer

from glancetx.domain.errors import ImageServiceError
from glancetx.replication.records import changes, copied, differences, expected, is_active
from glancetx.replication.server import ImageServer, Record, ServerError
from glancetx.runtime.threads import Threads
from glancetx.streams import Digest, IObserver, Tap

FIELDS: Final = {"sha512": "sha-512", "sha256": "sha-256"}
"""Digests that the other side compares by itself (RFC 9530)."""

Tell = Callable[[str, int, int], None]
"""Told of each image that is worked on: its name, its size, and how many bytes passed since the last call."""


@define
class Outcome:
    """What became of the images: ids by what was done with them; *failed* has the reasons."""

    copied: list[str]
    changed: list[str]
    same: list[str]
    skipped: list[str]
    failed: dict[str, str]

    @classmethod
    def empty(cls) -> Outcome:
        return cls([], [], [], [], {})


@implementer(IObserver)
@frozen
class Progress:
    """Tells how many bytes pass."""

    tell: Tell
    record: Record

    def observe(self, chunk: bytes) -> None:
        name, size = self.record.get("name") or self.record["id"], self.record["size"]
        self.tell(str(name), int(size), len(chunk))

    async def finish(self) -> None:
        """Nothing is left to tell."""


class Replication:
    """Brings images to *target*. *but*: names that are not replicated; *metadata_only*: no data moves."""

    def __init__(
        self,
        target: ImageServer,
        hashing: Threads,
        tell: Tell,
        *,
        but: Collection[str] = (),
        metadata_only: bool = False,
    ) -> None:
        self._target, self._hashing, self._tell = target, hashing, tell
        self._but, self._metadata_only = frozenset(but), metadata_only

    async def livecopy(self, source: ImageServer) -> Outcome:
        """Everything that *source* has. An image that fails is noted, and the next one comes."""
        outcome = Outcome.empty()
        async for record in source.images():

            async def data(record: Record = record) -> IBodyProducer:
                return await source.data(record["id"], record["size"])

            await self.bring(record, data, outcome)
        return outcome

    async def bring(self, record: Record, data: Callable[[], Any], outcome: Outcome) -> None:
        """Bring one image, whose bytes *data* opens, and note in *outcome* what was done."""
        image_id = str(record["id"])
        try:
            done = await self._bring(record, data)
        except ImageServiceError as error:
            outcome.failed[image_id] = str(error)
        else:
            getattr(outcome, done).append(image_id)

    async def _bring(self, record: Record, data: Callable[[], Any]) -> str:
        present = await self._target.image(record["id"])
        if present is not None and (present["status"] == "active" or self._metadata_only):
            return await self._change(record, present)
        if self._metadata_only or not is_active(record):
            return "skipped"
        if present is None:
            present = await self._create(record)
        elif present["status"] != "queued":
            return "skipped"  # somebody is at it
        await self._upload(record, await data())
        return "copied"

    async def _change(self, record: Record, present: Record) -> str:
        wanted = changes(record, present, self._but)
        if not wanted:
            return "same"
        await self._target.patch(record["id"], wanted)
        return "changed"

    async def _create(self, record: Record) -> Record:
        values = {"id": record["id"], **copied(record, self._but)}
        try:
            return await self._target.create(values)
        except ServerError as error:
            if error.status != 403 or "owner" not in values:
                raise
        del values["owner"]  # whoever may not say whose it is makes it his
        return await self._target.create(values)

    async def _upload(self, record: Record, source: IBodyProducer) -> None:
        """With the digest that the data must have, which we compare ourselves: not every server does.

        If it is another one the image is removed: it would be active with wrong bytes.
        """
        algorithm, digest = expected(record)
        observers: list[Any] = [Progress(self._tell, record)]
        headers = {}
        if algorithm is not None and digest is not None:
            observers.append(Digest(algorithm, self._hashing))
            if algorithm in FIELDS:
                headers["Repr-Digest"] = f"{FIELDS[algorithm]}=:{b64encode(bytes.fromhex(digest)).decode()}:"
        await self._target.upload(record["id"], Tap(source, *observers), headers)
        if digest is not None and observers[-1].hexdigest != digest:
            await self._target.delete(record["id"])
            raise ServerError(f"what came of it was not what {algorithm} says, and was removed again")


async def compare(source: ImageServer, target: ImageServer, but: Collection[str]) -> dict[str, dict[str, Any] | None]:
    """How images differ that both have, and None for active ones that *target* lacks; equal ones are left out."""
    found: dict[str, dict[str, Any] | None] = {}
    async for record in source.images():
        present = await target.image(record["id"])
        if present is None:
            if record["status"] == "active":
                found[record["id"]] = None
        elif unlike := differences(record, present, but):
            found[record["id"]] = dict(unlike)
    return found


@frozen
class Extent:
    """How much a service has."""

    images: int
    size: int


async def extent(server: ImageServer) -> Extent:
    """Number and bytes of the active images (P-121)."""
    sizes = [int(record["size"] or 0) async for record in server.images() if record["status"] == "active"]
    return Extent(len(sizes), sum(sizes))
