"""Cases of small requests: show, list, create, patch and delete, each over 16 connections."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial

from tests.bench import images, load
from tests.bench.arena import Arena, Case, Contestant
from tests.bench.hammer import Order
from tests.bench.load import Rate
from tests.bench.measure import Watch
from tests.bench.peers import Server
from tests.bench.report import Goal, Measure

_MEASURES = (
    Measure("rate", "requests/s", 0),
    Measure("p50", "ms", 1),
    Measure("p99", "ms", 1),
    Measure("processor", "CPU ms/request", 3),
    Measure("database", "CPU ms/request", 3),
)
WRITING = (*_MEASURES, Measure("refused", "requests", 0))
_GOAL = Goal(measure="rate", subject="glancetx x2", against="glance", bound=16, at_most=False)
_WRITING_GOALS = (
    _GOAL,
    *(Goal(measure="refused", subject=f"glancetx x{workers}", bound=0, at_most=True) for workers in (1, 2)),
)


def _contestants(arena: Arena, measure: Callable[[Arena, Server], dict[str, float]]) -> tuple[Contestant, ...]:
    servers = arena.services(1, 2)
    return tuple(Contestant(server.name, partial(measure, arena, server)) for server in servers)


def _figures(rate: Rate, watch: Watch, requests: float) -> dict[str, float]:
    return {
        "rate": rate.per_second,
        "p50": rate.p50 * 1e3,
        "p99": rate.p99 * 1e3,
        "processor": watch.usage.cpu / requests * 1e3,
        "database": watch.usage.beside / requests * 1e3,
    }


_IN_TURN = """
local paths, number = {{ {paths} }}, 0
function request()
  number = number + 1
  return wrk.format("GET", paths[number % #paths + 1])
end
"""


def _get(arena: Arena, server: Server, *paths: str) -> dict[str, float]:
    """GET of one of *paths* after the other."""
    script = server.directory / "in-turn.lua"
    script.write_text(_IN_TURN.format(paths=", ".join(f'"{path}"' for path in paths)))
    get = partial(load.get_repeatedly, server.url(paths[0]), script=script, token=server.token)
    get(seconds=1)
    with Watch(server.process.pid, beside=arena.database_process) as watch:
        rate = get(seconds=arena.options.seconds)
    return _figures(rate, watch, rate.per_second * arena.options.seconds)


def show(arena: Arena) -> Case:
    """GET of one image after the other, of a hundred."""
    contestants = []
    for server in arena.services(1, 2):
        paths = [f"/v2/images/{identifier}" for identifier in images.seed(server, 100)]
        contestants.append(Contestant(server.name, partial(_get, arena, server, *paths)))
    return Case(
        name="show",
        title="Show, 16 connections",
        measures=_MEASURES,
        contestants=tuple(contestants),
        goals=(_GOAL, Goal(measure="p99", subject="glancetx x2", bound=10, at_most=True)),
    )


def listing(arena: Arena, catalogue: int) -> Case:
    """GET of 25 images out of *catalogue*."""
    contestants = []
    for server in arena.services(1, 2):
        have = len(images.call(server, "GET", "/v2/images?limit=1000")["images"])
        images.seed(server, max(0, catalogue - have))
        contestants.append(Contestant(server.name, partial(_get, arena, server, "/v2/images?limit=25")))
    return Case(
        name=f"list-{catalogue}",
        title=f"List 25 of {catalogue:,} images, 16 connections",
        measures=_MEASURES,
        goals=(_GOAL,),
        contestants=tuple(contestants),
    )


def create(arena: Arena) -> Case:
    """POST of queued images; they are left for `delete`."""
    return Case(
        name="create",
        title="Create, 16 connections",
        measures=WRITING,
        goals=_WRITING_GOALS,
        contestants=_contestants(arena, create_repeatedly),
    )


def create_repeatedly(arena: Arena, server: Server) -> dict[str, float]:
    """Measure once."""
    order = Order(
        port=server.port,
        method="POST",
        path="/v2/images",
        body=json.dumps(images.DOCUMENT),
        token=server.token,
        seconds=arena.options.seconds,
    )
    with Watch(server.process.pid, beside=arena.database_process) as watch:
        rate, outcome = load.hammer(order)
    figures = _figures(rate, watch, len(outcome.latencies))
    return {**figures, "refused": sum(outcome.failures.values())}


def patch(arena: Arena) -> Case:
    """PATCH of one name after the other, of images with two properties and a tag."""
    return Case(
        name="patch",
        title="Patch, 16 connections",
        measures=WRITING,
        goals=_WRITING_GOALS,
        contestants=_contestants(arena, patch_repeatedly),
    )


def patch_repeatedly(arena: Arena, server: Server) -> dict[str, float]:
    """Measure once."""
    enough = int(arena.options.seconds * (100 if server.name == "glance" else 3000))
    paths = tuple(f"/v2/images/{identifier}" for identifier in images.seed(server, enough, "queued"))
    change = [{"op": "replace", "path": "/name", "value": "renamed {number}"}]
    order = Order(
        port=server.port,
        method="PATCH",
        paths=paths,
        body=json.dumps(change),
        token=server.token,
        content_type="application/openstack-images-v2.1-json-patch",
        seconds=arena.options.seconds,
    )
    with Watch(server.process.pid, beside=arena.database_process) as watch:
        rate, outcome = load.hammer(order)
    figures = _figures(rate, watch, len(outcome.latencies))
    return {**figures, "refused": sum(outcome.failures.values())}


def delete(arena: Arena) -> Case:
    """DELETE of queued images, each once."""
    return Case(
        name="delete",
        title="Delete, 16 connections",
        measures=WRITING,
        goals=_WRITING_GOALS,
        contestants=tuple(Contestant(server.name, partial(_delete, arena, server)) for server in arena.services(1, 2)),
    )


def _delete(arena: Arena, server: Server) -> dict[str, float]:
    enough = int(arena.options.seconds * (100 if server.name == "glance" else 3000))
    paths = tuple(f"/v2/images/{identifier}" for identifier in images.seed(server, enough, "queued"))
    order = Order(port=server.port, method="DELETE", paths=paths, token=server.token, seconds=arena.options.seconds)
    with Watch(server.process.pid, beside=arena.database_process) as watch:
        rate, outcome = load.hammer(order)
    figures = _figures(rate, watch, len(outcome.latencies))
    return {**figures, "refused": sum(outcome.failures.values())}
