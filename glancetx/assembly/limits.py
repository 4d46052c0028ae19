"""Who says how much projects may have: the options, or Keystone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from attrs import frozen

from glancetx.access.limits import OptionLimits
from glancetx.config.settings import LimitSettings, Settings
from glancetx.interfaces import ILimits


async def _nothing() -> None:
    """What the options need at the end."""


@frozen
class Allotment:
    """*limits*, and what is to be done when they are asked no more."""

    limits: ILimits
    close: Callable[[], Awaitable[object]] = _nothing


def choose_limits(settings: Settings, reactor: Any) -> Allotment:
    """:raises ConfigurationError: if our account at Keystone is not complete."""
    if settings.limits is None:
        return Allotment(OptionLimits(settings.images))
    return _unified(settings.limits, reactor)


def _unified(settings: LimitSettings, reactor: Any) -> Allotment:
    from glancetx.access.unified import UnifiedLimits
    from glancetx.keystone import Keystone
    from glancetx.outgoing.exchange import Connections

    account = settings.keystone
    connections = Connections(reactor, account.tls, account.timeout, account.retries)
    keystone = Keystone(account, connections.exchange, reactor)
    return Allotment(UnifiedLimits(keystone, settings, reactor), connections.close)
