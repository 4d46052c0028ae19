"""The ideal relay of a verified read: plain sockets and threads, nothing but the work itself.

Run as ``python -m tests.bench.ideal_relay PORT swift PREFIX TOKEN`` or ``... PORT rbd CONF USER POOL``. GET /NAME reads
the object PREFIX/NAME, or the RBD image, computes its sha512 in a thread and sends it on in another one. What an image
service adds on top is the distance to this; the distance of this to a raw client is the price of the verified relay.
"""

from __future__ import annotations

import hashlib
import queue
import socket
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

from glancetx.stores.rbd_cluster import binding
from tests.bench.processes import HOST

_PIECE = 1024 * 1024
_AHEAD = 4
"""Pieces that have been read and not been both hashed and sent; and reads of RBD that are under way."""

Open = Callable[[str], tuple[int, Iterator[bytes | memoryview]]]
"""The size of what has a name, and its pieces; the next but `_AHEAD` may be in the same buffer."""


class _Lane:
    """A thread that does *work* on every piece, in order."""

    def __init__(self, work: Callable[[bytes | memoryview], object], done: threading.Semaphore) -> None:
        self._work, self._done = work, done
        self._pieces: queue.SimpleQueue[bytes | memoryview | None] = queue.SimpleQueue()
        self.put = self._pieces.put
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def finish(self) -> None:
        self.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (piece := self._pieces.get()) is not None:
            try:
                self._work(piece)
            finally:
                self._done.release()


def swift(prefix: str, token: str) -> Open:
    """Objects by HTTP without TLS."""
    address = urlsplit(prefix)

    def opened(name: str) -> tuple[int, Iterator[memoryview]]:
        connection = socket.create_connection((address.hostname, address.port))
        head = f"GET {address.path}/{name} HTTP/1.1\r\nHost: {address.netloc}\r\nX-Auth-Token: {token}\r\n"
        connection.sendall(f"{head}Connection: close\r\n\r\n".encode())
        received = _head(connection)
        fields = dict(line.split(b": ", 1) for line in received.lower().split(b"\r\n")[1:] if line)
        size = int(fields[b"content-length"])
        return size, _received(connection, size)

    return opened


def _head(connection: socket.socket) -> bytes:
    """What comes before a body, to the byte."""
    received = b""
    while not received.endswith(b"\r\n\r\n"):
        more = connection.recv(1)
        assert more, received
        received += more
    return received


def _received(connection: socket.socket, size: int) -> Iterator[memoryview]:
    buffers = [memoryview(bytearray(_PIECE)) for _ in range(_AHEAD + 1)]
    with connection:
        for number in range(-(-size // _PIECE)):
            piece = buffers[number % len(buffers)][: min(_PIECE, size - number * _PIECE)]
            count = connection.recv_into(piece, flags=socket.MSG_WAITALL)
            assert count == len(piece), "the store broke off"
            yield piece


def rbd(conf: str, user: str, pool: str) -> Open:
    """RBD images, with the binding that glancetx uses."""
    rados, images = binding("rados"), binding("rbd")
    cluster = rados.Rados(conffile=conf, rados_id=user)
    cluster.connect()
    context = cluster.open_ioctx(pool)

    def opened(name: str) -> tuple[int, Iterator[bytes]]:
        image = images.Image(context, name, read_only=True)
        size = image.size()
        return size, _read(image, size)

    return opened


def _read(image: Any, size: int) -> Iterator[bytes]:
    under_way: deque[queue.SimpleQueue[bytes]] = deque()
    asked = 0
    while under_way or asked < size:
        while asked < size and len(under_way) < _AHEAD:
            answer: queue.SimpleQueue[bytes] = queue.SimpleQueue()
            image.aio_read(asked, min(_PIECE, size - asked), lambda _, data, tell=answer.put: tell(data))
            under_way.append(answer)
            asked += _PIECE
        yield under_way.popleft().get()
    image.close()


KINDS: dict[str, Callable[..., Open]] = {"swift": swift, "rbd": rbd}


def _answer(connection: socket.socket, opened: Open) -> None:
    """Serve one request of one connection."""
    with connection:
        name = _head(connection).split()[1].decode().rpartition("/")[2]
        size, pieces = opened(name)
        connection.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n".encode())
        digest = hashlib.sha512()
        done = [threading.Semaphore(_AHEAD), threading.Semaphore(_AHEAD)]
        lanes = [_Lane(digest.update, done[0]), _Lane(connection.sendall, done[1])]
        for piece in pieces:
            for each in done:
                each.acquire()
            for lane in lanes:
                lane.put(piece)
        for lane in lanes:
            lane.finish()
        print(name, digest.hexdigest(), flush=True)


def main(port: str, kind: str, *arguments: str) -> None:
    """Listen until killed."""
    opened = KINDS[kind](*arguments)
    with socket.create_server((HOST, int(port)), backlog=64) as listening:
        while True:
            connection, _ = listening.accept()
            threading.Thread(target=_answer, args=(connection, opened), daemon=True).start()


if __name__ == "__main__":
    main(*sys.argv[1:])
