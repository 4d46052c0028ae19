"""An upload client that costs almost nothing: the kernel copies a file to the socket.

Run as ``python -m tests.bench.sender PORT PATH FILE SECONDS``; prints ``STATUS ELAPSED`` of one PUT.
"""

from __future__ import annotations

import socket
import sys
import time
from pathlib import Path

from tests.bench.processes import HOST


def main() -> None:
    """Send one file and wait for the answer."""
    port, path, name, seconds = int(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), float(sys.argv[4])
    head = (
        f"PUT {path} HTTP/1.1\r\nHost: {HOST}:{port}\r\nContent-Type: application/octet-stream\r\n"
        f"Content-Length: {name.stat().st_size}\r\n\r\n"
    )
    with name.open("rb") as file, socket.create_connection((HOST, port), timeout=seconds) as connection:
        began = time.monotonic()
        connection.sendall(head.encode())
        connection.sendfile(file)
        answer = connection.recv(16384)
        elapsed = time.monotonic() - began
    print(answer.split(b" ")[1].decode() if answer else "000", elapsed)


if __name__ == "__main__":
    main()
