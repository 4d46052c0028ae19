"""The plugin ``image_decompression``: a compressed file is staged, its content is imported (processes.md, P-032).

It is told by its first bytes, as in Glance. An image whose container format is ``compressed`` is to stay so.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import IO, Final

from attrs import evolve, frozen
from zope.interface import implementer

from glancetx.domain.errors import ImageTooLarge, Invalid
from glancetx.domain.image import Image
from glancetx.formats.compression import HEAD, BadArchive, kind_of, pieces
from glancetx.imports.steps.room import Room, publish, remove, staged_file, write
from glancetx.interfaces import IImportStep, ImportJob, StepDone
from glancetx.runtime.stoppable import Stop, Stoppable
from glancetx.runtime.threads import Threads

FREE: Final = 64 * 1024 * 1024  # bytes that come of any file, whatever the ratio


@frozen(kw_only=True)
class _Limits:
    size_cap: int
    ratio: int


@implementer(IImportStep)
class Decompress:
    """Works in *threads*. What becomes more than *ratio* times as large as it was is refused."""

    name = "decompress"
    verb = "Decompressed"

    def __init__(self, threads: Threads, room: Room, ratio: int) -> None:
        self._threads, self._room = threads, room
        self._limits = _Limits(size_cap=room.size_cap, ratio=ratio)

    async def run(self, job: ImportJob) -> StepDone:
        """:raises Invalid: if it is broken, or is not one file, or a bomb. :raises ImageTooLarge: if that."""
        source = staged_file(job)
        if job.image.container_format == "compressed":
            return StepDone()
        partial, whole = job.partial(), job.whole(self.name)
        work = _Work(source, partial, whole, self._limits, job.tell)
        size = await Stoppable[int | None](self._threads, work.run)
        if size is None:
            return StepDone()
        try:
            await self._room.make(job, size)
        except BaseException:
            await self._threads.run(remove, whole)
            raise
        return StepDone(path=whole, change=_sized(size))


@frozen
class _Work:
    source: Path
    partial: Path
    whole: Path
    limits: _Limits
    tell: Callable[[int, int | None], None]

    def run(self, stop: Stop) -> int | None:
        """The size of the content; None if the file is not compressed."""
        with self.source.open("rb") as file:
            kind = kind_of(file.read(HEAD))
            file.seek(0)
            if kind is None:
                return None
            try:
                with self.partial.open("wb") as output:
                    self._copy(kind, file, output, stop)
                return publish(self.partial, self.whole)
            except BadArchive as error:
                raise Invalid(str(error)) from error
            finally:
                remove(self.partial)

    def _copy(self, kind: str, file: IO[bytes], output: IO[bytes], stop: Stop) -> None:
        total, size = os.stat(self.source).st_size, 0
        for piece in pieces(kind, self.source, file):
            stop.check()
            size += len(piece)
            read = total if kind == "lha" else file.tell()
            if size > self.limits.size_cap:
                raise ImageTooLarge
            if size > FREE + read * self.limits.ratio:
                raise Invalid(f"The {kind} data becomes more than {self.limits.ratio} times as large.")
            write(output, piece)
            self.tell(min(read, total), total)


def _sized(size: int) -> Callable[[Image], Image]:
    return lambda image: evolve(image, size=size)
