"""The reporter: how this process is, told to Prometheus and to whoever asks `glancetx status`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from twisted.internet.interfaces import IReactorTime

from glancetx.db.census import Census
from glancetx.runtime.metrics import Metrics
from glancetx.runtime.threads import Threads
from glancetx.services.periodic import PeriodicService

INTERVAL: Final = 10.0

Statuses = Callable[[], Mapping[str, Mapping[str, Any]]]


class Reporter(PeriodicService):
    """Writes the statuses of the services, and how busy pools are, into the gauges and into a row of the database."""

    def __init__(
        self,
        reactor: IReactorTime,
        census: Census,
        process_id: str,
        metrics: Metrics,
        pools: Sequence[Threads],
        statuses: Statuses,
    ) -> None:
        super().__init__(reactor, INTERVAL)
        self._census, self._process_id = census, process_id
        self._metrics, self._pools, self._statuses = metrics, pools, statuses

    async def run_once(self) -> None:
        """Tell once. The gauges are set even if the database does not answer."""
        statuses = self._statuses()
        for pool in self._pools:
            self._metrics.pool(pool.name, pool.working, pool.waiting)
        for name, status in statuses.items():
            self._metrics.service(name, numbers(status))
        await self._census.report(self._process_id, {"services": statuses})


def numbers(status: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """What of a status is a number; true and false are 1 and 0."""
    for name, value in status.items():
        if isinstance(value, bool | int | float):
            yield prefix + name, float(value)
        elif isinstance(value, Mapping):
            yield from numbers(value, f"{prefix}{name}_")
