"""Cases with slow clients: what `show` loses while a crowd is served, and what each client of the crowd costs.

The service has one core for itself, alone and meanwhile; wrk, the crowd's players, and nginx where it serves the crowd,
have the others. So the loss is the service's own, but for the kernel's part in delivering.
"""

from __future__ import annotations

import time
from contextlib import ExitStack, suppress
from functools import partial

from attrs import frozen

from tests.bench import images, load
from tests.bench.arena import Arena, Case, Contestant
from tests.bench.measure import proportional_memory, running_seconds
from tests.bench.peers import Server
from tests.bench.pinning import apart
from tests.bench.processes import BenchFailure
from tests.bench.report import Goal, Measure
from tests.bench.slow import Crowd

_MEASURES = (
    Measure("show alone", "requests/s", 0),
    Measure("show meanwhile", "requests/s", 0),
    Measure("loss", "%", 1),
    Measure("show alone, CPU", "ms", 3),
    Measure("show meanwhile, CPU", "ms", 3),
    Measure("each client", "KiB PSS", 1),
    Measure("each client, CPU", "ms/s", 4),
    Measure("progressing", "clients", 0),
    Measure("failed", "clients", 0),
    Measure("all under way", "s", 1),
)
_RATE = 16 * 1024
_CONTROL = "nginx serves the crowd"


@frozen
class _Shown:
    """How often an image was shown in a second; *cpu*: the server's CPU seconds meanwhile, of *wall* seconds."""

    per_second: float
    cpu: float
    wall: float

    def each(self, beside: float = 0.0) -> float:
        """CPU milliseconds of one `show`, if the server uses *beside* CPU seconds a second for others."""
        return 1e3 * (self.cpu - beside * self.wall) / max(1.0, self.per_second * self.wall)


def _show(url: str, server: Server, seconds: float) -> _Shown:
    cpu, began, rate = running_seconds(server.process.pid), time.monotonic(), 0.0
    with suppress(BenchFailure):  # a server that answers nothing at all is a result too
        rate = load.get_repeatedly(url, seconds).per_second
    return _Shown(rate, running_seconds(server.process.pid) - cpu, time.monotonic() - began)


def _meanwhile(arena: Arena, shown: Server, crowded: Server, *crowds: Crowd) -> dict[str, float]:
    """`show` on one server before, during and after crowds on another, or the same, server.

    What a crowd costs is measured while there is no `show`, and taken off when there is.
    """
    seconds, service = arena.options.seconds, shown.process.pid
    (identifier,) = images.seed(shown, 1)
    url = shown.url(f"/v2/images/{identifier}")
    with ExitStack() as stack:
        stack.enter_context(apart(service, [] if crowded is shown else [crowded.process.pid]))
        before = _show(url, shown, seconds)
        memory = proportional_memory(crowded.process.pid)
        clients = [stack.enter_context(load.slow_clients(crowd)) for crowd in crowds]
        time.sleep(seconds)  # what is new costs more: uploads are looked at for their format
        costs = running_seconds(service), running_seconds(crowded.process.pid)
        time.sleep(seconds)
        beside, cost = (
            (running_seconds(server.process.pid) - used) / seconds
            for server, used in zip((shown, crowded), costs, strict=True)
        )
        during = _show(url, shown, seconds)
        grown = proportional_memory(crowded.process.pid) - memory
        progress = [each.dismiss() for each in clients]
        after = _show(url, shown, seconds)
    alone, count = (before.per_second + after.per_second) / 2, sum(crowd.count for crowd in crowds)
    if not alone:
        raise BenchFailure("no image was shown, even without the crowd")
    return {
        "show alone": alone,
        "show meanwhile": during.per_second,
        "loss": 100 * (1 - during.per_second / alone),
        "show alone, CPU": (before.each() + after.each()) / 2,
        "show meanwhile, CPU": during.each(beside),
        "each client": grown / 1024 / count,
        "each client, CPU": 1e3 * cost / count,
        "progressing": sum(each.progressing for each in progress),
        "failed": sum(each.failed - each.connected for each in progress) + count,
        "all under way": sum(each.ready for each in clients),
    }


def _goals(subject: Server, count: int) -> tuple[Goal, ...]:
    return (
        Goal(measure="loss", subject=subject.name, bound=10, at_most=True),
        Goal(measure="each client", subject=subject.name, bound=20, at_most=True),
        Goal(measure="progressing", subject=subject.name, bound=count, at_most=False),
    )


def slow_downloads(arena: Arena) -> Case:
    """Downloads at 16 KiB/s each; the same crowd at nginx shows what the clients themselves take from `show`."""
    count, subject, nginx = arena.options.slow_downloads, arena.subject(), arena.nginx()
    contestants = [_downloading(arena, subject, subject, count), _downloading(arena, subject, nginx, count)]
    if other := arena.glance():
        contestants.append(_downloading(arena, other, other, count))
    return Case(
        name="slow-downloads",
        title=f"{count:,} slow downloads, and show meanwhile on one core",
        measures=_MEASURES,
        contestants=tuple(contestants),
        goals=_goals(subject, count),
    )


def _downloading(arena: Arena, shown: Server, crowded: Server, count: int) -> Contestant:
    path = "/content"
    if crowded.name != "nginx":
        path = f"/v2/images/{images.store(crowded, arena.content, arena.options.timeout)}/file"
    crowd = Crowd(port=crowded.port, method="GET", paths=(path,), count=count, rate=_RATE, patience=60)
    name = _CONTROL if crowded.name == "nginx" else crowded.name
    return Contestant(name, partial(_meanwhile, arena, shown, crowded, crowd))


def slow_uploads(arena: Arena) -> Case:
    """Uploads at 16 KiB/s each, each to an image of its own."""
    count, subject = arena.options.slow_uploads, arena.subject()
    return Case(
        name="slow-uploads",
        title=f"{count:,} slow uploads, and show meanwhile on one core",
        measures=_MEASURES,
        contestants=tuple(
            Contestant(server.name, partial(_uploading, arena, server, count))
            for server in arena.services(arena.options.workers)
        ),
        goals=_goals(subject, count),
    )


def slow_clients(arena: Arena) -> Case:
    """Both crowds at once."""
    options, subject = arena.options, arena.subject()
    downloads, uploads = options.slow_downloads, options.slow_uploads

    def run() -> dict[str, float]:
        path = f"/v2/images/{images.store(subject, arena.content, options.timeout)}/file"
        reading = Crowd(port=subject.port, method="GET", paths=(path,), count=downloads, rate=_RATE, patience=60)
        return _meanwhile(arena, subject, subject, reading, _sending(arena, subject, uploads))

    return Case(
        name="slow-clients",
        title=f"{downloads:,} slow downloads and {uploads:,} slow uploads, and show meanwhile on one core",
        measures=_MEASURES,
        contestants=(Contestant(subject.name, run),),
        goals=_goals(subject, downloads + uploads),
    )


def _uploading(arena: Arena, server: Server, count: int) -> dict[str, float]:
    return _meanwhile(arena, server, server, _sending(arena, server, count))


def _sending(arena: Arena, server: Server, count: int) -> Crowd:
    """Each upload is as long as the measurements, so that it ends, with an answer, only when all goes well."""
    return Crowd(
        port=server.port,
        method="PUT",
        paths=tuple(f"/v2/images/{identifier}/file" for identifier in images.seed(server, count, "queued")),
        count=count,
        rate=_RATE,
        length=int(_RATE * (3 * arena.options.seconds + 4)),
    )
