"""The ideal upload: plain sockets and threads, no HTTP library, nothing but the work itself.

Run as ``python -m tests.bench.ideal PORT DIRECTORY``. Each PUT is received, hashed by md5 and sha512 in two threads,
written to a temporary name, fsynced and renamed, and the directory is fsynced. What an image service adds on top
(routing, a database, format inspection) is the distance to this.
"""

from __future__ import annotations

import hashlib
import os
import queue
import socket
import sys
import threading
import uuid
from pathlib import Path

from tests.bench.processes import HOST

_PIECE = 256 * 1024
_RING = 16


class _Ring:
    """A few buffers that travel from the socket to two hashing threads and back."""

    def __init__(self) -> None:
        self.free: queue.SimpleQueue[bytearray] = queue.SimpleQueue()
        for _ in range(_RING):
            self.free.put(bytearray(_PIECE))
        self._left: dict[int, int] = {}
        self._lock = threading.Lock()
        self._lanes: list[queue.SimpleQueue[tuple[bytearray, int] | None]] = []
        self._threads: list[threading.Thread] = []
        self.digests: dict[str, str] = {}
        for algorithm in ("md5", "sha512"):
            lane: queue.SimpleQueue[tuple[bytearray, int] | None] = queue.SimpleQueue()
            self._lanes.append(lane)
            self._threads.append(threading.Thread(target=self._hash, args=(algorithm, lane)))
        for thread in self._threads:
            thread.start()

    def give(self, buffer: bytearray, length: int) -> None:
        """Hand *length* bytes of *buffer* to both hashes; it is free again when both have read it."""
        with self._lock:
            self._left[id(buffer)] = len(self._lanes)
        for lane in self._lanes:
            lane.put((buffer, length))

    def finish(self) -> None:
        """Wait until everything given has been hashed."""
        for lane in self._lanes:
            lane.put(None)
        for thread in self._threads:
            thread.join()

    def _hash(self, algorithm: str, lane: queue.SimpleQueue[tuple[bytearray, int] | None]) -> None:
        digest = hashlib.new(algorithm)
        while (work := lane.get()) is not None:
            buffer, length = work
            digest.update(memoryview(buffer)[:length])
            with self._lock:
                self._left[id(buffer)] -= 1
                free = self._left[id(buffer)] == 0
            if free:
                self.free.put(buffer)
        self.digests[algorithm] = digest.hexdigest()


def _read_head(connection: socket.socket) -> tuple[int, bytes] | None:
    """The Content-Length and the body bytes that came along; None when the client has gone."""
    head = b""
    while b"\r\n\r\n" not in head:
        received = connection.recv(16384)
        if not received:
            return None
        head += received
    lines, _, body = head.partition(b"\r\n\r\n")
    for line in lines.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value), body
    return 0, body


def _store(connection: socket.socket, length: int, first: bytes, descriptor: int, ring: _Ring) -> None:
    """Read the body to its end: into the file and into the hashes."""
    received = 0
    while received < length:
        buffer = ring.free.get()
        view = memoryview(buffer)
        filled = len(first)
        view[:filled] = first
        first = b""
        wanted = min(_PIECE, length - received)
        while filled < wanted:
            count = connection.recv_into(view[filled:wanted])
            if not count:
                raise ConnectionError("the client has gone")
            filled += count
        ring.give(buffer, filled)
        os.write(descriptor, view[:filled])
        received += filled


def _answer(connection: socket.socket, directory: Path) -> None:
    """Serve one connection, upload after upload."""
    while (head := _read_head(connection)) is not None:
        length, first = head
        name = directory / uuid.uuid4().hex
        ring = _Ring()
        try:
            descriptor = os.open(name.with_suffix(".part"), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640)
            try:
                _store(connection, length, first, descriptor, ring)
            finally:
                ring.finish()
            os.fsync(descriptor)
            os.close(descriptor)
            os.rename(name.with_suffix(".part"), name)
            folder = os.open(directory, os.O_RDONLY)
            os.fsync(folder)
            os.close(folder)
        except ConnectionError:
            return
        connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")


def main() -> None:
    """Listen until killed."""
    port, directory = int(sys.argv[1]), Path(sys.argv[2])
    with socket.create_server((HOST, port), backlog=64) as listening:
        while True:
            connection, _ = listening.accept()
            threading.Thread(target=_answer, args=(connection, directory), daemon=True).start()


if __name__ == "__main__":
    main()
