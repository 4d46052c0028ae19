"""``use_keystone_limits`` and ``[oslo_limit]``: where the limits of projects are kept (config.md, C-019, C-077)."""

from __future__ import annotations

from typing import Any, Final

from oslo_config import cfg

from glancetx.config.identity import DEFAULT_TIMEOUT, KEYSTONE, account, client_tls
from glancetx.config.settings import KeystoneSettings, LimitSettings
from glancetx.domain.errors import ConfigurationError

GROUP: Final = "oslo_limit"
INTERFACES: Final = ("public", "internal", "admin", "publicURL", "internalURL", "adminURL")

OSLO_LIMIT: Final = [
    *KEYSTONE,
    cfg.StrOpt("endpoint_id", help="Id of our endpoint in Keystone, whose service and region have the limits."),
    cfg.StrOpt("endpoint_service_type", help="Type of our service there, if endpoint_id is not set."),
    cfg.StrOpt("endpoint_service_name", help="Name of our service there, if endpoint_id is not set."),
    cfg.StrOpt("endpoint_region_name", help="Region of our endpoint there, if endpoint_id is not set."),
    cfg.StrOpt(
        "endpoint_interface",
        default="public",
        choices=INTERFACES,
        help="Interface of our endpoint there, if endpoint_id is not set.",
    ),
    cfg.ListOpt("valid_interfaces", help="Which endpoints of Keystone we use; the first counts; unset: public."),
    cfg.IntOpt("timeout", min=1, help="Seconds a request to Keystone may take; unset: 30."),
]


def limit_settings(conf: Any) -> LimitSettings | None:
    """None if the options alone limit projects.

    :raises ConfigurationError: if it is not said where the limits are kept, and whose they are.
    """
    if not conf.use_keystone_limits:
        return None
    group = conf[GROUP]
    if not (group.endpoint_id or group.endpoint_service_type or group.endpoint_service_name):
        raise ConfigurationError(
            f"[{GROUP}] endpoint_id is not set, nor endpoint_service_type or endpoint_service_name"
        )
    return LimitSettings(
        keystone=_keystone(conf, group),
        endpoint_id=group.endpoint_id or None,
        service_type=group.endpoint_service_type or None,
        service_name=group.endpoint_service_name or None,
        region=group.endpoint_region_name or None,
        interface=group.endpoint_interface.removesuffix("URL"),
        cache_time=conf.glancetx.limits_cache_time,
    )


def _keystone(conf: Any, group: Any) -> KeystoneSettings:
    return KeystoneSettings(
        credentials=account(conf, GROUP),
        interface=next(iter(group.valid_interfaces or ()), "public").removesuffix("URL"),
        region_name=group.region_name or None,
        tls=client_tls(group),
        timeout=float(group.timeout or DEFAULT_TIMEOUT),
    )
