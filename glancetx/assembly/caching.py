"""What a service has of the image cache, whether there is one or not."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from glancetx.services.periodic import PeriodicService


@frozen
class CacheParts:
    """The rooms of its API; the services that a command may run; and those of them that run by themselves."""

    rooms: Sequence[object]
    services: Sequence[PeriodicService] = ()
    periodic: Sequence[PeriodicService] = ()
