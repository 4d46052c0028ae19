"""Cases of the image cache: what a hit costs, a cold image that many want, and pruning what came in parallel."""

from __future__ import annotations

import hashlib
import json
import os
import time
from functools import partial
from http.client import HTTPConnection
from math import ceil
from pathlib import Path

from tests.bench import images, load
from tests.bench.arena import Arena, Case, Contestant
from tests.bench.measure import Watch
from tests.bench.peers import Server, start_nginx
from tests.bench.processes import HOST, BenchFailure
from tests.bench.report import Goal, Measure
from tests.bench.services import start_glancetx

CLIENTS = 16
IMAGES = 10
RATE = "64m"
"""Bytes a second of the slow store, for each who reads it."""
_GIB = 1024**3
_PATCH = "application/openstack-images-v2.1-json-patch"
_CACHING = """\
[DEFAULT]
image_cache_dir = {directory}/cache
image_cache_max_size = {limit}
worker_self_reference_url = http://bench
show_multiple_locations = true
[glance_store]
stores = file,http
default_store = file
[import_filtering_opts]
allowed_hosts = {host}
allowed_ports = {port}
[glancetx]
cache_downloads = true
cache_interval = 0
"""


def hits(arena: Arena) -> Case:
    """Downloads of a cached image beside those of one in the same kind of file, 16 at once."""
    plain, caching = arena.subject(), _caching(arena, "hits", limit=100 * _GIB)
    contestants = []
    for server in (plain, caching):
        path = f"/v2/images/{images.store(server, arena.content, arena.options.timeout)}/file"
        load.download(server.url(path), 1, 1, arena.options.size, arena.options.timeout)
        contestants.append(Contestant(server.name, partial(_read, arena, server, path)))
    _wait_until_cached(caching, 1)
    goal = Goal(measure="processor", subject=caching.name, against=plain.name, bound=1.1, at_most=True)
    return Case(
        name="cache-hits",
        title=f"Downloads of a cached image, {CLIENTS} at once",
        measures=(Measure("speed", "MB/s", 0), Measure("processor", "CPU s/GiB", 3)),
        contestants=tuple(contestants),
        goals=(goal,),
    )


def cold(arena: Arena) -> Case:
    """Sixteen clients who want the same image of a slow store at the same time."""
    slow = start_nginx(arena.directory / "slow", arena.certificate, rate=RATE)
    arena.stack.callback(slow.process.stop)
    os.link(arena.content, slow.directory / "files" / "content")
    server = _caching(arena, "cold", limit=100 * _GIB, port=slow.port)
    return Case(
        name="cache-cold",
        title=f"{CLIENTS} clients of one cold image in a store of {RATE}B/s",
        measures=(
            Measure("reads", "of the whole image", 2),
            Measure("seconds", "s", 1),
            Measure("peak memory", "MB PSS", 0),
        ),
        contestants=(Contestant(server.name, partial(_cold, arena, server, slow)),),
        goals=(Goal(measure="reads", subject=server.name, bound=1.0, at_most=True),),
    )


def prune(arena: Arena) -> Case:
    """Ten images at once fill a cache that holds three; then it is pruned once."""
    size = arena.options.size // 8
    server = _caching(arena, "prune", limit=_limit(size))
    part = arena.directory / "part"
    with arena.content.open("rb") as content:
        part.write_bytes(content.read(size))
    return Case(
        name="cache-prune",
        title=f"{IMAGES} images at once in a cache for three of them",
        measures=(Measure("filled", "of the limit", 2), Measure("pruned", "of the limit", 2), Measure("prune", "s", 3)),
        contestants=(Contestant(server.name, partial(_prune, arena, server, part)),),
        goals=(Goal(measure="pruned", subject=server.name, bound=1.0, at_most=True),),
    )


def _limit(size: int) -> int:
    """Of a cache that holds three images of this size, and half a one."""
    return 7 * size // 2


