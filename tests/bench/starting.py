"""The case of starting: from the command to the first answer, on a database that exists."""

from __future__ import annotations

import time
from functools import partial

from tests.bench import images
from tests.bench.arena import Arena, Case, Contestant
from tests.bench.measure import proportional_memory
from tests.bench.peers import Server
from tests.bench.report import Goal, Measure
from tests.bench.services import GlanceSetup, start_glance, start_glancetx


def start(arena: Arena) -> Case:
    """Start, ask, stop; the directory is that of an earlier start."""
    options = arena.options
    contestants = [Contestant(f"glancetx x{number}", partial(_start_glancetx, arena, number)) for number in (1, 2)]
    if options.glance is not None and not options.glance.database:
        contestants.append(Contestant("glance", partial(_start_glance, arena, options.glance)))
    return Case(
        name="start",
        title=f"Start to first answer, {options.catalogue:,} images in the database",
        measures=(Measure("first answer", "s", 2), Measure("idle memory", "MB PSS", 0)),
        contestants=tuple(contestants),
        goals=(
            Goal(measure="first answer", subject="glancetx x1", bound=1, at_most=True),
            Goal(measure="idle memory", subject="glancetx x1", bound=80, at_most=True),
        ),
    )


def _start_glancetx(arena: Arena, workers: int) -> dict[str, float]:
    directory = arena.directory / f"start-{workers}"
    if not directory.exists():
        first = start_glancetx(directory, arena.certificate, workers=workers)
        images.seed(first, arena.options.catalogue)
        first.process.stop()
    return _started(start_glancetx(directory, arena.certificate, workers=workers))


def _start_glance(arena: Arena, setup: GlanceSetup) -> dict[str, float]:
    directory = arena.directory / "start-glance"
    if not directory.exists():
        first = start_glance(directory, setup)
        images.seed(first, arena.options.catalogue)
        first.process.stop()
    return _started(start_glance(directory, setup, synchronised=True))


def _started(server: Server) -> dict[str, float]:
    time.sleep(3)  # what starting took goes back when all that runs in the background has begun
    memory = proportional_memory(server.process.pid)
    server.process.stop()
    return {"first answer": server.first_answer, "idle memory": memory / 1e6}
