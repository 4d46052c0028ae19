"""Images in a folder (P-122, P-123): ``ID`` is an image's record as JSON, ``ID.img`` its bytes.

What is there under its own name is whole: both are written beside it and renamed when they are synced. Bytes that came
before a dump was ended stay in ``ID.part``, and the next one goes on there.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from twisted.web.iweb import IBodyProducer

from glancetx.domain.errors import ImageServiceError, StoreUnavailable
from glancetx.replication.copying import Outcome, Progress, Tell
from glancetx.replication.records import expected, is_active, of_version_one
from glancetx.replication.server import ImageServer, Record
from glancetx.runtime.threads import Threads
from glancetx.streams import FileSource, Intake, Tap

READ: Final = 1024 * 1024


class Dump:
    """A folder of images. Files are read and written in *files*, digests computed in *hashing*."""

    def __init__(self, folder: Path, files: Threads, hashing: Threads) -> None:
        self.folder = folder
        self._files, self._hashing = files, hashing

    async def take(self, server: ImageServer, tell: Tell, *, metadata_only: bool = False) -> Outcome:
        """Write what *server* has and this folder has not. An image that fails is noted, and the next one comes."""
        await self._files.run(self.folder.mkdir, parents=True, exist_ok=True)
        outcome = Outcome.empty()
        async for record in server.images():
            image_id = str(record["id"])
            if await self._files.run((self.folder / image_id).exists):
                outcome.same.append(image_id)
                continue
            try:
                if is_active(record) and not metadata_only:
                    await self._take_data(server, record, tell)
                await self._files.run(write_file, self.folder / image_id, json.dumps(record).encode())
            except (ImageServiceError, OSError) as error:
                outcome.failed[image_id] = str(error)
            else:
                outcome.copied.append(image_id)
        return outcome

    async def records(self) -> list[Record]:
        """What is in the folder, in the words of today's API."""
        return await self._files.run(self._read)

    async def data(self, record: Record) -> IBodyProducer:
        """The bytes of an image. :raises StoreUnavailable: if they are not there."""
        path = self.folder / f"{record['id']}.img"
        try:
            descriptor = await self._files.run(os.open, path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise StoreUnavailable(f"{path.name}: {error.strerror}") from error
        return FileSource(self._files, descriptor, 0, os.fstat(descriptor).st_size)

    async def has_data(self, record: Record) -> bool:
        return await self._files.run((self.folder / f"{record['id']}.img").is_file)

    def _read(self) -> list[Record]:
        found: list[Record] = []
        for path in sorted(self.folder.iterdir()):
            if path.suffix in (".img", ".part") or path.name.startswith(".") or not path.is_file():
                continue
            record = json.loads(path.read_bytes())
            found.append({**of_version_one(record), "id": path.name})
        return found

    async def _take_data(self, server: ImageServer, record: Record, tell: Tell) -> None:
        final, part = self.folder / f"{record['id']}.img", self.folder / f"{record['id']}.part"
        size = int(record["size"])
        if await self._files.run(size_of, final) == size:
            return
        begun = await self._files.run(size_of, part)
        offset = begun if 0 < begun < size else 0
        descriptor = await self._files.run(os.open, part, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            await self._files.run(os.ftruncate, descriptor, offset)
            await self._files.run(os.lseek, descriptor, offset, os.SEEK_SET)
            if size:
                source = await server.data(record["id"], size, offset)
                await self._write(descriptor, Tap(source, Progress(tell, record)))
            await self._prove(record, descriptor, part)
            await self._files.run(os.fsync, descriptor)
        finally:
            os.close(descriptor)
        await self._files.run(publish, part, final)

    async def _write(self, descriptor: int, source: IBodyProducer) -> None:
        async with Intake(source) as intake:
            while block := await intake.take():
                await self._files.run(write_all, descriptor, block)

    async def _prove(self, record: Record, descriptor: int, part: Path) -> None:
        """:raises StoreUnavailable: if the bytes are not those of the image; then they are thrown away."""
        algorithm, digest = expected(record)
        if algorithm is not None and await self._hashing.run(digest_of, descriptor, algorithm) != digest:
            await self._files.run(part.unlink)
            raise StoreUnavailable(f"what came is not what {algorithm} says, and was thrown away")


def size_of(path: Path) -> int:
    """-1 if there is no such file."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return -1


def write_all(descriptor: int, chunks: list[bytes]) -> None:
    data = memoryview(b"".join(chunks))
    while data:
        data = data[os.write(descriptor, data) :]


def digest_of(descriptor: int, algorithm: str) -> str:
    computed = hashlib.new(algorithm, usedforsecurity=False)
    offset = 0
    while piece := os.pread(descriptor, READ, offset):
        computed.update(piece)
        offset += len(piece)
    return computed.hexdigest()


def write_file(path: Path, content: bytes) -> None:
    """Write a small file, whole or not at all."""
    beside = path.with_name(f".{path.name}.part")
    with beside.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    publish(beside, path)


def publish(part: Path, final: Path) -> None:
    """Give a synced file its name, for good."""
    os.replace(part, final)
    folder = os.open(final.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


async def load(dump: Dump, bring: Callable[..., Any], outcome: Outcome) -> None:
    """Give each image of *dump* to *bring*, as `Replication.bring`; those whose bytes are missing are left out."""
    for record in await dump.records():
        if is_active(record) and not await dump.has_data(record):
            outcome.skipped.append(str(record["id"]))
            continue

        async def data(record: Record = record) -> IBodyProducer:
            return await dump.data(record)

        await bring(record, data, outcome)