def _caching(arena: Arena, what: str, limit: int, port: int = 1) -> Server:
    directory = arena.directory / f"cache-{what}"
    more = _CACHING.format(directory=directory, limit=limit, host=HOST, port=port)
    server = start_glancetx(directory, arena.certificate, name="glancetx cache", options=more)
    arena.stack.callback(server.process.stop)
    return server


def _read(arena: Arena, server: Server, path: str) -> dict[str, float]:
    options = arena.options
    repeats = max(1, ceil(options.total / (options.size * CLIENTS)))
    with Watch(server.process.pid) as watch:
        load.download(server.url(path), CLIENTS, repeats, options.size, options.timeout)
    moved = options.size * CLIENTS * repeats
    return {"speed": moved / watch.usage.wall / 1e6, "processor": watch.usage.cpu / (moved / _GIB)}


def _cold(arena: Arena, server: Server, slow: Server) -> dict[str, float]:
    options = arena.options
    identifier = images.create(server)
    _locate(server, identifier, slow.url("/content"), arena.content)
    log = slow.directory / "access.log"
    before = _delivered(log)
    with Watch(server.process.pid) as watch:
        load.download(server.url(f"/v2/images/{identifier}/file"), CLIENTS, 1, options.size, 10 * options.timeout)
    _wait_until_cached(server, 1)
    time.sleep(0.5)  # until nginx has written its log
    reads = (_delivered(log) - before) / options.size
    images.delete(server, identifier)
    return {"reads": reads, "seconds": watch.usage.wall, "peak memory": watch.usage.pss / 1e6}


def _locate(server: Server, identifier: str, url: str, content: Path) -> None:
    """Let the data of an image be what lies at *url*."""
    with content.open("rb") as file:
        digest = hashlib.file_digest(file, "sha512").hexdigest()
    with content.open("rb") as file:
        checksum = hashlib.file_digest(file, "md5").hexdigest()
    known = {"checksum": checksum, "os_hash_algo": "sha512", "os_hash_value": digest}
    value = {"url": url, "metadata": {}, "validation_data": known}
    connection = HTTPConnection(HOST, server.port, timeout=60)
    document = json.dumps([{"op": "add", "path": "/locations/-", "value": value}])
    connection.request("PATCH", f"/v2/images/{identifier}", document, {"Content-Type": _PATCH})
    answer = connection.getresponse()
    if answer.status != 200:
        raise BenchFailure(f"the location was answered {answer.status} {answer.read()[:200]!r}")
    connection.close()


def _delivered(log: Path) -> int:
    """How many bytes of bodies the slow store has sent."""
    return sum(int(line) for line in log.read_text().split()) if log.exists() else 0


def _prune(arena: Arena, server: Server, part: Path) -> dict[str, float]:
    limit = _limit(part.stat().st_size)
    ids = [images.store(server, part, arena.options.timeout) for _ in range(IMAGES)]
    urls = [server.url(f"/v2/images/{identifier}/file") for identifier in ids]
    load.download_each(urls, part.stat().st_size, arena.options.timeout)
    _wait_until_cached(server, IMAGES)
    filled = _cached_bytes(server)
    began = time.monotonic()
    images.call(server, "POST", "/v2/cache/prune")
    took, left = time.monotonic() - began, _cached_bytes(server)
    for identifier in ids:
        images.delete(server, identifier)
    return {"filled": filled / limit, "pruned": left / limit, "prune": took}


def _cached_bytes(server: Server) -> int:
    return sum(path.stat().st_size for path in (server.directory / "cache").iterdir() if path.is_file())


def _wait_until_cached(server: Server, count: int) -> None:
    latest = time.monotonic() + 300
    while len(images.call(server, "GET", "/v2/cache")["cached_images"]) < count:
        if time.monotonic() > latest:
            raise BenchFailure("the image was not cached")
        time.sleep(0.1)
