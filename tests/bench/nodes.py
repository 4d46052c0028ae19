"""The cases of nodes and of workers: does a second one, on the same database, give as much as the first?

On one machine they, the database and the load share the cores, so a second one would only show that these are used up.
Each therefore gets a fixed part of a core from the kernel (cgroups; wants root): what is measured is the process.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path

from attrs import evolve

from tests.bench import images, load
from tests.bench.arena import Arena, Case, Contestant
from tests.bench.hammer import Order
from tests.bench.measure import Watch, connections
from tests.bench.peers import Server
from tests.bench.processes import BenchFailure, family
from tests.bench.report import Goal, Measure
from tests.bench.services import start_glancetx

PART = 0.2  # of a core, for each process
PERIOD = 20_000  # microseconds; short, since a process that has used its part waits for the next one
CGROUPS = Path("/sys/fs/cgroup")


def nodes(arena: Arena) -> Case:
    """One node, and two of them, on one database."""
    if arena.server is None:
        raise BenchFailure("nodes meet in a database: ask for --mariadb or --postgresql")
    first = _node(arena, 1, arena.database("nodes"))
    both = [first, _node(arena, 2, first.database)]
    (identifier,) = images.seed(first, 1)
    return Case(
        name="nodes",
        title=f"Nodes of {PART:.0%} of a core each, on one database, 16 connections to each",
        measures=(Measure("show", "requests/s", 0), Measure("create", "requests/s", 0)),
        contestants=(
            Contestant("1 node", partial(_measure, arena, [first], identifier)),
            Contestant("2 nodes", partial(_measure, arena, both, identifier)),
        ),
        goals=tuple(
            Goal(measure=name, subject="2 nodes", against="1 node", bound=1.9, at_most=False)
            for name in ("show", "create")
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
        arena.stack.callback(_give_back, _limit(pid))
    arena.stack.callback(server.process.stop)
    return partial(_show, server, server.url(f"/v2/images/{identifier}"), pids, arena.options.seconds)


def _show(server: Server, url: str, pids: Sequence[int], seconds: float, clients: int) -> dict[str, float]:
    with ThreadPoolExecutor(1) as pool, Watch(server.process.pid) as watch:
        asking = pool.submit(load.get_repeatedly, url, seconds, clients)
        time.sleep(seconds / 2)
        shares = [connections(pid, server.port) for pid in pids]
        rate = asking.result().per_second
    cost = watch.usage.cpu / (rate * seconds) * 1e3
    return {"show": rate, "processor": cost, "fewest": min(shares), "most": max(shares)}


def _node(arena: Arena, number: int, database: str) -> Server:
    name = f"node {number}"
    server = start_glancetx(arena.directory / f"node-{number}", arena.certificate, database, name=name)
    arena.keep(server)
    group = _limit(server.process.pid)
    arena.stack.callback(_give_back, group)
    arena.stack.callback(server.process.stop)  # before its group, which must be empty then
    return server


def _measure(arena: Arena, servers: Sequence[Server], identifier: str) -> dict[str, float]:
    """What all *servers* answer together."""
    seconds = arena.options.seconds
    order = Order(port=0, method="POST", path="/v2/images", body='{"name": "node {number}"}', seconds=seconds)
    with ThreadPoolExecutor(len(servers)) as pool:
        paths = [server.url(f"/v2/images/{identifier}") for server in servers]
        shown = list(pool.map(lambda path: load.get_repeatedly(path, seconds), paths))
        orders = [evolve(order, port=server.port) for server in servers]
        created = list(pool.map(lambda each: load.hammer(each)[0], orders))
    return {
        "show": sum(rate.per_second for rate in shown),
        "create": sum(rate.per_second for rate in created),
    }


def _limit(pid: int) -> Path:
    """Put *pid* and its threads into a group of their own, which gets `PART` of a core."""
    old = CGROUPS / "cpu"
    folder = (old if old.is_dir() else CGROUPS) / f"glancetx-bench-{pid}"
    quota = int(PERIOD * PART)
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
