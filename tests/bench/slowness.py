"""Cases with slow clients: what `show` loses while a crowd is served, and what each client of the crowd costs."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from functools import partial

from tests.bench import images, load
from tests.bench.arena import Arena, Case, Contestant
from tests.bench.measure import proportional_memory
from tests.bench.peers import Server
from tests.bench.processes import BenchFailure
from tests.bench.report import Goal, Measure
from tests.bench.slow import Crowd

_MEASURES = (
    Measure("show alone", "requests/s", 0),
    Measure("show meanwhile", "requests/s", 0),
    Measure("loss", "%", 1),
    Measure("each client", "KiB PSS", 1),
    Measure("progressing", "clients", 0),
    Measure("failed", "clients", 0),
    Measure("all under way", "s", 1),
)
_RATE = 16 * 1024
_CONTROL = "nginx serves the crowd"


def _meanwhile(arena: Arena, shown: Server, crowded: Server, *crowds: Crowd) -> dict[str, float]:
    """`show` on one server before, during and after crowds on another, or the same, server."""
    seconds = arena.options.seconds
    (identifier,) = images.seed(shown, 1)
    url = shown.url(f"/v2/images/{identifier}")
    before = load.get_repeatedly(url, seconds).per_second
    memory = proportional_memory(crowded.process.pid)
    during = 0.0
    with ExitStack() as stack:
        clients = [stack.enter_context(load.slow_clients(crowd)) for crowd in crowds]
        with suppress(BenchFailure):  # a server that answers nothing at all is a result too
            during = load.get_repeatedly(url, seconds).per_second
        grown = proportional_memory(crowded.process.pid) - memory
        progress = [each.dismiss() for each in clients]
    after = load.get_repeatedly(url, seconds).per_second
    alone, count = (before + after) / 2, sum(crowd.count for crowd in crowds)
    return {
        "show alone": alone,
        "show meanwhile": during,
        "loss": 100 * (1 - during / alone),
        "each client": grown / 1024 / count,
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
        title=f"{count:,} slow downloads, and show meanwhile",
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
        title=f"{count:,} slow uploads, and show meanwhile",
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
        title=f"{downloads:,} slow downloads and {uploads:,} slow uploads, and show meanwhile",
        measures=_MEASURES,
        contestants=(Contestant(subject.name, run),),
        goals=_goals(subject, downloads + uploads),
    )


def _uploading(arena: Arena, server: Server, count: int) -> dict[str, float]:
    return _meanwhile(arena, server, server, _sending(arena, server, count))


def _sending(arena: Arena, server: Server, count: int) -> Crowd:
    """Each upload is as long as the measurement, so that it ends, with an answer, only when all goes well."""
    return Crowd(
        port=server.port,
        method="PUT",
        paths=tuple(f"/v2/images/{identifier}/file" for identifier in images.seed(server, count, "queued")),
        count=count,
        rate=_RATE,
        length=int(_RATE * (arena.options.seconds + 2)),
    )
