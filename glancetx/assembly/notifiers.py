"""Who is told what happens: the notifier, and the messenger to a broker, that settings choose."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import frozen

from glancetx.config.settings import NotificationSettings
from glancetx.db.claims import Process
from glancetx.db.engine import Engine
from glancetx.db.events import EventRows, Stamps
from glancetx.interfaces import INotifier
from glancetx.notifications.log import LogNotifier
from glancetx.notifications.nothing import NoNotifier

if TYPE_CHECKING:
    from glancetx.notifications.messaging import MessagingNotifier


@frozen
class Audience:
    """Who is told. *messenger* is to be started before; *rows* are the events that it keeps in the database."""

    notifier: INotifier
    messenger: MessagingNotifier | None = None
    rows: EventRows | None = None


def choose_audience(settings: NotificationSettings, engine: Engine, process: Process, reactor: Any) -> Audience:
    """Those that settings name."""
    notifier = LogNotifier() if "log" in settings.drivers else NoNotifier()
    if settings.broker is None:
        return Audience(notifier)
    from glancetx.notifications.messaging import MessagingNotifier

    rows = EventRows(engine, process) if settings.kept else None
    envelopes = [driver == "messagingv2" for driver in settings.drivers if driver.startswith("messaging")]
    stamps = Stamps(process.id)
    messenger = MessagingNotifier(reactor, settings, settings.broker, stamps=stamps, rows=rows, envelopes=envelopes)
    return Audience(notifier, messenger, rows)
