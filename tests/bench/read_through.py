"""Downloads through glancetx against a raw client of the store: ``python -m tests.bench.read_through [MIB] [AT ONCE]``.

Swift's raw client is curl with a token, Ceph's is ``rbd export``; ours is curl, which asks glancetx for the image.
Between them is the ideal relay, `tests.bench.ideal_relay`, which curl asks as well: what it loses is the price of a
relay that computes the digest of what it sends. Each line is one image that is read so many times at once, all ways in
turn.
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
from tests.bench.processes import HOST, ROOT, Process, free_port
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
    """A store with servers that run: *options* of glancetx, the command that reads an image without it, and what the
    ideal *relay* has to know."""

    options: str
    raw: Callable[[str], list[str]]
    relay: list[str]


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
        prefix = f"{server.storage_url}/bench"
        yield Subject(options, lambda name: curl(f"{prefix}/{name}", "-H", header), ["swift", prefix, token_of(server)])
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
        relay = ["rbd", str(ceph.config), CEPH_USER, "images"]
        yield Subject(options, lambda name: [*command, f"images/{name}", "-"], relay)
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


@contextmanager
def relaying(subject: Subject, folder: Path) -> Iterator[tuple[Process, str]]:
    """The ideal relay, and where it listens."""
    port = free_port()
    program = [sys.executable, "-m", "tests.bench.ideal_relay", str(port), *subject.relay]
    process = Process(program, folder / "relay.log", ROOT)
    try:
        process.wait_for_port(port)
        yield process, f"http://{HOST}:{port}"
    finally:
        process.stop()


def measure(kind: str, folder: Path, certificate: Certificate, content: Path, count: int) -> None:
    """Print the line of one kind of store, each figure the median of all rounds."""
    (folder / "servers").mkdir(parents=True)
    moved = content.stat().st_size * count / MIB
    with KINDS[kind](folder / "servers") as subject, relaying(subject, folder) as (relay, address):
        server = start_glancetx(folder / "glancetx", certificate, options=subject.options)
        try:
            stored = images.store(server, content, PATIENCE)
            rates, used = list[tuple[float, float, float]](), list[tuple[float, float]]()
            for _ in range(ROUNDS):
                raw = read(subject.raw(stored), count)
                with Watch(relay.pid) as ideal:
                    relayed = read(curl(f"{address}/{stored}"), count)
                with Watch(server.process.pid) as ours:
                    through = read(curl(server.url(f"/v2/images/{stored}/file")), count)
                rates.append((moved / raw, moved / relayed, moved / through))
                used.append((ideal.usage.cpu / (moved / 1024), ours.usage.cpu / (moved / 1024)))
        finally:
            server.process.stop()
    columns = [f"{median(each):.0f}" for each in zip(*rates, strict=True)]
    ratios = [ours / raw for raw, _, ours in rates]
    verdict = "met" if median(ratios) >= GOAL else "missed"
    columns += [told(ratios), f"≥ {GOAL}: {verdict}", told([ours / ideal for _, ideal, ours in rates])]
    columns += [f"{median(each):.2f}" for each in zip(*used, strict=True)]
    print(f"| {kind} | {count} | {' | '.join(columns)} |", flush=True)


def told(ratios: Sequence[float]) -> str:
    return f"{median(ratios):.2f} ({min(ratios):.2f}..{max(ratios):.2f})"


def main(mib: str = "1024", most: str = "4", *kinds: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        content = folder / "content"
        images.write_random(content, int(mib) * MIB)
        certificate = make_certificate(folder)
        print("| store | at once | raw, MiB/s | ideal | glancetx | of raw | goal | of ideal | ideal CPU s/GiB | ours |")
        print(f"|{'---|' * 10}")
        for kind in kinds or KINDS:
            for count in sorted({1, int(most)}):
                measure(kind, folder / f"{kind}{count}", certificate, content, count)


if __name__ == "__main__":
    main(*sys.argv[1:])
