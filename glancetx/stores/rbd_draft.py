"""How an RBD image comes into being, all or nothing, and how one is removed. Everything here blocks, unless it says so.

The bytes go to an image ``<image id>.<attempt>.part``. When they are there it gets its snapshot, and then its final
name, the image id, in one step, which fails if that name is taken. Its metadata tell whose it is: so, after a crash, an
attempt's remains are told from the data of another one.
"""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Container, Iterator
from typing import Any, Final, TypeVar

from glancetx.config.store_settings import MIB, RbdSettings
from glancetx.domain.errors import Conflict, DataInUse, StoreUnavailable
from glancetx.runtime.failpoints import reach
from glancetx.stores.rbd_cluster import Cluster, Completion, Connection
from glancetx.streams.budget import Share

T = TypeVar("T")

SNAPSHOT: Final = "snap"
MARK: Final = "glancetx.attempt"
MOST_GROWTH: Final = 8 * 1024 * MIB  # of an image whose size nobody knows, at once
MOST_TRIES: Final = 40  # to remove an image from a full pool
PAUSE: Final = 0.5  # seconds between two of them
PIECE: Final = 2 * MIB  # bytes written at once, at most: larger ones take more memory and are no faster
UNDER_WAY: Final = 8 * MIB  # of pieces of all images; one of each in any case


class RbdDraft:
    """One attempt to write one image over a *connection*, which is held by whoever holds this."""

    def __init__(self, settings: RbdSettings, connection: Connection, image_id: str, attempt: str) -> None:
        self.connection = connection
        self._settings = settings
        self._final, self._attempt = image_id, attempt
        self._part = part_name(image_id, attempt)
        self._pool: Any = None
        self._image: Any = None
        self._size, self._growth = 0, settings.chunk_size

    def create(self, connection: Connection, size: int) -> None:
        """Make an image of *size*, which may be 0 if it is to grow. :raises Conflict: if the final name is taken."""
        rbd = connection.rbd
        self._pool = connection.pool(self._settings.pool)
        with contextlib.suppress(rbd.ImageNotFound):
            rbd.Image(self._pool, self._final, read_only=True).close()
            raise Conflict("The store holds data of this image already")
        rbd.RBD().create(
            self._pool, self._part, size, order(self._settings), old_format=False, features=features(connection)
        )
        reach("store.created")
        self._image, self._size = rbd.Image(self._pool, self._part), size

    def grow(self, connection: Connection, needed: int) -> None:
        """Make room for *needed* bytes in all, and for more as the image is larger (S-048)."""
        while self._size < needed:
            self._growth = min(2 * self._growth, MOST_GROWTH)
            self._size += self._growth
        self._image.resize(self._size)

    def fits(self, needed: int) -> bool:
        """Whether there is room for so many bytes in all. Does not block."""
        return needed <= self._size

    def write(self, cluster: Cluster, offset: int, data: bytes) -> Completion[None]:
        """Begin to write. Does not block."""
        done: Completion[None] = Completion(cluster.reactor, self.connection)
        # The callback keeps the data alive: Ceph does not copy it.
        self._image.aio_write(data, offset, lambda ended, data=data: done.tell(ended.get_return_value(), None))
        return done

    def publish(self, connection: Connection, size: int) -> None:
        """Make what was written durable and unchangeable, and visible under its final name.

        :raises Conflict: if another attempt was faster.
        """
        reach("store.written")
        if size != self._size:
            self._image.resize(size)
        self._image.flush()
        self._image.metadata_set(MARK, self._attempt)
        self._image.create_snap(SNAPSHOT)
        self._image.protect_snap(SNAPSHOT)
        reach("store.synced")
        self._close_image()
        connection.rbd.RBD().rename(self._pool, self._part, self._final)
        reach("store.linked")
        # Of two that rename to the same name at the same time one does nothing, and is not told so.
        if _mark(connection.rbd, self._pool, self._final) != self._attempt:
            raise Conflict("The store holds data of this image already")
        self.close()
        reach("store.published")

    def close(self) -> None:
        """Let go of what is open. Nothing is written any more."""
        self._close_image()
        if self._pool is not None:
            pool, self._pool = self._pool, None
            pool.close()

    def _close_image(self) -> None:
        if self._image is not None:
            image, self._image = self._image, None
            image.close()


class Writes:
    """The writes of one draft that are under way. Does not block. Each is in *memory* until it is done."""

    def __init__(self, cluster: Cluster, draft: RbdDraft, memory: Share) -> None:
        self._cluster, self._draft, self._memory = cluster, draft, memory
        self._running: deque[Completion[None]] = deque()

    async def room(self) -> None:
        """Wait until another piece may be written. Raises what an earlier one failed with."""
        await self._memory.room(PIECE)
        while self._running and self._running[0].called:
            await self._running.popleft()

    def add(self, offset: int, data: bytes) -> None:
        """Begin one."""
        self._memory.take(len(data))
        writing = self._draft.write(self._cluster, offset, data)
        writing.addBoth(self._gives, len(data))
        self._running.append(writing)

    def _gives(self, result: T, size: int) -> T:
        self._memory.give(size)
        return result

    async def finish(self) -> None:
        """Wait for all. Raises what one failed with."""
        while self._running:
            await self._running.popleft()

    async def settle(self) -> None:
        """Wait for all, however they end."""
        while self._running:
            await self._running.popleft().addErrback(lambda _: None)


