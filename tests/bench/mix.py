"""The case of everything at once: how late the event loop's timers come meanwhile, by its own histogram."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from urllib.request import urlopen

from tests.bench import images, load
from tests.bench.arena import Arena, Case, Contestant
from tests.bench.hammer import Order
from tests.bench.measure import proportional_memory
from tests.bench.peers import Server
from tests.bench.processes import BenchFailure
from tests.bench.report import Goal, Measure
from tests.bench.services import start_glancetx
from tests.bench.slow import Crowd

_MEASURES = (
    Measure("lag p50", "ms", 1),
    Measure("lag p99", "ms", 1),
    Measure("lag at most", "ms", 0),
    Measure("memory", "MB PSS", 0),
    Measure("uploads", "images", 0),
    Measure("downloads", "images", 0),
    Measure("imports", "images", 0),
    Measure("failed", "clients", 0),
)
_BUCKET = re.compile(r'^glancetx_event_loop_lag_seconds_bucket\{le="([^"]+)"\} (\S+)$', re.MULTILINE)
_SLOW = 16 * 1024

Buckets = dict[float, float]
"""How many observations were at most so many seconds."""


def mix(arena: Arena) -> Case:
    """Uploads, downloads with and without TLS, imports, show, lists, creates, and slow clients of both kinds."""
    nginx = arena.nginx()
    options = (
        "[import_filtering_opts]\nallowed_hosts = 127.0.0.1\n"
        f"allowed_ports = {nginx.port}\n[DEFAULT]\nenabled_import_methods = [web-download]\n"
        f"node_staging_uri = file://{arena.directory / 'staging'}\n"
    )
    subject = arena.keep(start_glancetx(arena.directory / "mix", arena.certificate, "", 1, "glancetx", options))
    return Case(
        name="mix",
        title="Everything at once",
        measures=_MEASURES,
        contestants=(Contestant(subject.name, partial(_mixed, arena, subject, nginx.url("/content"))),),
        goals=(
            Goal(measure="lag p99", subject=subject.name, bound=20, at_most=True),
            Goal(measure="failed", subject=subject.name, bound=0, at_most=True),
        ),
    )


class _Clients:
    """Threads, each of which does its work again and again for some seconds. *done* counts what was done."""

    def __init__(self, seconds: float) -> None:
        self._deadline = time.monotonic() + seconds
        self._threads: list[threading.Thread] = []
        self.done: dict[str, int] = {}
        self.failures: list[str] = []

    def add(self, name: str, work: Callable[[], object]) -> None:
        thread = threading.Thread(target=self._repeat, args=(name, work))
        self._threads.append(thread)
        thread.start()

    def _repeat(self, name: str, work: Callable[[], object]) -> None:
        while time.monotonic() < self._deadline:
            try:
                work()
            except (BenchFailure, OSError) as failure:
                self.failures.append(f"{name}: {failure}")
                return
            self.done[name] = self.done.get(name, 0) + 1

    def join(self) -> None:
        for thread in self._threads:
            thread.join()


def _mixed(arena: Arena, server: Server, source: str) -> dict[str, float]:
    seconds, patience = 3 * arena.options.seconds, arena.options.timeout
    stored = images.store(server, arena.content, patience)
    path, size = f"/v2/images/{stored}/file", arena.options.size
    queued = images.seed(server, arena.options.slow_uploads, "queued")
    uploads = tuple(f"/v2/images/{each}/file" for each in queued)
    slow = partial(Crowd, port=server.port, rate=_SLOW, patience=60.0)
    crowds = (
        slow(method="GET", paths=(path,), count=arena.options.slow_downloads),
        slow(method="PUT", paths=uploads, count=len(uploads), length=int(_SLOW * seconds)),
    )
    with ExitStack() as stack:
        crowded = [stack.enter_context(load.slow_clients(crowd)) for crowd in crowds]
        before, clients = _lag(server), _Clients(seconds)
        for _ in range(2):
            clients.add("uploads", partial(_upload, arena, server))
            clients.add("downloads", partial(load.download, server.url(path), 1, 1, size, patience))
            clients.add("downloads", partial(load.download, server.url(path, True), 1, 1, size, patience))
        clients.add("imports", partial(_import, server, source, patience))
        clients.add("shows", partial(load.get_repeatedly, server.url(f"/v2/images/{stored}"), seconds, 4))
        clients.add("lists", partial(load.get_repeatedly, server.url("/v2/images?limit=25"), seconds, 2))
        create = Order(
            port=server.port,
            method="POST",
            path="/v2/images",
            body=json.dumps(images.DOCUMENT),
            connections=2,
            seconds=seconds,
        )
        clients.add("creates", partial(load.hammer, create))
        time.sleep(seconds / 2)
        memory = proportional_memory(server.process.pid)
        clients.join()
        lag = {bound: count - before[bound] for bound, count in _lag(server).items()}
        progress = [each.dismiss() for each in crowded]
    if clients.failures:
        raise BenchFailure("; ".join(clients.failures)[:500])
    return {
        "lag p50": 1e3 * _quantile(lag, 0.5),
        "lag p99": 1e3 * _quantile(lag, 0.99),
        "lag at most": 1e3 * _quantile(lag, 1),
        "memory": memory / 1e6,
        **{name: clients.done.get(name, 0) for name in ("uploads", "downloads", "imports")},
        "failed": sum(crowd.count - seen.progressing for crowd, seen in zip(crowds, progress, strict=True)),
    }


def _upload(arena: Arena, server: Server) -> None:
    identifier = images.create(server)
    load.upload(server.port, [f"/v2/images/{identifier}/file"], arena.content, arena.options.timeout)
    images.delete(server, identifier)


def _import(server: Server, source: str, seconds: float) -> None:
    identifier, deadline = images.create(server), time.monotonic() + seconds
    images.call(server, "POST", f"/v2/images/{identifier}/import", {"method": {"name": "web-download", "uri": source}})
    while (status := images.call(server, "GET", f"/v2/images/{identifier}")["status"]) != "active":
        if status not in ("queued", "importing") or time.monotonic() > deadline:
            told = [each["message"] for each in images.call(server, "GET", f"/v2/images/{identifier}/tasks")["tasks"]]
            raise BenchFailure(f"an import is {status}: {told}")
        time.sleep(0.1)
    images.delete(server, identifier)


def _lag(server: Server) -> Buckets:
    with urlopen(server.url("/metrics"), timeout=60) as answer:
        text = answer.read().decode()
    return {float(bound): float(count) for bound, count in _BUCKET.findall(text)}


def _quantile(buckets: Buckets, part: float) -> float:
    """As Prometheus has it: even between the bounds of a bucket; the upper bound of the last one for all."""
    wanted, below, lower = part * max(buckets.values()), 0.0, 0.0
    for bound, count in sorted(buckets.items()):
        if count >= wanted > below:
            return bound if part == 1 else lower + (bound - lower) * (wanted - below) / (count - below)
        below, lower = count, bound
    return lower
