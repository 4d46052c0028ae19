"""What it costs to tell a broker of every change: nothing told, told from memory, and kept in the database."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from tests.bench import small_requests
from tests.bench.arena import Arena, Case, Contestant
from tests.bench.peers import Server
from tests.bench.report import Goal
from tests.bench.services import start_glancetx
from tests.services.rabbitmq import RabbitMQ

OPTIONS = """
[oslo_messaging_notifications]
driver = messagingv2
transport_url = {url}
topics = {topic}
[glancetx]
kept_events = {kept}
"""
Measure = Callable[[Arena, Server], dict[str, float]]


def _servers(arena: Arena, verb: str) -> Iterator[Server]:
    broker = RabbitMQ(arena.directory / f"rabbitmq-{verb}")
    broker.start()
    arena.stack.callback(broker.stop)
    away = RabbitMQ(arena.directory / f"away-{verb}")  # never started
    for name, options in {
        "no events": "",
        "in memory": OPTIONS.format(url=broker.url, topic="memory", kept=0),
        "kept": OPTIONS.format(url=broker.url, topic="kept", kept=100_000),
        "kept, broker away": OPTIONS.format(url=away.url, topic="away", kept=100_000),
    }.items():
        folder = f"{verb}-{name.replace(' ', '-').replace(',', '')}"
        database = arena.database(folder.replace("-", "_"))
        yield arena.keep(
            start_glancetx(arena.directory / folder, arena.certificate, database, name=name, options=options)
        )


def told(arena: Arena, verb: str, measure: Measure) -> Case:
    """16 connections, one process of glancetx for each way."""
    servers = list(_servers(arena, verb))
    return Case(
        name=f"told-{verb}",
        title=f"{verb.title()} with events for RabbitMQ, 16 connections",
        measures=small_requests.WRITING,
        contestants=tuple(Contestant(server.name, partial(measure, arena, server)) for server in servers),
        goals=(Goal(measure="refused", subject="kept, broker away", bound=0, at_most=True),),
    )
