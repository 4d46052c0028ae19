"""One process of `tests.bench.stores`: adds a file several times at once, or reads, or deletes, and says how fast."""

from __future__ import annotations

import json
import os
import sys
import time
import uuid
import warnings
from pathlib import Path

MIB = 1024 * 1024


def theirs(config: str, action: str, arguments: list[str]) -> list[str]:
    """glance_store, each image in a thread."""
    sys.path.append("/usr/lib/python3/dist-packages")  # Ceph's modules are Debian's
    from concurrent.futures import ThreadPoolExecutor

    import glance_store
    from oslo_config import cfg

    conf = cfg.CONF
    glance_store.register_opts(conf)
    conf([f"--config-file={config}"], project="glance")
    glance_store.create_stores(conf)
    scheme = {"swift": "swift+http"}.get(conf.glance_store.default_store, conf.glance_store.default_store)

    def add(path: str) -> str:
        with open(path, "rb") as data:
            size = Path(path).stat().st_size
            found = glance_store.add_to_backend_with_multihash(conf, str(uuid.uuid4()), data, size, "sha512", scheme)
        return str(found[0])

    def get(url: str) -> str:
        for _ in glance_store.get_from_backend(url)[0]:
            pass
        return url

    def delete(url: str) -> str:
        glance_store.delete_from_backend(url)
        return url

    began = Begun()
    with ThreadPoolExecutor(16) as pool:
        if action == "add":
            found = list(pool.map(add, [arguments[0]] * int(arguments[1])))
        else:
            found = list(pool.map(get if action == "get" else delete, arguments))
    report(began, found)
    return found


def ours(config: str, action: str, arguments: list[str]) -> None:
    """glancetx, everything in one reactor."""
    from twisted.internet import reactor, task
    from twisted.internet.defer import Deferred, ensureDeferred

    async def main() -> None:
        from glancetx.runtime.memory import settle
        from glancetx.runtime.threads import Threads
        from glancetx.streams import Digest, FileSource, Tap
        from tests.bench.store_choice import choose

        threads = {name: Threads(reactor, name, 8) for name in ("files", "hashing")}  # type: ignore[arg-type]
        for pool in threads.values():
            pool.start()
        store = choose(Path(config), threads["files"], threads["hashing"])
        await store.start()
        settle()  # as the service does when it has started

        async def add(path: str) -> str:
            descriptor = os.open(path, os.O_RDONLY)
            source = FileSource(threads["files"], descriptor, 0, os.fstat(descriptor).st_size)
            hashes = [Digest(name, threads["hashing"]) for name in ("md5", "sha512")]
            stored = await store.add(str(uuid.uuid4()), Tap(source, *hashes), uuid.uuid4().hex)
            return str(stored.url)

        async def get(url: str) -> str:
            source = await store.get(url)
            await source.startProducing(Nowhere())
            return url

        async def delete(url: str) -> str:
            await store.delete(url)
            return url

        began = Begun()
        if action == "add":
            calls = [Deferred.fromCoroutine(add(arguments[0])) for _ in range(int(arguments[1]))]
        else:
            calls = [Deferred.fromCoroutine((get if action == "get" else delete)(url)) for url in arguments]
        found = [await call for call in calls]
        report(began, found)
        await store.stop()
        for pool in threads.values():
            await pool.stop()

    task.react(lambda _: ensureDeferred(main()))


class Nowhere:
    """A consumer that keeps nothing."""

    def write(self, data: bytes) -> None:
        """Forget it."""


class Begun:
    """When the transfers began: a process's start costs as much as some of them, and differs."""

    def __init__(self) -> None:
        self.seconds, self.cpu = time.monotonic(), time.process_time()


def report(began: Begun, urls: list[str]) -> None:
    status = Path("/proc/self/status").read_text()
    peak = int(status.split("VmHWM:")[1].split()[0])
    used = {"seconds": time.monotonic() - began.seconds, "cpu": time.process_time() - began.cpu, "peak": peak}
    print(json.dumps({**used, "urls": urls}), flush=True)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    side, config, action, *arguments = sys.argv[1:]
    if side == "ours":
        ours(config, action, arguments)
    else:
        theirs(config, action, arguments)
