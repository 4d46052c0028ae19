"""``[coordination]``: how processes agree on which of them does what one does for all. Glance has no such group."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any, Final
from urllib.parse import urlsplit

from oslo_config import cfg

from glancetx.config.settings import CoordinationSettings
from glancetx.domain.errors import ConfigurationError

GROUP: Final = "coordination"
SCHEMES: Final = ("etcd3+http", "etcd3+https")

COORDINATION: Final = [
    cfg.StrOpt("backend_url", secret=True, help="tooz URL of etcd, etcd3+http://HOST:PORT; unset: by the database."),
    cfg.FloatOpt(
        "lease",
        default=18.0,
        min=2.0,
        max=3600.0,
        help="Seconds after which a process that does not say that it lives is taken for dead.",
    ),
    cfg.StrOpt("namespace", default="glancetx", help="Tells the leases of this database from those of others in etcd."),
]


def coordination_settings(conf: Any) -> CoordinationSettings:
    """:raises ConfigurationError: if the URL is not that of an etcd, or what it needs is not installed."""
    group = conf[GROUP]
    url = group.backend_url or None
    if url is not None:
        _check(url)
    if not group.namespace or "/" in group.namespace:
        raise ConfigurationError(f"[{GROUP}] namespace = {group.namespace}: not a name")
    return CoordinationSettings(backend_url=url, lease=group.lease, namespace=group.namespace)


def _check(url: str) -> None:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in SCHEMES and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ConfigurationError(f"[{GROUP}] backend_url is not a URL of one of: {', '.join(SCHEMES)}")
    if find_spec("tooz") is None or find_spec("etcd3gw") is None:
        raise ConfigurationError(f"[{GROUP}] backend_url needs tooz and etcd3gw: pip install 'glancetx[etcd]'")
