"""The cases of nodes and of workers: does a second one, on the same database and store, give as much as the first?

On one machine they, the database and the load share the cores, so a second one would only show that these are used up.
Each therefore gets a fixed part of a core from the kernel (cgroups; wants root): what is measured is the process. How
much of it was used is said as well: where that is far below 100 %, something else was the limit.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path

from attrs import frozen

from tests.bench import images, load
from tests.bench.arena import Arena, Case, Contestant, Options
from tests.bench.far_stores import KINDS
from tests.bench.hammer import Order
from tests.bench.measure import Watch, connections, cpu_seconds
from tests.bench.peers import Server
from tests.bench.processes import BenchFailure, family
from tests.bench.report import Goal, Measure
from tests.bench.services import start_glancetx

PART = 0.2  # of a core, for each worker
NODE_PART = 0.05  # for each node: the store takes more than it for the same bytes, and may have to share the machine
PERIOD = 20_000  # microseconds; short, since a process that has used its part waits for the next one
CGROUPS = Path("/sys/fs/cgroup")
MIB = 1024**2
SIZE = 32 * MIB  # of an image: some seconds of what a node may use, and little of the store's cores
CLIENTS = 4  # that move images through a node at once
UNITS = {"show": "requests/s", "create": "requests/s", "download": "MiB/s", "upload": "MiB/s"}


def nodes(arena: Arena, store: str) -> Case:
    """One node, and two of them, on one database and one *store*."""
    if arena.server is None:
        raise BenchFailure("nodes meet in a database: ask for --mariadb or --postgresql")
    folder = arena.directory / store
    folder.mkdir()
    options = arena.stack.enter_context(KINDS[store](folder)).options
    first = _node(arena, f"{store} node 1", arena.database(f"nodes {store}"), options)
    both = [first, _node(arena, f"{store} node 2", first.database, options)]
    content = folder / "content"
    images.write_random(content, SIZE)
    (shown,) = images.seed(first, 1)
    subject = _Nodes(shown, images.store(first, content, arena.options.timeout), content, arena.options)
    subject.measure(both)  # who comes first would pay for what is loaded and connected once
    return Case(
        name=f"nodes-{store}",
        title=f"Nodes of {NODE_PART:.0%} of a core each, on one database and {store}: 16 connections to each for small "
        f"requests, {CLIENTS} for images of {SIZE // MIB} MiB",
        measures=tuple(
            measure
            for name, unit in UNITS.items()
            for measure in (Measure(name, unit, 0 if unit == "requests/s" else 1), Measure(f"{name} used", "%", 0))
        ),
        contestants=(
            Contestant("1 node", partial(subject.measure, [first])),
            Contestant("2 nodes", partial(subject.measure, both)),
        ),
        goals=tuple(
            Goal(measure=name, subject="2 nodes", against="1 node", bound=1.9, at_most=False) for name in UNITS
        ),
    )


def workers(arena: Arena) -> Case:
    """One process, and two workers which accept from one socket: for as many clients, and for as many each."""
    one, two = _crew(arena, 1), _crew(arena, 2)
    return Case(
        name="workers",
        title=f"Workers of {PART:.0%} of a core each",
        measures=(
            Measure("show", "requests/s", 0),
            Measure("processor", "CPU ms/request", 3),
            Measure("used", "%", 0),
            Measure("fewest", "clients of a worker", 0),
            Measure("most", "clients of a worker", 0),
        ),
        contestants=(
            Contestant("1 worker, 16 clients", partial(one, 16)),
            Contestant("2 workers, 16 clients", partial(two, 16)),
            Contestant("2 workers, 32 clients", partial(two, 32)),
        ),
        goals=(
            Goal(
                measure="show",
                subject="2 workers, 32 clients",
                against="1 worker, 16 clients",
                bound=1.8,
                at_most=False,
            ),
        ),
    )


def _crew(arena: Arena, count: int) -> Callable[[int], dict[str, float]]:
    """*count* workers; one is the service itself, without a parent. What measures them with so many clients."""
    name = f"workers {count}"
    folder = arena.directory / f"workers-{count}"
    server = arena.keep(start_glancetx(folder, arena.certificate, arena.database(name), count, name))
    (identifier,) = images.seed(server, 1)
    pids = [pid for pid in family(server.process.pid) if count == 1 or pid != server.process.pid]
    for pid in pids:
        arena.stack.callback(_give_back, _limit(pid, PART))
    arena.stack.callback(server.process.stop)
    return partial(_show, server, server.url(f"/v2/images/{identifier}"), pids, arena.options.seconds)


def _show(server: Server, url: str, pids: Sequence[int], seconds: float, clients: int) -> dict[str, float]:
    with ThreadPoolExecutor(1) as pool, Watch(server.process.pid) as watch:
        asking = pool.submit(load.get_repeatedly, url, seconds, clients)
        time.sleep(seconds / 2)
        shares = [connections(pid, server.port) for pid in pids]
        rate = asking.result().per_second
    return {
        "show": rate,
        "processor": watch.usage.cpu / (rate * seconds) * 1e3,
        "used": watch.usage.cpu / (seconds * PART * len(pids)) * 100,
        "fewest": min(shares),
        "most": max(shares),
    }


def _node(arena: Arena, name: str, database: str, options: str) -> Server:
    folder = arena.directory / name.replace(" ", "-")
    server = start_glancetx(folder, arena.certificate, database, name=name, options=options)
    arena.keep(server)
    group = _limit(server.process.pid, NODE_PART)
    arena.stack.callback(_give_back, group)
    arena.stack.callback(server.process.stop)  # before its group, which must be empty then
    return server


@frozen
class _Nodes:
    """What is asked of nodes: records of the image *shown*, bytes of the *stored* one, and to store *content*."""

    shown: str
    stored: str
    content: Path
    options: Options

    def measure(self, servers: Sequence[Server]) -> dict[str, float]:
        """What all *servers* do together in a second, and how much of their part of the processor they use for it."""
        figures = {}
        with ThreadPoolExecutor(len(servers)) as pool:
            for name, ask in zip(UNITS, (self._show, self._create, self._download, self._upload), strict=True):
                before = sum(cpu_seconds(server.process.pid) for server in servers)
                amounts, times = zip(*pool.map(ask, servers), strict=True)
                used = sum(cpu_seconds(server.process.pid) for server in servers) - before
                figures[name] = sum(amounts) / max(times)
                figures[f"{name} used"] = used / (max(times) * NODE_PART * len(servers)) * 100
        return figures

    def _show(self, server: Server) -> tuple[float, float]:
        seconds = self.options.seconds
        return load.get_repeatedly(server.url(f"/v2/images/{self.shown}"), seconds).per_second * seconds, seconds

    def _create(self, server: Server) -> tuple[float, float]:
        body, seconds = '{"name": "node {number}"}', self.options.seconds
        order = Order(port=server.port, method="POST", path="/v2/images", body=body, seconds=seconds)
        _, outcome = load.hammer(order)
        return len(outcome.latencies), outcome.seconds

    def _download(self, server: Server) -> tuple[float, float]:
        began = time.monotonic()
        load.download(server.url(f"/v2/images/{self.stored}/file"), CLIENTS, 1, SIZE, self.options.timeout)
        return CLIENTS * SIZE / MIB, time.monotonic() - began

    def _upload(self, server: Server) -> tuple[float, float]:
        """The images stay: the next does not pay for the store's deletes."""
        paths = [f"/v2/images/{images.create(server)}/file" for _ in range(CLIENTS)]
        return CLIENTS * SIZE / MIB, load.upload(server.port, paths, self.content, self.options.timeout)


def _limit(pid: int, part: float) -> Path:
    """Put *pid* and its threads into a group of their own, which gets *part* of a core."""
    old = CGROUPS / "cpu"
    folder = (old if old.is_dir() else CGROUPS) / f"glancetx-bench-{pid}"
    quota = int(PERIOD * part)
    try:
        folder.mkdir()
        if old.is_dir():
            (folder / "cpu.cfs_period_us").write_text(str(PERIOD))
            (folder / "cpu.cfs_quota_us").write_text(str(quota))
        else:
            (folder / "cpu.max").write_text(f"{quota} {PERIOD}")
        (folder / "cgroup.procs").write_text(str(pid))
    except OSError as error:
        _give_back(folder)
        raise BenchFailure(f"cannot give a process its part of a core: {error}") from error
    return folder


def _give_back(folder: Path) -> None:
    with suppress(OSError):
        os.rmdir(folder)
