"""Lists of 25 images out of 100,000, compared with the same lists out of 1,000: who asks, in which order, for what.

Two things are compared: the processor's time for requests, and what the database counts (`counting`), which can be
relied on wherever it runs.
"""

from __future__ import annotations

import statistics
import time
from functools import partial
from http.client import HTTPConnection
from typing import Any, Final

from attrs import evolve, frozen
from sqlalchemy import Connection, false, func, or_, select

from glancetx.config.settings import DatabaseSettings, ImagesSettings
from glancetx.db.dialects import alive, make_pools
from glancetx.db.engine import transact
from glancetx.db.filters import complete, matching
from glancetx.db.migrations import prepare
from glancetx.db.pages import read_page
from glancetx.db.paging import ordering
from glancetx.db.rows import read_images
from glancetx.db.schema import images
from glancetx.db.shares import Sight, shares
from glancetx.domain.query import ImageQuery
from glancetx.web.query import QueryParser, parse_query
from tests.bench.arena import Arena, Case, Contestant
from tests.bench.catalogue import THEM, US, fill
from tests.bench.counting import UNITS, counted
from tests.bench.measure import running_seconds
from tests.bench.peers import Server
from tests.bench.processes import HOST, BenchFailure
from tests.bench.report import Goal, Measure
from tests.bench.services import start_glancetx

SMALL: Final = 1000
KEYS: Final = ("created_at", "updated_at", "name", "size", "status")
PAGE: Final = 25
DEEP: Final = 0.4
"""How far into the list a deep page begins."""
REQUESTS: Final = 20
"""How many are timed at least."""


@frozen
class Shelf:
    """A database with *count* images, and the service on it."""

    count: int
    settings: DatabaseSettings
    server: Server


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
    def path(self) -> str:
        return f"/v2/images?limit={PAGE}&{self.query}".rstrip("&")

    @property
    def headers(self) -> dict[str, str]:
        sight, role = self.sight, "admin" if self.who == "admin" else "member,reader"
        project = {"X-Project-Id": sight.project_id} if sight.project_id else {}
        return {"X-Identity-Status": "Confirmed", "X-User-Id": "u", "X-Roles": role, **project}

    @property
    def sight(self) -> Sight:
        return Sight(is_admin=True, project_id="a") if self.who == "admin" else Sight(is_admin=False, project_id=US)

    def parsed(self) -> ImageQuery:
        """What the service makes of it."""
        settings = ImagesSettings()
        return QueryParser(settings).parse(parse_query(self.path.partition("?")[2].encode()))


def questions() -> list[Question]:
    """Every indexed order in both directions; every visibility; filters that find few, and that find many."""
    plain = ["", *(f"sort={key}:{direction}" for key in KEYS for direction in ("asc", "desc"))]
    plain += [f"visibility={each}" for each in ("public", "shared", "community", "all")]
    filters = ["os_distro=ubuntu", "rare=yes", "tag=team3", "tag=rare", f"owner={THEM}", "status=queued"]
    filters += ["name=rare"]
    asked = [Question(query, who, deep, 1.2) for query in plain for who in ("admin", "user") for deep in (False, True)]
    asked += [Question(f"sort=id:{each}", "admin", deep, 1.2) for each in ("asc", "desc") for deep in (False, True)]
    asked += [Question("member_status=all&visibility=shared", "user", deep, 1.2) for deep in (False, True)]
    return asked + [Question(query, who, False, 2.0) for query in filters for who in ("admin", "user")]


def list_scale(arena: Arena) -> Case:
    """Each question is a contestant, which asks both services in turn."""
    shelves = (_fill(arena, SMALL), _fill(arena, arena.options.many))
    unit = UNITS[make_pools(shelves[0].settings).readers.engine.dialect.name]
    asked = questions()
    return Case(
        name="list-scale",
        title=f"List {PAGE} of {SMALL:,} and of {shelves[1].count:,} images, one request after the other",
        measures=(
            Measure("small", "CPU ms", 2),
            Measure("large", "CPU ms", 2),
            Measure("ratio", "times", 2),
            Measure("few", unit, 0),
            Measure("many", unit, 0),
            Measure("counted", "times", 2),
        ),
        contestants=tuple(Contestant(each.name, partial(_ask, arena, shelves, each)) for each in asked),
        goals=tuple(Goal(measure="counted", subject=each.name, bound=each.bound, at_most=True) for each in asked),
    )


