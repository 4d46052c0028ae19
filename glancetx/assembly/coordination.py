"""Where leases are kept: in the database, or in etcd."""

from __future__ import annotations

from typing import Any

from glancetx.config.settings import CoordinationSettings
from glancetx.db.claims import Process
from glancetx.db.engine import Engine
from glancetx.interfaces import ILeases


def choose_leases(settings: CoordinationSettings, reactor: Any, engine: Engine, process: Process) -> ILeases:
    """What this process asks for leases; nothing is connected before it does."""
    if settings.backend_url is not None:
        from glancetx.coordination.etcd import EtcdLeases

        return EtcdLeases(reactor, settings.backend_url, settings.namespace, process.id, settings.lease)
    from glancetx.db.leases import Leases

    return Leases(engine, process)
