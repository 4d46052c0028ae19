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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from tests.bench import images
from tests.bench.far_stores import KINDS, PATIENCE, FarStore, curl
from tests.bench.measure import Watch
from tests.bench.peers import Certificate, make_certificate
from tests.bench.processes import HOST, ROOT, Process, free_port
from tests.bench.services import start_glancetx

MIB = 1024**2
ROUNDS = 3
GOAL = 0.95  # of the raw client's rate


def read(command: Sequence[str], count: int) -> float:
    """Run *command* so many times at once, and throw away what it writes; the seconds until the last has ended."""
    began = time.monotonic()
    clients = [subprocess.Popen(command, stdout=subprocess.DEVNULL) for _ in range(count)]
    assert not any([client.wait(PATIENCE) for client in clients]), command
    return time.monotonic() - began


@contextmanager
def relaying(subject: FarStore, folder: Path) -> Iterator[tuple[Process, str]]:
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
