"""The command line of the benchmark: options, the order of the cases, and an orderly end."""

from __future__ import annotations

import re
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import click
from attrs import evolve
from rich.console import Console

from tests.bench import caching, list_scale, mix, nodes, slowness, small_requests, starting, telling, transfers
from tests.bench.arena import Arena, Case, Options
from tests.bench.identity import Identity, start_keystone
from tests.bench.processes import BenchFailure
from tests.bench.report import CaseResult, machine, show, write_json
from tests.bench.services import GlanceSetup
from tests.services.databases import DatabaseServer
from tests.services.mariadb import MariaDb
from tests.services.postgresql import PostgreSql

CASES: dict[str, Callable[[Arena], Case]] = {
    "upload-1": partial(transfers.uploads, clients=1),
    "upload-4": partial(transfers.uploads, clients=4),
    "download-1": partial(transfers.downloads, clients=1, tls=False),
    "download-4": partial(transfers.downloads, clients=4, tls=False),
    "download-16": partial(transfers.downloads, clients=16, tls=False),
    "tls-download-1": partial(transfers.downloads, clients=1, tls=True),
    "tls-download-16": partial(transfers.downloads, clients=16, tls=True),
    "ranges": transfers.ranges,
    "cache-hits": caching.hits,
    "cache-cold": caching.cold,
    "cache-prune": caching.prune,
    "show": small_requests.show,
    "list-1000": partial(small_requests.listing, catalogue=1000),
    "list-10000": partial(small_requests.listing, catalogue=10000),
    "list-scale": list_scale.list_scale,
    "create": small_requests.create,
    "patch": small_requests.patch,
    "delete": small_requests.delete,
    "told-create": partial(telling.told, verb="create", measure=small_requests.create_repeatedly),
    "told-patch": partial(telling.told, verb="patch", measure=small_requests.patch_repeatedly),
    "slow-downloads": slowness.slow_downloads,
    "slow-uploads": slowness.slow_uploads,
    "slow-clients": slowness.slow_clients,
    "mix": mix.mix,
    "start": starting.start,
    "nodes": partial(nodes.nodes, store="swift"),
    "nodes-rbd": partial(nodes.nodes, store="rbd"),
    "workers": nodes.workers,
}
ON_REQUEST = ("list-10000", "list-scale", "nodes", "nodes-rbd", "workers", "told-create", "told-patch")
QUICK: dict[str, Any] = {
    "size": 64 * 1024**2,
    "total": 512 * 1024**2,
    "seconds": 2.0,
    "runs": 1,
    "slow_downloads": 500,
    "slow_uploads": 100,
}


def size(text: str) -> int:
    """Bytes, with K, M or G for powers of 1024: ``64M`` is 67108864."""
    found = re.fullmatch(r"(\d+)([KMG]?)", text.upper())
    if found is None:
        raise ValueError(f"{text!r} is not a size such as 64M or 1G")
    return int(found[1]) * int(1024 ** " KMG".index(found[2] or " "))


def measure(arena: Arena, name: str, console: Console) -> CaseResult:
    """Prepare the case, run its contestants in turn, as often as the options say; failures are part of the result."""
    try:
        case = CASES[name](arena)
    except BenchFailure as failure:
        return CaseResult(name=name, title=name, measures=(), goals=(), failures={"preparation": str(failure)})
    result = CaseResult(name=name, title=case.title, measures=case.measures, goals=case.goals)
    for run in range(arena.options.runs):
        for contestant in case.contestants:
            console.print(f"[dim]{name}: {contestant.name}, run {run + 1} of {arena.options.runs}[/dim]")
            figures = None
            if contestant.name not in result.failures:
                try:
                    figures = contestant.run()
                except BenchFailure as failure:
                    result.failures[contestant.name] = str(failure)
            result.samples.setdefault(contestant.name, []).append(figures)
    return result


def _interrupted(number: int, frame: FrameType | None) -> None:
    """SIGTERM ends the benchmark as Ctrl-C does: with everything stopped."""
    raise KeyboardInterrupt


