"""Whole files: opened and compared for those who read, and kept open for who reads the next piece.

Pruning sees those that are being read, and only these.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.web.iweb import IBodyProducer

from glancetx.cache.files import CacheFolder, Identity, Opened, identity_of, verified
from glancetx.cache.growing import close_in
from glancetx.domain.cached import Content
from glancetx.interfaces import ICacheIndex
from glancetx.runtime.threads import Threads
from glancetx.runtime.undo import undone_by
from glancetx.streams import Digest, Discard, FileSource, Tap
from glancetx.streams.open_files import OpenFile, OpenFiles


class WholeFile(OpenFile):
    """A whole file that was *opened*, and found to be what *mark* says. It is locked while it has readers."""

    def __init__(self, opened: Opened, mark: str, threads: Threads) -> None:
        super().__init__(opened.descriptor, opened.size, threads)
        self.mark = mark
        self._identity = opened.identity

    def look(self) -> bool:
        """Lock it; False if it was removed, written to or condemned, or is just being removed, in whatever process."""
        if not self.readers:
            try:
                fcntl.flock(self.descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
        status = os.fstat(self.descriptor)
        return status.st_nlink > 0 and identity_of(status) == self._identity

    def leave(self) -> None:
        if self.readers == 1 and self.kept:
            fcntl.flock(self.descriptor, fcntl.LOCK_UN)
        super().leave()


class WholeFiles:
    """Those of *folder*, as sources for who reads images. *run* does what nobody waits for, and logs its errors."""

    def __init__(
        self,
        folder: CacheFolder,
        index: ICacheIndex,
        files: Threads,
        hashing: Threads,
        clock: IReactorTime,
        run: Callable[[Coroutine[Deferred[Any], Any, None]], object],
    ) -> None:
        self._folder, self._index, self._files, self._hashing, self._run = folder, index, files, hashing, run
        self._kept = OpenFiles[WholeFile](clock)
        self._known: dict[str, tuple[Identity, str]] = {}  # what was compared, where files cannot be marked
        self._comparing: set[str] = set()
        self._log = Logger()

    async def open(self, content: Content, offset: int, length: int) -> IBodyProducer | None:
        """A source of these bytes. None if there is no file, or it is not *content* as far as is known.

        What somebody else left is compared then, beside who asks.
        """
        try:
            return self._find(content, offset, length) or await self._open(content, offset, length)
        except OSError as error:
            self._log.warn("the cache cannot be read: {error}", error=error.strerror)
            return None

    async def condemn(self, content: Content) -> None:
        """The whole file was read and is not *content*: it is not served any more, and kept among the invalid ones."""
        self._log.error("image {image}: the cached file is not what it should be", image=content.image_id)
        await self._files.run(self._folder.condemn, content.image_id)
        self.forget(content.image_id)
        await self._index.remove(content.image_id)

    def forget(self, image_id: str) -> None:
        """The file is gone."""
        self._known.pop(image_id, None)
        self._kept.forget(image_id)

    def close(self) -> None:
        """Nothing is known, or kept open, any more."""
        self._known.clear()
        self._kept.close()

    def _find(self, content: Content, offset: int, length: int) -> IBodyProducer | None:
        """A source of the file that is open already."""
        file = self._kept.find(content.image_id)
        if file is None:
            return None
        if file.mark != content.mark:
            file.leave()
            return None
        return self._source(file, offset, length)

    def _source(self, file: WholeFile, offset: int, length: int) -> IBodyProducer:
        return FileSource(self._files, file.descriptor, offset, length, file.leave)

    async def _open(self, content: Content, offset: int, length: int) -> IBodyProducer | None:
        opened = self._folder.opened(content.image_id)
        async with undone_by(self._files.run, opened.close):
            found = await self._files.run(opened.open)
        if not found:
            return None
        if opened.size == content.size and self._is_verified(opened, content):
            file = WholeFile(opened, content.mark, self._files)
            return self._source(self._kept.share(content.image_id, file), offset, length)
        if opened.size == content.size and content.image_id not in self._comparing:
            self._comparing.add(content.image_id)
            self._run(self._compare(content, opened))
            return None
        await close_in(self._files, opened.close)
        if opened.size != content.size:
            await self.condemn(content)
        return None

    def _is_verified(self, opened: Opened, content: Content) -> bool:
        known = self._known.get(content.image_id)
        return opened.mark == content.mark or known == (opened.identity, content.mark)

    async def _compare(self, content: Content, opened: Opened) -> None:
        """Look whether a file that somebody else left is what it should be; it is served only then."""
        digest = Digest(content.algorithm, self._hashing)
        try:
            await Tap(FileSource(self._files, opened.descriptor, 0, opened.size), digest).startProducing(Discard())
            if digest.hexdigest != content.digest.lower():
                await self.condemn(content)
                return
            self._known[content.image_id] = (opened.identity, content.mark)
            await self._files.run(verified, self._folder.whole(content.image_id), opened.identity, content.mark)
        finally:
            self._comparing.discard(content.image_id)
