"""A real process takes no more memory for larger images: many at once, over TLS and plain, with slow clients."""

from __future__ import annotations

import json
import os
import re
import socket
import ssl
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest
from attrs import frozen

from glancetx.standalone.certificates import prepare_certificates
from tests.ports import free_port
from tests.running import Daemon

MIB = 1024 * 1024
SMALL, LARGE = 64 * MIB, 512 * MIB
GROWTH = 12 * MIB  # what peaks differ by from one run to the next
MOST = 150 * MIB
BLOCK = os.urandom(MIB)
PATIENCE = 300.0


@frozen
class Peaks:
    """The most memory that was resident during four transfers at once, in bytes."""

    uploads: int
    downloads: int


class Peer:
    """One client. A *slow* one stops in the midst until the fast ones have finished."""

    def __init__(self, connect: Callable[[], socket.socket], resume: Event | None) -> None:
        self._connect, self._resume = connect, resume

    def _pause(self) -> None:
        if self._resume is not None:
            assert self._resume.wait(PATIENCE)

    def upload(self, image_id: str, size: int, chunked: bool) -> None:
        framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {size}"
        begin, end = (f"{MIB:x}\r\n".encode(), b"\r\n") if chunked else (b"", b"")
        with self._connect() as connection:
            connection.sendall(
                f"PUT /v2/images/{image_id}/file HTTP/1.1\r\nHost: x\r\nContent-Type: application/octet-stream\r\n"
                f"{framing}\r\n\r\n".encode()
            )
            for number in range(size // MIB):
                connection.sendall(begin + BLOCK + end)
                if number == 7:
                    self._pause()
            if chunked:
                connection.sendall(b"0\r\n\r\n")
            assert connection.recv(12) == b"HTTP/1.1 204"

    def download(self, image_id: str, size: int) -> None:
        with self._connect() as connection:
            connection.sendall(f"GET /v2/images/{image_id}/file HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            head, _, body = connection.recv(65536).partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200")
            self._pause()
            received, buffer = len(body), bytearray(MIB)
            while received < size:
                count = connection.recv_into(buffer)
                assert count
                received += count
            assert received == size


class Measured:
    """A daemon on a plain and on a TLS port, and how much memory it takes."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.daemon = Daemon(folder, whole=True)
        self._tls_port = free_port()
        files = prepare_certificates(folder / "tls", ["127.0.0.1"])
        self._tls = ssl.create_default_context(cafile=files.ca)
        self.daemon.configure(
            f"""
            [glancetx]
            tls_certificate = {files.certificate}
            tls_key = {files.key}
            min_body_rate = 0
            idle_timeout = 600
            """
        )

    def start(self) -> None:
        self.daemon.start(f"--listen=ssl:{self._tls_port}:interface=127.0.0.1", "--listen", self.daemon.listen)

    def plain(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.daemon.port), timeout=PATIENCE)

    def tls(self) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self._tls_port), timeout=PATIENCE)
        return self._tls.wrap_socket(connection, server_hostname="127.0.0.1")

    def peak(self) -> int:
        """The most bytes that were resident since the last call."""
        status = Path(f"/proc/{self.daemon.pid}/status").read_text()
        found = re.search(r"VmHWM:\s+(\d+) kB", status)
        assert found is not None
        Path(f"/proc/{self.daemon.pid}/clear_refs").write_text("5")
        return int(found[1]) * 1024

    def create(self) -> str:
        body = json.dumps({"name": "x", "disk_format": "raw", "container_format": "bare"}).encode()
        return str(json.loads(self.daemon.call("POST", "/v2/images", body)[1])["id"])

    def transfer(self, transfers: list[Callable[[Peer], None]]) -> int:
        """Run four at once: fast and slow, plain and TLS. Returns the peak."""
        self.peak()
        resume = Event()
        fast = [Peer(self.plain, None), Peer(self.tls, None)]
        slow = [Peer(self.plain, resume), Peer(self.tls, resume)]
        with ThreadPoolExecutor(4) as threads:
            try:
                started = [threads.submit(run, peer) for run, peer in zip(transfers, [*slow, *fast], strict=True)]
                for each in started[2:]:
                    each.result(PATIENCE)
            finally:
                resume.set()
            for each in started[:2]:
                each.result(PATIENCE)
        return self.peak()

    def measure(self, size: int) -> Peaks:
        """Four images of this size go in, and come out again."""
        ids = [self.create() for _ in range(4)]

        def upload(image_id: str, chunked: bool) -> Callable[[Peer], None]:
            return lambda peer: peer.upload(image_id, size, chunked)

        def download(image_id: str) -> Callable[[Peer], None]:
            return lambda peer: peer.download(image_id, size)

        uploads = self.transfer([upload(image_id, number % 2 == 0) for number, image_id in enumerate(ids)])
        downloads = self.transfer([download(image_id) for image_id in ids])
        for image_id in ids:
            assert self.daemon.call("DELETE", f"/v2/images/{image_id}")[0] == 204
        return Peaks(uploads, downloads)


@pytest.fixture(scope="module")
def peaks(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Peaks]:
    """By the size of images, each measured in a process of its own."""
    found = {}
    for size in (SMALL, LARGE):
        measured = Measured(tmp_path_factory.mktemp("memory") / str(size))
        try:
            measured.start()
            found[size] = measured.measure(size)
        finally:
            measured.daemon.stop()
    return found


def test_uploads(peaks: dict[int, Peaks]) -> None:
    """Images eight times as large take no more memory to receive."""
    assert peaks[LARGE].uploads < peaks[SMALL].uploads + GROWTH
    assert peaks[LARGE].uploads < MOST


def test_downloads(peaks: dict[int, Peaks]) -> None:
    """Nor to send."""
    assert peaks[LARGE].downloads < peaks[SMALL].downloads + GROWTH
    assert peaks[LARGE].downloads < MOST
