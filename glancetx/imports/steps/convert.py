"""The plugin ``image_conversion``: images are stored in the one format the operator wants (processes.md, P-031).

qemu-img does it, in a process with few rights, and never guesses: our own inspection decides what the file is, and
refuses what points outside of itself, before qemu-img is started; what comes out is inspected as well.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from attrs import evolve, frozen
from zope.interface import implementer

from glancetx.config.settings import ConversionSettings, FormatSettings
from glancetx.domain.errors import ConversionFailed, FormatMismatch, ImageTooLarge
from glancetx.domain.image import Image
from glancetx.formats.inspector import Inspector
from glancetx.imports.steps.room import Room, publish, remove, staged_file
from glancetx.interfaces import IImportStep, ImportJob, StepDone
from glancetx.runtime.children import Bounds, ChildFailed, run_child
from glancetx.runtime.stoppable import Stop, Stoppable
from glancetx.runtime.threads import Threads

PIECE: Final = 1024 * 1024
SLACK: Final = 64 * 1024 * 1024  # bytes a format needs beyond the disk in it, and a sixteenth of that
QEMU: Final = {"raw": "raw", "qcow2": "qcow2", "vmdk": "vmdk", "vdi": "vdi", "vhd": "vpc", "vhdx": "vhdx"}
"""The formats that can be converted, and qemu's names for them."""
_PROGRESS: Final = re.compile(rb"\(([0-9.]+)/100%\)")


@implementer(IImportStep)
class Convert:
    """Converts in *threads*. *formats* is what the inspection insists on."""

    name = "convert"
    verb = "Converted"

    def __init__(
        self, threads: Threads, room: Room, settings: ConversionSettings, qemu_img: str, formats: FormatSettings
    ) -> None:
        self._threads, self._room, self._settings, self._qemu_img = threads, room, settings, qemu_img
        self._formats = evolve(formats, require_image_format_match=True)

    async def run(self, job: ImportJob) -> StepDone:
        """:raises FormatMismatch: if it is not what the image says, or not safe.

        :raises ConversionFailed, ImageTooLarge: if qemu-img cannot do it within its bounds.
        """
        source = staged_file(job)
        work = _Work(job, source, self._settings, self._qemu_img, self._formats, self._room.size_cap)
        done = await Stoppable[_Converted | None](self._threads, work.run)
        if done is None:
            return StepDone()
        if done.path is None:
            return StepDone(change=lambda image: evolve(image, virtual_size=done.virtual_size))
        try:
            await self._room.make(job, done.size)
        except BaseException:
            await self._threads.run(remove, done.path)
            raise
        return StepDone(path=done.path, change=done.applied)


@frozen(kw_only=True)
class _Converted:
    """The file *path*; None: it was in the wanted format before."""

    path: Path | None
    disk_format: str
    size: int
    virtual_size: int

    def applied(self, image: Image) -> Image:
        return evolve(image, disk_format=self.disk_format, size=self.size, virtual_size=self.virtual_size)


@frozen
class _Work:
    job: ImportJob
    source: Path
    settings: ConversionSettings
    qemu_img: str
    formats: FormatSettings
    size_cap: int

    def run(self, stop: Stop) -> _Converted | None:
        """In a thread. None: it stays as it is."""
        declared, wanted = self.job.image.disk_format or "", self.settings.output_format
        self._inspect(self.source, declared, stop)
        if declared == "iso":
            return None
        if declared not in QEMU:
            raise ConversionFailed(f"Images of the disk format {declared} cannot be converted.")
        virtual_size = self._describe(QEMU[declared], stop)
        if virtual_size > self.size_cap:
            raise ImageTooLarge
        if declared == wanted:
            return _Converted(path=None, disk_format=declared, size=0, virtual_size=virtual_size)
        partial, whole = self.job.partial(), self.job.whole("convert")
        try:
            self._convert(QEMU[declared], wanted, partial, virtual_size, stop)
            self._inspect(partial, wanted, stop)
            if partial.stat().st_size > self.size_cap:
                raise ImageTooLarge
            size = publish(partial, whole)
        finally:
            remove(partial)
        return _Converted(path=whole, disk_format=wanted, size=size, virtual_size=virtual_size)

    def _inspect(self, path: Path, declared: str, stop: Stop) -> None:
        """:raises FormatMismatch: if it is not of that format and no other, or not safe."""
        inspector, size = Inspector(declared, "bare", self.formats), path.stat().st_size
        with path.open("rb") as file:
            while not inspector.settled and (piece := file.read(PIECE)):
                stop.check()
                inspector.feed([piece])
        inspector.finish(size)
        if declared == "raw" and inspector.found not in ("raw", "gpt"):
            raise FormatMismatch(f"Image disk_format raw does not match stream data {inspector.found}")

    def _describe(self, kind: str, stop: Stop) -> int:
        """The size of the disk, by qemu-img, which has to agree with us."""
        output = self._run(["info", "-f", kind, "--output=json", str(self.source)], 1, 60, stop, lambda said: None)
        try:
            facts: dict[str, Any] = json.loads(output)
            details = facts.get("format-specific", {}).get("data", {})
            named = [name for name in ("backing-filename", "full-backing-filename") if name in facts]
            if facts["format"] != kind or named or details.get("data-file"):
                raise FormatMismatch("The image names other files, or is not of its format.")
            return int(facts["virtual-size"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConversionFailed("qemu-img does not understand the image.") from error

    def _convert(self, kind: str, wanted: str, target: Path, virtual_size: int, stop: Stop) -> None:
        def heard(said: bytes) -> None:
            if found := _PROGRESS.findall(said):
                self.job.tell(int(virtual_size * float(found[-1]) / 100), virtual_size)

        target.touch(mode=0o600)  # it may write this file, but make none
        arguments = ["convert", "-p", "-f", kind, "-O", wanted, str(self.source), str(target)]
        size = virtual_size + virtual_size // 16 + SLACK
        self._run(arguments, size, self.settings.conversion_time, stop, heard, (str(target),))

    def _run(
        self,
        arguments: Sequence[str],
        file_size: int,
        cpu: int,
        stop: Stop,
        heard: Callable[[bytes], None],
        writes: tuple[str, ...] = (),
    ) -> bytes:
        bounds = Bounds(
            memory=self.settings.conversion_memory,
            cpu=cpu,
            file_size=file_size,
            patience=10.0 * cpu,
            reads=(str(self.source),),
            writes=writes,
        )
        try:
            outcome = run_child([self.qemu_img, *arguments], bounds, stop, heard)
        except (ChildFailed, OSError) as error:
            raise ConversionFailed(f"qemu-img: {error}") from error
        if outcome.code != 0:
            raise ConversionFailed(f"qemu-img failed: {self._reason(outcome.code, outcome.errors)}")
        return outcome.output

    def _reason(self, code: int, errors: bytes) -> str:
        """What it said, without the places of our files."""
        if code < 0:
            return "it was ended, since it took more than it may"
        text = errors.decode(errors="replace").replace(str(self.job.folder), "").strip()
        return text.splitlines()[-1][:200] if text else f"status {code}"