@click.command()
@click.option("--case", "cases", multiple=True, type=click.Choice(list(CASES)), help="Only this one; repeatable.")
@click.option("--quick", is_flag=True, help="64 MiB, 2 seconds, one run: does it all work?")
@click.option("--runs", type=click.IntRange(1), help="How often each contestant is measured [3].")
@click.option("--seconds", type=float, help="How long small requests are sent [5].")
@click.option("--size", type=size, help="Bytes of the image [1G].")
@click.option("--total", type=size, help="Bytes the downloads of one measurement move together [8G].")
@click.option("--slow-downloads", type=click.IntRange(1), help="Clients [5000].")
@click.option("--slow-uploads", type=click.IntRange(1), help="Clients [500].")
@click.option("--many", type=click.IntRange(2000), help="Images of the large catalogue of list-scale [100000].")
@click.option(
    "--workers", type=click.IntRange(1), help="Processes of glancetx for uploads, downloads, slow clients [1]."
)
@click.option(
    "--glance-venv", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Glance 33 and uWSGI."
)
@click.option("--mariadb", is_flag=True, help="A private MariaDB for both services, in place of SQLite.")
@click.option("--postgresql", is_flag=True, help="A private PostgreSQL, in place of SQLite; not for Glance.")
@click.option("--keystone", is_flag=True, help="A real Keystone tells both services who asks; needs --glance-venv.")
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Write all figures there.")
@click.option(
    "--directory", type=click.Path(file_okay=False, path_type=Path), help="Where to work [a new one in TMPDIR]."
)
def main(
    cases: tuple[str, ...],
    quick: bool,
    glance_venv: Path | None,
    mariadb: bool,
    postgresql: bool,
    keystone: bool,
    json_file: Path | None,
    directory: Path | None,
    **changes: Any,
) -> None:
    """Measure glancetx against nginx, an ideal upload, and a real Glance where one is given."""
    given = {name: value for name, value in changes.items() if value is not None}
    options = evolve(Options(), **{**(QUICK if quick else {}), **given})
    if glance_venv is not None:
        options = evolve(options, glance=GlanceSetup(venv=glance_venv.absolute()))
    _check_programs()
    signal.signal(signal.SIGTERM, _interrupted)
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    console, results, began = Console(), [], time.monotonic()
    console.print(", ".join(f"{name} {value}" for name, value in machine().items()), highlight=False)
    with ExitStack() as stack:
        working = Path(tempfile.mkdtemp(prefix="bench-", dir=directory))
        stack.callback(shutil.rmtree, working, ignore_errors=True)
        arena = Arena(options, working, stack, _start_database(stack, mariadb, postgresql))
        if keystone:
            arena.identity = _start_keystone(stack, working / "keystone", options.glance)
        for name in cases or [name for name in CASES if name not in ON_REQUEST]:
            results.append(measure(arena, name, console))
            show(console, results[-1])
    if json_file is not None:
        told = {name: str(value) for name, value in changes.items()}
        databases = {"mariadb": mariadb, "postgresql": postgresql}
        written = {"quick": quick, **databases, "keystone": keystone, **told, "glance": bool(glance_venv)}
        write_json(json_file, written, results)
    console.print(f"{time.monotonic() - began:.0f} s in all")


def _start_database(stack: ExitStack, mariadb: bool, postgresql: bool) -> DatabaseServer | None:
    """A server that waits for the disk at each commit, as one of a cloud does; None means SQLite."""
    if not mariadb and not postgresql:
        return None
    server: DatabaseServer = (
        MariaDb("--innodb-flush-log-at-trx-commit=1", "--max-connections=500")
        if mariadb
        else PostgreSql("fsync=on", "synchronous_commit=on", "max_connections=500")
    )
    stack.callback(server.remove)
    server.start()
    return server


def _start_keystone(stack: ExitStack, folder: Path, glance: GlanceSetup | None) -> Identity:
    if glance is None:
        raise click.UsageError("--keystone needs --glance-venv: Keystone is installed there")
    keystone, identity = start_keystone(folder, glance.venv)
    stack.callback(keystone.stop)
    return identity


def _check_programs() -> None:
    missing = [name for name in ("nginx", "wrk", "curl", "openssl") if shutil.which(name) is None]
    if missing:
        sys.exit(f"not found in PATH: {', '.join(missing)}")
