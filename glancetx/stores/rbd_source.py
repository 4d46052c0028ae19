"""Reading an RBD image: several reads at once, in order, at the pace of the consumer."""

from __future__ import annotations

from collections import deque
from typing import Any, Final, TypeVar

from twisted.internet.interfaces import IConsumer

from glancetx.config.store_settings import MIB
from glancetx.domain.errors import StoreError
from glancetx.stores.rbd_cluster import Cluster, Completion, Connection
from glancetx.stores.uri import RbdPlace
from glancetx.streams.budget import Share
from glancetx.streams.pulled import PulledSource

T = TypeVar("T")

PIECE: Final = MIB  # bytes read at once
MOST_AHEAD: Final = 4  # pieces of one transfer
ALL_UNDER_WAY: Final = 8 * MIB  # of all transfers; one piece of each in any case


class OpenImage:
    """An image, open for reading over a *connection*, which is held by whoever holds this."""

    def __init__(self, connection: Connection, pool: str, place: RbdPlace) -> None:
        self.connection = connection
        self._pool_name, self._place = pool, place
        self._pool: Any = None
        self._image: Any = None

    def open(self, connection: Connection) -> int:
        """The size. Blocks. :raises DataNotFound: if there is no such image, or it does not have that snapshot."""
        self._pool = connection.pool(self._pool_name)
        self._image = self._open()
        return int(self._image.size())

    def check(self, connection: Connection) -> None:
        """Blocks. Whether it still exists: what is deleted reads as zeros, and its snapshot is the first to go.

        :raises DataNotFound: if not.
        """
        self._open().close()

    def close(self) -> None:
        """Blocks. No read may be under way."""
        for name in ("_image", "_pool"):
            held = getattr(self, name)
            setattr(self, name, None)
            if held is not None:
                held.close()

    def read(self, cluster: Cluster, offset: int, size: int) -> Completion[bytes]:
        """Begin to read. Does not block."""
        done: Completion[bytes] = Completion(cluster.reactor, self.connection)
        self._image.aio_read(offset, size, lambda ended, data: done.tell(ended.get_return_value(), data))
        return done

    def _open(self) -> Any:
        return self.connection.rbd.Image(self._pool, self._place.image, self._place.snapshot, read_only=True)


class RbdSource(PulledSource):
    """Delivers *length* bytes of an open *image* from *offset* on, and closes it in any event.

    One piece is read ahead to begin with; more, as *memory* allows, while the consumer has to wait for them, fewer
    while it wants none.
    """

    def __init__(self, cluster: Cluster, image: OpenImage, offset: int, length: int, memory: Share) -> None:
        super().__init__(length)
        self._cluster, self._image, self._offset, self._memory = cluster, image, offset, memory
        self._reads: deque[Completion[bytes]] = deque()
        self._asked = 0
        self._ahead = 1

    async def send(self, consumer: IConsumer) -> None:
        delivered = 0
        try:
            while delivered < self.length:
                self._ask()
                piece = await self._next()
                if len(piece) != min(PIECE, self.length - delivered):
                    raise StoreError(f"The stored data ends after {delivered} of {self.length} bytes")
                delivered += len(piece)
                if delivered == self.length:
                    await self._cluster.run_on(self._image.connection, self._image.check)
                self._ask()
                await self.gate.passing()
                consumer.write(piece)
        finally:
            self.closing = True
            while self._reads:
                await self._reads.popleft().addErrback(lambda _: b"")
            await self.release()

    async def release(self) -> None:
        await self._cluster.close(self._image.connection, self._image.close)

    def _ask(self) -> None:
        """Begin as many reads as are to be under way."""
        while self._asked < self.length and len(self._reads) < self._ahead and self._memory.fits(PIECE):
            size = min(PIECE, self.length - self._asked)
            self._memory.take(PIECE)
            reading = self._image.read(self._cluster, self._offset + self._asked, size)
            self._reads.append(reading)
            reading.addBoth(self._came)
            self._asked += size

    def _came(self, result: T) -> T:
        self._memory.give(PIECE)
        return result

    def _next(self) -> Completion[bytes]:
        """The oldest piece. Whether it is there already tells how many to read ahead."""
        reading = self._reads.popleft()
        if not reading.called:
            self._ahead = min(self._ahead + 1, MOST_AHEAD)
        elif self.gate.closed:
            self._ahead = max(self._ahead - 1, 1)
        return reading
