"""Whether a service stays the same under load that never ends and faults that never stop.

``python -m tests.bench.soak --minutes 20``: two workers on a MariaDB that is restarted, one store of files and one in
S3 whose network breaks, clients of every kind (`mixed_load`). Memory (PSS), descriptors and threads of the workers are
sampled all the time. It exits with 1 unless they are flat, every answer was right, and nothing is left in the end.
"""

from __future__ import annotations

import os
import random
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import click
from attrs import frozen
from twisted.internet.defer import Deferred, ensureDeferred

from tests.bench.measure import proportional_memory
from tests.bench.mixed_load import LARGEST, MIB, Load
from tests.bench.processes import family
from tests.running import Daemon
from tests.services.faults import Fault, Faults
from tests.services.mariadb import MariaDb
from tests.services.objects import start_moto
from tests.services.programs import Processes
from tests.services.source import serving

CLIENTS: Final = 8
BROKEN: Final = 0.05  # of the requests to S3
SAMPLES: Final = 5.0  # seconds between two
RESTARTS: Final = 150.0  # seconds between two restarts of the database
DOWN: Final = 4.0  # seconds that it is away
SETTLING: Final = 240.0  # seconds after the load in which everything has to end
WARM: Final = 0.25  # of the samples are not looked at: what is loaded once is loaded then
GROWTH: Final = 1.08  # of memory, from the first third to the last one, that is no leak but chance
SLACK: Final = 6 * MIB
MORE: Final = 12  # descriptors and threads which may be there more at the end than at the beginning

FAULTS: Final = (Fault(status=503), Fault(status=500), Fault(sent=0), Fault(delay=0.5))
READING: Final = (*FAULTS, Fault(sent=300_000), Fault(sent=300_000, end="close"))
WRITING: Final = (*FAULTS, Fault(status=500, after=1), Fault(received=200_000))


@frozen
class Sample:
    """Both workers together, at one time."""

    memory: int
    descriptors: int
    threads: int


@frozen
class Row:
    """How one figure went: at first, at last, the most, and whether that is flat."""

    name: str
    first: float
    last: float
    most: float
    flat: bool


def sample(pids: Sequence[int]) -> Sample:
    return Sample(
        sum(proportional_memory(pid) for pid in pids),
        sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in pids),
        sum(len(os.listdir(f"/proc/{pid}/task")) for pid in pids),
    )


