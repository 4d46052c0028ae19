"""The case of nodes: does a second one, on the same database, give as much as the first?

On one machine, nodes, database and load share the cores, so a second node would only show that these are used up. Each
node therefore gets a fixed part of a core from the kernel (cgroups; wants root): what is measured is the node.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path

from attrs import evolve

from tests.bench import images, load
from tests.bench.arena import Arena, Case, Contestant
from tests.bench.hammer import Order
from tests.bench.peers import Server
from tests.bench.processes import BenchFailure
from tests.bench.report import Goal, Measure
from tests.bench.services import start_glancetx

PART = 0.2  # of a core, for each node
PERIOD = 20_000  # microseconds; short, since a node that has used its part waits for the next one
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
        raise BenchFailure(f"cannot give a node its part of a core: {error}") from error
    return folder


def _give_back(folder: Path) -> None:
    with suppress(OSError):
        os.rmdir(folder)
