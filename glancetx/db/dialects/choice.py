"""From a URL to connections."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from glancetx.config.settings import DatabaseSettings
from glancetx.db.dialects.mysql import mysql_pools
from glancetx.db.dialects.pools import Pools
from glancetx.db.dialects.postgresql import postgresql_pools
from glancetx.db.dialects.sqlite import sqlite_pools
from glancetx.db.sealing import Seal, set_seal
from glancetx.domain.errors import ConfigurationError

KINDS: Final[Mapping[str, Callable[[URL, DatabaseSettings], Pools]]] = {
    "sqlite": sqlite_pools,
    "mysql": mysql_pools,
    "mariadb": mysql_pools,
    "postgresql": postgresql_pools,
}


def make_pools(settings: DatabaseSettings) -> Pools:
    """Connections to the database that *settings* name; nothing is opened yet.

    :raises ConfigurationError: if the URL is wrong, names a database that is not supported, or its driver is missing.
    """
    try:
        url = make_url(settings.connection)
    except (ArgumentError, ValueError):
        raise ConfigurationError("[database] connection is not a database URL, such as sqlite:///file") from None
    kind = KINDS.get(url.get_backend_name())
    if kind is None:
        raise ConfigurationError(f"[database] connection: {url.get_backend_name()} is not supported")
    seal = Seal.of(settings.encryption_key) if settings.encryption_key else None
    try:
        pools = kind(url, settings)
    except ModuleNotFoundError as missing:
        raise ConfigurationError(
            f"[database] connection: the Python module {missing.name} is missing; install glancetx with its extra "
            f"{'postgresql' if kind is postgresql_pools else 'mysql'}"
        ) from None
    except (ArgumentError, NoSuchModuleError, ValueError) as error:
        raise ConfigurationError(f"[database] connection has a bad parameter ({type(error).__name__})") from None
    if seal is not None:
        for pool in (pools.writers, pools.readers):
            set_seal(pool.engine.dialect, seal)
    return pools