def part_name(image_id: str, attempt: str) -> str:
    """The name of an image that is not complete."""
    return f"{image_id}.{attempt}.part"


def order(settings: RbdSettings) -> int:
    """The size of the objects of an image, as a power of two."""
    return settings.chunk_size.bit_length() - 1


def features(connection: Connection) -> int:
    """What new images can do: as Ceph's configuration says, else at least layering, so that they can be cloned."""
    rbd, text = connection.rbd, connection.handle.conf_get("rbd_default_features") or ""
    chosen = int(text) if text.isdigit() else rbd.RBD().features_from_string(text)
    return int(chosen or rbd.RBD_FEATURE_LAYERING)


def discard(connection: Connection, pool_name: str, image_id: str, attempt: str) -> None:
    """Remove what is left of an attempt: its draft, and the image if it is this attempt's.

    That gets the draft's name before it is removed, and its own back if it is another's: one that slept after it had
    looked may find that of a newer attempt.

    :raises DataInUse: if a process holds it open; one that died holds it for half a minute.
    """
    rbd, part, draft = connection.rbd, part_name(image_id, attempt), True
    with opened(connection, pool_name) as pool:
        _return(rbd, pool, part, image_id, (attempt, None))  # one that was killed may have taken it aside
        with contextlib.suppress(rbd.ImageNotFound):
            if _mark(rbd, pool, image_id) == attempt:
                draft = not _take_aside(rbd, pool, image_id, part)
        with contextlib.suppress(rbd.ImageNotFound):
            if not _return(rbd, pool, part, image_id, (attempt, None) if draft else (attempt,)):
                remove(rbd, pool, part, SNAPSHOT)


def _take_aside(rbd: Any, pool: Any, name: str, part: str) -> bool:
    """Give it the draft's name. False: it had both, since a process died while it gave it another; it is removed."""
    try:
        rbd.RBD().rename(pool, name, part)
    except rbd.ImageExists:
        remove(rbd, pool, name, SNAPSHOT)
        return False
    reach("store.aside")
    return True


def _return(rbd: Any, pool: Any, part: str, name: str, marks: Container[str | None]) -> bool:
    """Give what has the draft's name its own back, unless it has one of these marks; a draft has none yet."""
    with contextlib.suppress(rbd.ImageNotFound):
        if _mark(rbd, pool, part) not in marks:
            rbd.RBD().rename(pool, part, name)
            return True
    return False


def delete(connection: Connection, pool_name: str, name: str, snapshot: str | None) -> None:
    """Remove an image for good, or into the trash if it has other snapshots (S-053)."""
    with opened(connection, pool_name) as pool:
        remove(connection.rbd, pool, name, snapshot)


def remove(rbd: Any, pool: Any, name: str, snapshot: str | None) -> None:
    """Remove an image with its snapshot; if it is in use, both stay."""
    if snapshot is not None:
        _remove_snapshot(rbd, pool, name, snapshot)
        reach("store.unlinked")
    try:
        _remove_image(rbd, pool, name)
    except rbd.ImageBusy:
        if snapshot is not None:
            _restore_snapshot(rbd, pool, name, snapshot)
        raise DataInUse("The RBD image is in use") from None


def _remove_image(rbd: Any, pool: Any, name: str) -> None:
    """Where the pool is full, Ceph has no room to note what it removes: so the data goes first, and that is awaited."""
    tries = 0
    while True:
        try:
            rbd.RBD().remove(pool, name)
            return
        except rbd.ImageHasSnapshots:
            rbd.RBD().trash_move(pool, name)
            return
        except rbd.ImageNotFound:
            with rbd.Image(pool, name) as image:  # raises the same if that is true
                image.resize(0)
            if tries == MOST_TRIES:
                raise StoreUnavailable("The Ceph cluster is too full to remove an image; try again") from None
        tries += 1
        time.sleep(PAUSE)


def _remove_snapshot(rbd: Any, pool: Any, name: str, snapshot: str) -> None:
    """:raises DataInUse: if there are clones of it, and nothing has changed."""
    try:
        with rbd.Image(pool, name) as image:
            with contextlib.suppress(rbd.InvalidArgument):  # it was not protected
                image.unprotect_snap(snapshot)
            image.remove_snap(snapshot)
    except rbd.ImageNotFound:
        pass  # no such snapshot; or no such image, which the removal of that tells
    except rbd.ImageBusy:
        raise DataInUse("The image has clones") from None


def _restore_snapshot(rbd: Any, pool: Any, name: str, snapshot: str) -> None:
    with rbd.Image(pool, name) as image:
        image.create_snap(snapshot)
        image.protect_snap(snapshot)


def _mark(rbd: Any, pool: Any, name: str) -> str | None:
    """Whose image it is, if that is known. :raises rbd.ImageNotFound: if there is no such image."""
    with rbd.Image(pool, name, read_only=True) as image:
        try:
            return str(image.metadata_get(MARK))
        except KeyError:
            return None


@contextlib.contextmanager
def opened(connection: Connection, pool_name: str) -> Iterator[Any]:
    """The I/O context of a pool."""
    pool = connection.pool(pool_name)
    try:
        yield pool
    finally:
        pool.close()
