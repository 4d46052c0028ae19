"""Downloads through glancetx against a raw client of the store: ``python -m tests.bench.read_through [MIB] [AT ONCE]``.

Swift's raw client is curl with a token, Ceph's is ``rbd export``; ours is curl, which asks glancetx for the image. Each
line is one image that is read so many times at once, both ways in turn.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from urllib.request import Request, urlopen

from attrs import frozen

from tests.bench import images
from tests.bench.measure import Watch
from tests.bench.peers import Certificate, make_certificate
from tests.bench.services import start_glancetx
from tests.services.ceph import GIB, Ceph
from tests.services.ceph import USER as CEPH_USER
from tests.services.objects import SwiftServer, start_swift
from tests.services.programs import Processes

MIB = 1024**2
ROUNDS = 3
GOAL = 0.95  # of the raw client's rate
PATIENCE = 300.0


@frozen
class Subject:
    """A store with servers that run: *options* of glancetx, and the command that reads an image without it."""

    options: str
    raw: Callable[[str], list[str]]


@contextmanager
def swift(folder: Path) -> Iterator[Subject]:
    """Swift, with accounts of its own."""
    processes = Processes(folder)
    try:
        server = start_swift(processes)
        header = f"X-Auth-Token: {token_of(server)}"
        options = (
            "stores = swift\ndefault_store = swift\nswift_store_auth_version = 1\n"
            f"swift_store_auth_address = {server.auth_url}\nswift_store_user = {server.user}\n"
            f"swift_store_key = {server.key}\nswift_store_container = bench\n"
            "swift_store_create_container_on_put = true\n"
        )
        yield Subject(options, lambda name: curl(f"{server.storage_url}/bench/{name}", "-H", header))
    finally:
        processes.stop()


@contextmanager
def rbd(folder: Path) -> Iterator[Subject]:
    """Ceph: a monitor, a manager and an OSD."""
    ceph = Ceph(disk=GIB * 8)
    try:
        ceph.start()
        options = (
            f"stores = rbd\ndefault_store = rbd\nrbd_store_ceph_conf = {ceph.config}\nrbd_store_user = {CEPH_USER}\n"
        )
        command = ["rbd", "--conf", str(ceph.config), "--id", CEPH_USER, "--no-progress", "export"]
        yield Subject(options, lambda name: [*command, f"images/{name}", "-"])
    finally:
        ceph.stop()


KINDS = {"swift": swift, "rbd": rbd}


def token_of(server: SwiftServer) -> str:
    """What Swift's own accounts give for a password."""
    asked = Request(server.auth_url, headers={"X-Auth-User": server.user, "X-Auth-Key": server.key})
    with urlopen(asked, timeout=PATIENCE) as answer:
        return str(answer.headers["X-Auth-Token"])


def curl(url: str, *arguments: str) -> list[str]:
    return ["curl", "-sS", "--fail", "--max-time", f"{PATIENCE:g}", *arguments, url]


def read(command: Sequence[str], count: int) -> float:
    """Run *command* so many times at once, and throw away what it writes; the seconds until the last has ended."""
    began = time.monotonic()
    clients = [subprocess.Popen(command, stdout=subprocess.DEVNULL) for _ in range(count)]
    assert not any([client.wait(PATIENCE) for client in clients]), command
    return time.monotonic() - began


def measure(kind: str, folder: Path, certificate: Certificate, content: Path, count: int) -> None:
    """Print the line of one kind of store, each rate the median of all rounds."""
    (folder / "servers").mkdir(parents=True)
    moved = content.stat().st_size * count / MIB
    with KINDS[kind](folder / "servers") as subject:
        server = start_glancetx(folder / "glancetx", certificate, options=subject.options)
        try:
            stored = images.store(server, content, PATIENCE)
            ours, theirs, used = [], [], []
            for _ in range(ROUNDS):
                theirs.append(moved / read(subject.raw(stored), count))
                with Watch(server.process.pid) as watch:
                    ours.append(moved / read(curl(server.url(f"/v2/images/{stored}/file")), count))
                used.append(watch.usage.cpu / (moved / 1024))
        finally:
            server.process.stop()
    ratios = sorted(mine / raw for mine, raw in zip(ours, theirs, strict=True))
    told = f"{median(theirs):.0f} | {median(ours):.0f} | {median(ratios):.2f} ({ratios[0]:.2f}..{ratios[-1]:.2f})"
    verdict = "met" if median(ratios) >= GOAL else "missed"
    print(f"| {kind} | {count} | {told} | ≥ {GOAL}: {verdict} | {median(used):.2f} |", flush=True)


def main(mib: str = "1024", most: str = "4", *kinds: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        content = folder / "content"
        images.write_random(content, int(mib) * MIB)
        certificate = make_certificate(folder)
        print("| store | at once | raw client, MiB/s | glancetx, MiB/s | ratio | goal | CPU s/GiB |")
        print("|---|---|---|---|---|---|---|")
        for kind in kinds or KINDS:
            for count in sorted({1, int(most)}):
                measure(kind, folder / f"{kind}{count}", certificate, content, count)


if __name__ == "__main__":
    main(*sys.argv[1:])