def verdict(samples: Sequence[Sample]) -> Iterator[Row]:
    """The medians of the first and the last third, without the warming up."""
    warm = samples[int(len(samples) * WARM) :]
    third = max(1, len(warm) // 3)
    for name in ("memory", "descriptors", "threads"):
        values = [getattr(each, name) for each in warm]
        first, last = statistics.median(values[:third]), statistics.median(values[-third:])
        limit = first * GROWTH + SLACK if name == "memory" else first + MORE
        yield Row(name, first, last, max(values), last <= limit)


@contextmanager
def reactor_thread() -> Iterator[Any]:
    """A reactor that runs beside us, for the proxy with the faults."""
    from twisted.internet import reactor

    running: Any = reactor
    thread = threading.Thread(target=running.run, args=(False,), daemon=True)
    thread.start()
    try:
        yield running
    finally:
        running.callFromThread(running.stop)
        thread.join()


@contextmanager
def faulty(target: str) -> Iterator[str]:
    """The URL of a proxy in front of *target*, which breaks one request of twenty."""
    from twisted.internet.threads import blockingCallFromThread

    with reactor_thread() as reactor:
        faults = Faults(reactor, target)
        chance = random.Random(1)

        def choose(method: str, path: str) -> Fault | None:
            kinds = WRITING if method == "PUT" else READING
            return chance.choice(kinds) if chance.random() < BROKEN else None

        faults.choose = choose
        yield str(blockingCallFromThread(reactor, _deferred, faults.start()))
        blockingCallFromThread(reactor, _deferred, faults.stop())


def _deferred(work: Coroutine[Any, Any, Any]) -> Deferred[Any]:
    return ensureDeferred(work)


def configured(folder: Path, database: str, s3: str, source_port: int) -> Daemon:
    daemon = Daemon(folder)
    daemon.configure(f"""
        [DEFAULT]
        enabled_backends = files:file, cloud:s3
        enabled_import_methods = [glance-direct,web-download,copy-image]
        [database]
        connection = {database}
        [glance_store]
        default_backend = files
        [files]
        filesystem_store_datadir = {folder}/files
        [cloud]
        s3_store_host = {s3}
        s3_store_access_key = access
        s3_store_secret_key = secret-of-moto
        s3_store_bucket = soak
        s3_store_create_bucket_on_put = true
        s3_store_bucket_url_format = path
        s3_store_region_name = us-east-1
        [os_glance_staging_store]
        filesystem_store_datadir = {folder}/staging
        [import_filtering_opts]
        allowed_hosts = 127.0.0.1
        allowed_ports = {source_port}
        [glancetx]
        idle_timeout = 20
        repair_rate = 10000000
        audit_period = 120
        [coordination]
        lease = 6
    """)
    return daemon


def run(daemon: Daemon, server: MariaDb, load: Load, seconds: float, say: Callable[[str], None]) -> list[Sample]:
    """Load for so long, with restarts of the database; the samples of the workers."""
    workers = family(daemon.pid)[1:]
    clients = [threading.Thread(target=load.client, args=(number,)) for number in range(CLIENTS)]
    for client in clients:
        client.start()
    began = time.monotonic()
    samples, restarts = [], 1
    while (passed := time.monotonic() - began) < seconds:
        time.sleep(SAMPLES)
        if not set(workers) <= set(family(daemon.pid)):
            load.wrong.append("a worker has died")
            break
        samples.append(sample(workers))
        if len(samples) % 12 == 0:
            now = samples[-1]
            done = sum(load.counts.values())
            say(
                f"{passed / 60:5.1f} min  {now.memory / MIB:6.1f} MiB  {now.descriptors} descriptors  "
                f"{now.threads} threads  {done} actions"
            )
        if passed > restarts * RESTARTS and passed + RESTARTS / 2 < seconds:
            restarts += 1
            server.stop()
            time.sleep(DOWN)
            server.start()
    load.over.set()
    for client in clients:
        client.join()
    return samples


def leftovers(daemon: Daemon, server: MariaDb) -> list[str]:
    """What is still under way, or lies about, though nobody wants anything any more."""
    claims = server.run(
        "SELECT c.kind, c.image_id, c.process, i.status, r.step, r.attempts, r.plan FROM soak.glancetx_claims c"
        " JOIN soak.images i ON i.id = c.image_id LEFT JOIN soak.glancetx_imports r ON r.claim = c.id"
    )
    busy = server.run(
        "SELECT status, COUNT(*) FROM soak.images WHERE status IN ('saving', 'importing') GROUP BY status"
    )
    hidden = [path.name for path in (daemon.folder / "files").glob(".*")]
    owned = server.run("SELECT value FROM soak.image_locations WHERE NOT deleted AND value LIKE 'file:%'")
    lost = {path.name for path in (daemon.folder / "files").glob("[!.]*")} - {Path(url).name for (url,) in owned}
    return [
        f"{what}: {found}"
        for what, found in (
            ("claims", claims),
            ("images", busy),
            ("unfinished files", hidden),
            ("files of nobody", lost),
        )
        if found
    ]


def settled(daemon: Daemon, server: MariaDb) -> list[str]:
    latest = time.monotonic() + SETTLING
    while (left := leftovers(daemon, server)) and time.monotonic() < latest:
        time.sleep(1.0)
    return left


def told(load: Load, samples: Sequence[Sample], left: Sequence[str], say: Callable[[str], None]) -> bool:
    rows = list(verdict(samples))
    for row in rows:
        unit, by = ("MiB", MIB) if row.name == "memory" else ("", 1)
        trend = f"{row.first / by:.1f} -> {row.last / by:.1f} {unit}, at most {row.most / by:.1f}"
        say(f"{row.name:12} {trend}  {'flat' if row.flat else 'NOT FLAT'}")
    for kind, count in sorted(load.counts.items()):
        say(f"{count:8}  {kind}")
    for line in [*load.wrong[:20], *left]:
        say(f"WRONG  {line}")
    return all(row.flat for row in rows) and not load.wrong and not left


@click.command()
@click.option("--minutes", type=click.FloatRange(min=0.5), default=20.0, help="Of load; settling comes on top of it.")
def main(minutes: float) -> None:
    """Load a service for a while, break what it depends on, and see whether it stays flat."""
    block = random.Random(0).randbytes(LARGEST + MIB)
    with tempfile.TemporaryDirectory(prefix="glancetx-soak-") as name, serving(block[: 2 * MIB]) as source:
        folder = Path(name)
        server, others = MariaDb("--max-connections=200"), Processes(folder)
        try:
            server.start()
            server.create("soak")
            with faulty(start_moto(others).url) as s3:
                daemon = configured(folder, server.url("soak"), s3, source.port)
                daemon.start("--workers", "2")
                load = Load(daemon.port, ("files", "cloud"), source.url, block)
                samples = run(daemon, server, load, minutes * 60, click.echo)
                left = settled(daemon, server)
                good = told(load, samples, left, click.echo)
                daemon.stop()
                click.echo(f"log: {errors(daemon.log)}")
        finally:
            others.stop()
            server.remove()
    raise SystemExit(0 if good else 1)


def errors(log: Path) -> dict[str, int]:
    """The last lines of tracebacks in the log, and how many there were of each."""
    found: dict[str, int] = {}
    for line in log.read_text(errors="replace").splitlines():
        kind = line.strip().partition(":")[0]
        if kind.endswith(("Error", "Unavailable", "Exception", "Conflict", "NotFound")) and " " not in kind:
            found[kind] = found.get(kind, 0) + 1
    return found


if __name__ == "__main__":
    main()
