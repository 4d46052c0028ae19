"""Cases that move whole images: uploads against the ideal pipeline, downloads against nginx, and Glance in both."""

from __future__ import annotations

import hashlib
import os
from functools import partial
from math import ceil
from pathlib import Path

from tests.bench import images, load
from tests.bench.arena import Arena, Case, Contestant
from tests.bench.hammer import Order
from tests.bench.measure import Watch
from tests.bench.peers import Server
from tests.bench.processes import BenchFailure
from tests.bench.report import Goal, Measure

_MIB = 1024**2
_GIB = 1024**3
_MEASURES = (
    Measure("speed", "MB/s", 0),
    Measure("processor", "CPU s/GiB", 3),
    Measure("peak memory", "MB PSS", 0),
)


def _figures(watch: Watch, moved: int, wall: float) -> dict[str, float]:
    return {
        "speed": moved / wall / 1e6,
        "processor": watch.usage.cpu / (moved / _GIB),
        "peak memory": watch.usage.pss / 1e6,
    }


def uploads(arena: Arena, clients: int) -> Case:
    """*clients* PUTs of the whole content at once."""
    subject = arena.subject()
    servers = [subject, arena.ideal()]
    if other := arena.glance():
        servers.append(other)
    goals = [
        Goal(measure="speed", subject=subject.name, against="ideal", bound=1, at_most=False),
        Goal(measure="peak memory", subject=subject.name, bound=100, at_most=True),
    ]
    if clients == 1:
        goals.append(Goal(measure="speed", subject=subject.name, against="glance", bound=2.3, at_most=False))
    return Case(
        name=f"upload-{clients}",
        title=f"Upload of {arena.options.size // _MIB} MiB, {clients} at once",
        measures=_MEASURES,
        contestants=tuple(Contestant(each.name, partial(_upload, arena, each, clients)) for each in servers),
        goals=tuple(goals),
    )


def _upload(arena: Arena, server: Server, clients: int) -> dict[str, float]:
    """Once, with images made before and deleted after the measured time."""
    options = arena.options
    if server.name == "ideal":
        identifiers, paths = [], [f"/{number}" for number in range(clients)]
    else:
        identifiers = [images.create(server) for _ in range(clients)]
        paths = [f"/v2/images/{identifier}/file" for identifier in identifiers]
    content = arena.content
    os.sync()  # or the disk has to take before what was written before: the content, and what the last one left
    with Watch(server.process.pid) as watch:
        wall = load.upload(server.port, paths, content, options.timeout)
    for identifier in identifiers:
        images.delete(server, identifier)
    if server.name == "ideal":
        for stored in (server.directory / "files").iterdir():
            stored.unlink()
    return _figures(watch, options.size * clients, wall)


def downloads(arena: Arena, clients: int, tls: bool) -> Case:
    """*clients* GETs of the whole content at once, repeated until the options' total is moved."""
    subject, nginx = arena.subject(), arena.nginx()
    contestants = [Contestant(nginx.name, partial(_download, arena, nginx, "/content", clients, tls))]
    for server in [subject] if tls else [subject, arena.glance()]:
        if server is not None:
            path = _stored(arena, server, tls)
            contestants.append(Contestant(server.name, partial(_download, arena, server, path, clients, tls)))
    bound = 1.1 if tls else 1.0 if clients == 16 else 1.2
    return Case(
        name=f"{'tls-' if tls else ''}download-{clients}",
        title=f"Download {'by TLS' if tls else 'without TLS'}, {clients} at once",
        measures=_MEASURES,
        contestants=tuple(contestants),
        goals=(Goal(measure="processor", subject=subject.name, against="nginx", bound=bound, at_most=True),),
    )


def ranges(arena: Arena) -> Case:
    """GETs of one MiB each, from anywhere in the content, over 16 connections."""
    contestants = []
    for server in (arena.nginx(), *arena.services(1, 2)):
        path = "/content" if server.name == "nginx" else _stored(arena, server, tls=False)
        contestants.append(Contestant(server.name, partial(_range, arena, server, path)))
    return Case(
        name="ranges",
        title="Ranges of 1 MiB, 16 connections",
        measures=(
            Measure("rate", "requests/s", 0),
            Measure("p99", "ms", 1),
            Measure("processor", "CPU ms/request", 3),
        ),
        contestants=tuple(contestants),
        goals=(
            Goal(measure="rate", subject="glancetx x2", against="glance", bound=10, at_most=False),
            Goal(measure="processor", subject="glancetx x1", against="nginx", bound=2, at_most=True),
        ),
    )


def _range(arena: Arena, server: Server, path: str) -> dict[str, float]:
    order = Order(port=server.port, method="GET", path=path, content=arena.options.size, seconds=arena.options.seconds)
    with Watch(server.process.pid) as watch:
        rate, outcome = load.hammer(order)
    if outcome.failures:
        raise BenchFailure(f"{server.name} answered {outcome.failures}")
    return {"rate": rate.per_second, "p99": rate.p99 * 1e3, "processor": watch.usage.cpu / len(outcome.latencies) * 1e3}


def _stored(arena: Arena, server: Server, tls: bool) -> str:
    """The path of an image with the content; what comes back has been compared with it once."""
    identifier = images.store(server, arena.content, arena.options.timeout)
    path = f"/v2/images/{identifier}/file"
    if load.digest_of(server.url(path, tls), arena.options.timeout) != _digest(arena.content):
        raise BenchFailure(f"{server.name} gave other bytes than it was given")
    return path


def _digest(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha512").hexdigest()


def _download(arena: Arena, server: Server, path: str, clients: int, tls: bool) -> dict[str, float]:
    options = arena.options
    repeats = max(1, ceil(options.total / (options.size * clients)))
    with Watch(server.process.pid) as watch:
        load.download(server.url(path, tls), clients, repeats, options.size, options.timeout)
    return _figures(watch, options.size * clients * repeats, watch.usage.wall)
