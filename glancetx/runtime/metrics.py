"""What is counted, for Prometheus. Label values come from bounded sets: routes, stores, names of services; never ids.

A process counts in memory, each service for itself. The workers of one parent count in files of one folder
(``PROMETHEUS_MULTIPROC_DIR``, which the parent sets), so that whichever of them is asked answers for all.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from collections import Counter as Tally
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

SHARED: Final = "PROMETHEUS_MULTIPROC_DIR"
TEXT: Final = "text/plain; version=0.0.4; charset=utf-8"
SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 600.0)
UNSEEN: Final = 1000
"""Requests that may have ended without being counted."""
LAGS: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0)


_Key = tuple[str, str, int]


class Metrics:
    """The counters of one service."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        self._requests = Histogram(
            "glancetx_request_seconds",
            "Time from the headers of a request to the end of its answer, transfers included.",
            ("method", "route", "status"),
            buckets=SECONDS,
            registry=registry,
        )
        self._under_way = Gauge(
            "glancetx_requests_under_way", "Requests being answered.", registry=registry, multiprocess_mode="livesum"
        )
        self._bytes = Counter(
            "glancetx_transferred_bytes", "Bytes of image data.", ("direction", "store"), registry=registry
        )
        self._transfers = Counter(
            "glancetx_transfers",
            "Transfers that ended.",
            ("direction", "store", "how"),
            registry=registry,
        )
        self._lag = Histogram(
            "glancetx_event_loop_lag_seconds", "How late timers are.", buckets=LAGS, registry=registry
        )
        self._pools = Gauge(
            "glancetx_pool_calls",
            "Calls in a pool of threads: running and waiting.",
            ("pool", "what"),
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._services = Gauge(
            "glancetx_service",
            "Facts of a background service: runs, failures, and what else it counts.",
            ("service", "fact"),
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._moved: dict[tuple[str, str, str], tuple[Counter, Counter]] = {}
        self._known: dict[_Key, Histogram] = {}
        self._ended: deque[tuple[_Key, float]] = deque()
        self._begun = 0

    def request_begun(self) -> None:
        self._begun += 1

    def request_ended(self, method: str, route: str, status: int, seconds: float) -> None:
        """*method* and *route* are those of our routes, not what a client wrote. It is counted by `pour`."""
        self._begun -= 1
        self._ended.append(((method, route, status), seconds))
        if len(self._ended) >= UNSEEN:
            self.pour()

    def pour(self) -> None:
        """Count what has ended, in any thread: one by one, four values in a file would cost more than the routing."""
        ended: dict[_Key, list[float]] = {}
        with suppress(IndexError):
            while True:
                key, seconds = self._ended.popleft()
                ended.setdefault(key, []).append(seconds)
        for key, times in ended.items():
            self._observe(key, times)
        self._under_way.set(self._begun)

    def _observe(self, key: _Key, times: Sequence[float]) -> None:
        known = self._known.get(key)
        if known is None:
            method, route, status = key
            known = self._known[key] = self._requests.labels(method, route, str(status))
        known._sum.inc(sum(times))  # in public it observes one at a time
        for bucket, count in Tally(bisect_left(SECONDS, seconds) for seconds in times).items():
            known._buckets[bucket].inc(count)

    def transferred(self, direction: str, store: str, count: int, how: str) -> None:
        """A transfer has ended: *how* is ``whole``, or what kept it from being so."""
        key = (direction, store, how)
        known = self._moved.get(key)
        if known is None:
            known = self._moved[key] = self._bytes.labels(direction, store), self._transfers.labels(*key)
        known[0].inc(count)
        known[1].inc()

    def late(self, seconds: float) -> None:
        """A timer came so late."""
        self._lag.observe(seconds)

    def pool(self, name: str, working: int, waiting: int) -> None:
        self._pools.labels(name, "running").set(working)
        self._pools.labels(name, "waiting").set(waiting)

    def service(self, name: str, facts: Iterable[tuple[str, float]]) -> None:
        for fact, value in facts:
            self._services.labels(name, fact).set(value)

    def exposed(self) -> bytes:
        """Everything in Prometheus' text format, of all workers if there are several. Reads files then: call it in a
        thread.
        """
        self.pour()
        if SHARED not in os.environ:
            return bytes(generate_latest(self._registry))
        together = CollectorRegistry()
        MultiProcessCollector(together)  # registers itself
        return bytes(generate_latest(together))
