"""Leases in etcd, as tooz's locks.

tooz's lock does not tell when it is lost: a refresh of a lock that has run out is no error. So here the clock counts,
and after each round all locks are looked up, to see whether ours are those we took.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable
from importlib import import_module
from typing import Any, Final, TypeVar
from urllib.parse import parse_qs, urlsplit

from attrs import define
from zope.interface import implementer

from glancetx.domain.errors import CoordinationUnavailable
from glancetx.interfaces import Held, ILeases
from glancetx.runtime.threads import Threads

T = TypeVar("T")
PREFIX: Final = "/tooz/locks"
"""Where tooz keeps its locks."""
PATIENCE: Final = 4
"""Part of a lease that one question to etcd may take."""


@implementer(ILeases)
class EtcdLeases:
    """The leases of this process; *url* and its options are tooz's. An etcd that is away is asked again each time.

    All questions are asked one after the other, in a thread of our own. *lease* in seconds, rounded up.
    """

    def __init__(self, reactor: Any, url: str, namespace: str, process_id: str, lease: float) -> None:
        self._seconds: Callable[[], float] = reactor.seconds
        self._threads = Threads(reactor, "coordination", 1)
        self._url, self._process_id = url, process_id
        self._folder = f"{PREFIX}/{namespace}/"
        self._lease = math.ceil(lease)
        self._coordinator: Any = None
        self._locks: dict[str, _Lock] = {}

    async def hold(self, names: Collection[str]) -> Held:
        asked = self._seconds()
        held = await self._ask(self._hold, frozenset(names), asked)
        return Held(held, float(self._lease))

    async def release(self, names: Collection[str]) -> None:
        await self._ask(self._release, frozenset(names))

    async def stop(self) -> None:
        await self._threads.stop()

    async def _ask(self, question: Callable[..., T], *arguments: Any) -> T:
        if not self._threads.running:
            self._threads.start()
        return await self._threads.run(_translated, question, *arguments)

    def _hold(self, names: frozenset[str], asked: float) -> frozenset[str]:
        """In the thread; *asked* is when this began."""
        self._refresh(asked)
        found = self._look()
        self._drop(name for name, lock in self._locks.items() if found.get(name) != lock.revision)
        taken = [name for name in sorted(names) if name not in found and self._take(name, asked)]
        if taken:
            found = self._look()
            for name in taken:
                self._locks[name].revision = found.get(name, 0)
        self._drop(name for name, lock in self._locks.items() if not lock.revision or self._seconds() >= lock.until)
        return frozenset(self._locks) & names

    def _refresh(self, asked: float) -> None:
        """A refresh that may have come too late proves nothing."""
        for lock in self._locks.values():
            lock.tooz.heartbeat()
            if self._seconds() < lock.until:
                lock.until = asked + self._lease
        self._drop(name for name, lock in self._locks.items() if self._seconds() >= lock.until)

    def _take(self, name: str, asked: float) -> bool:
        tooz = self._open().get_lock(f"{self._folder}{name}".removeprefix(PREFIX).encode())
        if not tooz.acquire(blocking=False):  # somebody was faster
            return False
        self._locks[name] = _Lock(tooz, asked + self._lease)
        return True

    def _look(self) -> dict[str, int]:
        """The leases that somebody holds, and the revision in which each was taken."""
        keys = [metadata for _, metadata in self._open().client.get_prefix(self._folder)]
        return {key["key"].decode().removeprefix(self._folder): int(key["create_revision"]) for key in keys}

    def _release(self, names: frozenset[str]) -> None:
        self._drop(names & self._locks.keys())

    def _drop(self, names: Iterable[str]) -> None:
        """Hold these no more. What is still ours is free at once; what is another's stays his."""
        for name in list(names):
            if not self._locks[name].tooz.release():
                self._coordinator = None  # else it would remember for ever a lock that was lost
            del self._locks[name]  # and not if etcd did not answer: then it is tried again

    def _open(self) -> Any:
        """tooz's coordinator. It is not started: it would only keep a membership in groups alive, which we have not."""
        if self._coordinator is None:
            given = parse_qs(urlsplit(self._url).query)
            patience = {} if "timeout" in given else {"timeout": max(1, self._lease // PATIENCE)}
            coordination = import_module("tooz.coordination")
            self._coordinator = coordination.get_coordinator(
                self._url, self._process_id.encode(), **patience, lock_timeout=self._lease
            )
            # Else requests would trust the authorities of REQUESTS_CA_BUNDLE, and not those of the URL.
            self._coordinator.client.session.trust_env = False
        return self._coordinator


@define
class _Lock:
    """One that we took: it is ours *until* then at least, and was made in *revision* (0: not looked up yet)."""

    tooz: Any
    until: float
    revision: int = 0


def _translated(question: Callable[..., T], *arguments: Any) -> T:
    failures = (import_module("tooz").ToozError, import_module("etcd3gw.exceptions").Etcd3Exception, OSError)
    try:
        return question(*arguments)
    except failures as error:
        raise CoordinationUnavailable(f"etcd does not answer: {error!r}") from error
