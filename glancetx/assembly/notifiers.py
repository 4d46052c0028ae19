"""Who is told what happens: the notifier that settings choose."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.application.service import IService

from glancetx.config.settings import BrokerSettings, NotificationSettings
from glancetx.interfaces import INotifier
from glancetx.notifications.log import LogNotifier
from glancetx.notifications.nothing import NoNotifier
from glancetx.notifications.several import SeveralNotifiers


def choose_notifier(settings: NotificationSettings, reactor: Any) -> tuple[INotifier, Sequence[IService]]:
    """The notifier, and the connections to a broker which are to be started before it is used."""
    drivers = [driver for driver in settings.drivers if driver.startswith("messaging")]
    broker = settings.broker
    messengers = [] if broker is None else [_messenger(reactor, settings, broker, driver) for driver in drivers]
    chosen = [*([LogNotifier()] if "log" in settings.drivers else []), *messengers]
    return (SeveralNotifiers(chosen) if chosen else NoNotifier()), messengers


def _messenger(reactor: Any, settings: NotificationSettings, broker: BrokerSettings, driver: str) -> Any:
    from glancetx.notifications.messaging import MessagingNotifier

    return MessagingNotifier(reactor, settings, broker, envelope=driver == "messagingv2")