def _fill(arena: Arena, count: int) -> Shelf:
    name = f"list_{count}"
    directory = arena.directory / name
    directory.mkdir()
    database = arena.database(name) or f"sqlite:///{directory / 'glance.sqlite'}"
    settings = DatabaseSettings(connection=database)
    transact(settings, prepare)
    transact(settings, fill, count)
    trusting = "[glancetx]\nauthentication = trusted\naudit_rate = 0\n"
    server = arena.keep(start_glancetx(directory, arena.certificate, database, name=name, options=trusting))
    return Shelf(count, settings, server)


def _ask(arena: Arena, shelves: tuple[Shelf, Shelf], question: Question) -> dict[str, float]:
    queries = [begun(shelf.settings, question) for shelf in shelves]
    few, many = (count(each.settings, question, query) for each, query in zip(shelves, queries, strict=True))
    paths = [question.path + (f"&marker={query.marker}" if query.marker else "") for query in queries]
    small, large = _time(arena, shelves, paths, question.headers)
    times = {"small": small, "large": large, "ratio": large / small}
    return {**times, "few": few, "many": many, "counted": many / few}


def begun(settings: DatabaseSettings, question: Question) -> ImageQuery:
    """The query, behind the image from which on it is asked."""
    query = question.parsed()
    if not question.deep:
        return query
    with make_pools(settings).readers.engine.connect() as connection:
        return evolve(query, marker=_find_marker(connection, question.sight, query))


def _find_marker(connection: Connection, sight: Sight, query: ImageQuery) -> str:
    shown = shares(sight.is_admin, sight.project_id, query.visibility, query.member_status)
    listed: list[Any] = [or_(false(), *(share.holds() for share in shown)), alive(images)]
    listed += [images.c.os_hidden == false(), *matching(query)]
    length = connection.execute(select(func.count()).select_from(images).where(*listed)).scalar_one()
    found = select(images.c.id).where(*listed).order_by(*ordering(images, complete(query.sort)))
    place = max(0, min(int(length * DEEP), length - PAGE - 1))  # a full page behind it, if there can be one
    identifier: str = connection.execute(found.offset(place).limit(1)).scalar_one()
    return identifier


def count(settings: DatabaseSettings, question: Question, query: ImageQuery) -> int:
    """What the database counts when it answers."""

    def read(connection: Connection) -> None:
        read_images(connection, lambda few: read_page(connection, question.sight, query, few=few))

    with make_pools(settings).readers.engine.connect() as connection:
        read(connection)  # what is done once only
        return counted(connection, read)


def _time(arena: Arena, shelves: tuple[Shelf, Shelf], paths: list[str], headers: dict[str, str]) -> tuple[float, float]:
    """Milliseconds of the processor that one request to each takes, of the service and the database server."""
    times: list[list[float]] = [[], []]
    connections = [HTTPConnection(HOST, shelf.server.port, timeout=60) for shelf in shelves]
    deadline = time.monotonic() + arena.options.seconds
    while time.monotonic() < deadline or len(times[1]) < REQUESTS:
        for shelf, connection, path, spent in zip(shelves, connections, paths, times, strict=True):
            began = _spent(arena, shelf)
            _get(connection, path, headers)
            spent.append(_spent(arena, shelf) - began)
    for connection in connections:
        connection.close()
    # The cheapest quarter: what else goes on in the machine makes requests dearer, never cheaper.
    small, large = (statistics.quantiles(spent, n=4)[0] * 1e3 for spent in times)
    return small, large


def _spent(arena: Arena, shelf: Shelf) -> float:
    database = running_seconds(arena.database_process) if arena.database_process else 0.0
    return running_seconds(shelf.server.process.pid) + database


def _get(connection: HTTPConnection, path: str, headers: dict[str, str]) -> None:
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    content = answer.read()
    if answer.status != 200:
        raise BenchFailure(f"{path}: {answer.status} {content[:200]!r}")
