"""Lists of 25 images out of 100,000, compared with the same lists out of 1,000: who asks, in which order, for what."""

from __future__ import annotations

import json
import statistics
import time
from functools import partial
from http.client import HTTPConnection

from attrs import frozen

from glancetx.config.settings import DatabaseSettings
from glancetx.db.engine import transact
from glancetx.db.migrations import prepare
from tests.bench.arena import Arena, Case, Contestant
from tests.bench.catalogue import US, fill, projects
from tests.bench.peers import Server
from tests.bench.processes import HOST, BenchFailure
from tests.bench.report import Goal, Measure
from tests.bench.services import start_glancetx

SMALL, LARGE = 1000, 100_000
KEYS = ("created_at", "updated_at", "name", "size", "status", "id")
MEASURES = (Measure("small", "ms of 1,000", 2), Measure("large", "ms of 100,000", 2), Measure("ratio", "", 2))
ADMIN = {"X-Identity-Status": "Confirmed", "X-User-Id": "u", "X-Project-Id": "a", "X-Roles": "admin"}
USER = {"X-Identity-Status": "Confirmed", "X-User-Id": "u", "X-Project-Id": US, "X-Roles": "member,reader"}
DEEP = 0.4
"""How far into the list a deep page begins."""

Pair = dict[int, Server]


@frozen
class Question:
    """One list: its *query*, who asks, whether it begins deep inside, and how many times dearer it may be."""

    query: str
    who: str
    deep: bool
    bound: float

    @property
    def name(self) -> str:
        return f"{self.who} {self.query or 'default'}{' deep' if self.deep else ''}"

    @property
    def headers(self) -> dict[str, str]:
        return ADMIN if self.who == "admin" else USER


def questions() -> list[Question]:
    """Every indexed order in both directions; every visibility; filters that find few, and that find many."""
    plain = ["", *(f"sort={key}:{direction}" for key in KEYS for direction in ("asc", "desc"))]
    plain += [f"visibility={each}" for each in ("public", "shared", "community", "all")]
    filters = ["os_distro=ubuntu", "rare=yes", "tag=team3", "tag=rare", f"owner={projects(SMALL)[3]}", "status=queued"]
    asked = [Question(query, who, deep, 1.2) for query in plain for who in ("admin", "user") for deep in (False, True)]
    asked += [Question("member_status=all&visibility=shared", "user", deep, 1.2) for deep in (False, True)]
    return asked + [Question(query, who, False, 2.0) for query in filters for who in ("admin", "user")]


def list_scale(arena: Arena) -> Case:
    """Each question is a contestant, which asks both services in turn."""
    servers = {count: _start(arena, count) for count in (SMALL, LARGE)}
    asked = questions()
    return Case(
        name="list-scale",
        title=f"List 25 of {SMALL:,} and of {LARGE:,} images, one request after the other",
        measures=MEASURES,
        contestants=tuple(Contestant(each.name, partial(_ask, arena, servers, each)) for each in asked),
        goals=tuple(Goal(measure="ratio", subject=each.name, bound=each.bound, at_most=True) for each in asked),
    )


def _start(arena: Arena, count: int) -> Server:
    name = f"list_{count}"
    directory = arena.directory / name
    directory.mkdir()
    database = arena.database(name) or f"sqlite:///{directory / 'glance.sqlite'}"
    settings = DatabaseSettings(connection=database)
    transact(settings, prepare)
    transact(settings, fill, count)
    trusting = "[glancetx]\nauthentication = trusted\naudit_rate = 0\n"
    return arena.keep(start_glancetx(directory, arena.certificate, database, name=name, options=trusting))


def _ask(arena: Arena, servers: Pair, question: Question) -> dict[str, float]:
    paths = {count: _path(server, question, count) for count, server in servers.items()}
    times: dict[int, list[float]] = {count: [] for count in servers}
    connections = {count: HTTPConnection(HOST, server.port, timeout=60) for count, server in servers.items()}
    deadline = time.monotonic() + arena.options.seconds
    while time.monotonic() < deadline or len(times[LARGE]) < 20:
        for count, connection in connections.items():
            began = time.monotonic()
            _get(connection, paths[count], question.headers)
            times[count].append(time.monotonic() - began)
    for connection in connections.values():
        connection.close()
    # The quickest tenth: what else goes on in the machine makes requests slower, never quicker.
    small, large = (statistics.quantiles(times[count], n=10)[0] * 1e3 for count in (SMALL, LARGE))
    return {"small": small, "large": large, "ratio": large / small}


def _path(server: Server, question: Question, count: int) -> str:
    path = f"/v2/images?limit=25&{question.query}".rstrip("&")
    if not question.deep:
        return path
    wanted, marker = int(count * DEEP), ""
    connection = HTTPConnection(HOST, server.port, timeout=60)
    far = path.replace("limit=25", "limit=1000")
    seen = 0
    while seen < wanted:
        page = _get(connection, f"{far}&marker={marker}" if marker else far, question.headers)
        if len(page) < 1000:
            page = page[: max(1, len(page) - 25)]
        if not page:
            break
        seen, marker = seen + len(page), page[min(len(page), wanted - seen) - 1]
        if len(page) < 1000:
            break
    connection.close()
    return f"{path}&marker={marker}"


def _get(connection: HTTPConnection, path: str, headers: dict[str, str]) -> list[str]:
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    content = answer.read()
    if answer.status != 200:
        raise BenchFailure(f"{path}: {answer.status} {content[:200]!r}")
    return [image["id"] for image in json.loads(content)["images"]]
