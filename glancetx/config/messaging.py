"""Who is told of events, and by which broker: oslo.messaging's options, as far as notifications need them (C-083)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

from oslo_config import cfg

from glancetx.config.settings import BrokerHost, BrokerSettings, ClientTlsSettings, NotificationSettings
from glancetx.domain.errors import ConfigurationError

DRIVERS: Final = ("messagingv2", "messaging", "log", "noop", "test")
SCHEMES: Final = ("rabbit", "kombu")
PORT, TLS_PORT = 5672, 5671

TRANSPORT: Final = [
    cfg.StrOpt(
        "default_publisher_id", default="image.localhost", help="Who events are said to be from, such as image.HOST."
    ),
    cfg.ListOpt("disabled_notifications", default=[], help="Types (image.create) and groups (image) not told."),
    cfg.StrOpt("transport_url", default="rabbit://", secret=True, help="The broker: rabbit://USER:PASSWORD@HOST:PORT/"),
    cfg.StrOpt("control_exchange", default="glance", help="The exchange that events are sent to."),
]

NOTIFICATIONS: Final = [
    cfg.MultiStrOpt("driver", default=[], help="messagingv2, messaging, log, noop; may be repeated. None: no events."),
    cfg.StrOpt("transport_url", secret=True, help="The broker of events, if not that of [DEFAULT]."),
    cfg.ListOpt("topics", default=["notifications"], help="Topics, to which the priority is added: notifications.info"),
    cfg.IntOpt("retry", default=-1, help="How often sending is tried again while the broker is away; -1: for ever."),
]

OWN: Final = [
    cfg.IntOpt(
        "kept_events",
        default=100_000,
        min=0,
        help="So many events that the broker does not have are kept in the database, the newest; 0: in memory alone.",
    ),
]

RABBIT: Final = [
    cfg.BoolOpt("ssl", default=False, help="Speak TLS to the broker."),
    cfg.StrOpt("ssl_ca_file", default="", help="PEM file of its authorities; unset: the system's."),
    cfg.StrOpt("ssl_cert_file", default="", help="PEM file of a certificate that we show to it."),
    cfg.StrOpt("ssl_key_file", default="", help="PEM file of its key; unset: it is in ssl_cert_file."),
    cfg.BoolOpt("amqp_durable_queues", default=False, help="Exchange and queues outlive a restart of the broker."),
    cfg.BoolOpt("amqp_auto_delete", default=False, help="Exchange and queues end with their last user."),
    cfg.BoolOpt("rabbit_quorum_queue", default=False, help="Queues are quorum queues, and durable."),
    cfg.IntOpt("rabbit_quorum_delivery_limit", default=0, help="Their x-delivery-limit; 0: none."),
    cfg.IntOpt("rabbit_quorum_max_memory_length", default=0, help="Their x-max-in-memory-length; 0: none."),
    cfg.IntOpt("rabbit_quorum_max_memory_bytes", default=0, help="Their x-max-in-memory-bytes; 0: none."),
    cfg.BoolOpt("rabbit_ha_queues", default=False, help="Queues are declared with x-ha-policy: all."),
    cfg.StrOpt("rabbit_login_method", default="AMQPLAIN", help="EXTERNAL: by certificate; all else: by password."),
    cfg.IntOpt("rabbit_retry_interval", default=1, min=1, help="Seconds before connecting is tried again."),
    cfg.IntOpt("rabbit_retry_backoff", default=2, min=0, help="Seconds more at each further try."),
    cfg.IntOpt("rabbit_interval_max", default=30, min=1, help="Seconds between tries at most."),
    cfg.IntOpt("heartbeat_timeout_threshold", default=60, min=0, help="Seconds without a sign of life; 0: any."),
]


def notification_settings(conf: Any) -> NotificationSettings:
    """:raises ConfigurationError: if a driver or the broker cannot be used."""
    group = conf.oslo_messaging_notifications
    for driver in group.driver:
        if driver not in DRIVERS:
            raise ConfigurationError(
                f"[oslo_messaging_notifications] driver = {driver}: not one of {', '.join(DRIVERS)}"
            )
    to_broker = any(driver.startswith("messaging") for driver in group.driver)
    return NotificationSettings(
        drivers=tuple(dict.fromkeys(group.driver)),
        publisher_id=conf.default_publisher_id,
        disabled=frozenset(conf.disabled_notifications),
        topics=tuple(group.topics),
        retry=group.retry,
        kept=conf.glancetx.kept_events,
        broker=broker_settings(conf, group.transport_url or conf.transport_url) if to_broker else None,
    )


def broker_settings(conf: Any, url: str) -> BrokerSettings:
    """The broker of a transport URL: ``rabbit://user:password@host:port,.../virtual_host?option=value``.

    :raises ConfigurationError: if it is of another kind, or not a URL; without telling the password.
    """
    parts = urlsplit(url)
    if parts.scheme not in SCHEMES:
        raise ConfigurationError(
            f"transport_url: {parts.scheme or 'no'} is not a transport we have; RabbitMQ is (rabbit)"
        )
    if find_spec("pika") is None:
        raise ConfigurationError("Events for RabbitMQ need pika: pip install 'glancetx[rabbitmq]'")
    option = option_reader(conf.oslo_messaging_rabbit, dict(parse_qsl(parts.query)))
    quorum = option("rabbit_quorum_queue")
    tls = ClientTlsSettings(
        cafile=_path(option("ssl_ca_file")),
        certfile=_path(option("ssl_cert_file")),
        keyfile=_path(option("ssl_key_file")),
    )
    return BrokerSettings(
        hosts=tuple(broker_hosts(parts.netloc, TLS_PORT if option("ssl") else PORT)),
        virtual_host=unquote(parts.path[1:]) or "/",
        exchange=conf.control_exchange,
        durable=quorum or option("amqp_durable_queues"),
        auto_delete=option("amqp_auto_delete"),
        queue_arguments=dict(queue_arguments(option)),
        external_login=option("rabbit_login_method") == "EXTERNAL",
        tls=tls if option("ssl") else None,
        heartbeat=option("heartbeat_timeout_threshold"),
        retry_interval=option("rabbit_retry_interval"),
        retry_backoff=option("rabbit_retry_backoff"),
        retry_most=option("rabbit_interval_max"),
    )


def option_reader(group: Any, query: dict[str, str]) -> Callable[[str], Any]:
    """Reads options of *group*, of which those in the URL's *query* go first."""
    kinds = {option.name: option.type for option in RABBIT}

    def read(name: str) -> Any:
        if name not in query:
            return group[name]
        try:
            return kinds[name](query[name])
        except ValueError as error:
            raise ConfigurationError(f"transport_url: {name}: {error}") from error

    return read


def broker_hosts(netloc: str, port: int) -> Iterator[BrokerHost]:
    """One for each of several hosts, with commas between; nobody's name and password are those of ``guest``."""
    for text in netloc.split(",") if netloc else ["localhost"]:
        try:
            one = urlsplit(f"//{text}")
            yield BrokerHost(
                host=one.hostname or "localhost",
                port=one.port or port,
                user=unquote(one.username or "guest"),
                password=unquote(one.password if one.password is not None else "guest"),
            )
        except ValueError:
            raise ConfigurationError(
                "transport_url: not USER:PASSWORD@HOST:PORT, perhaps several with commas"
            ) from None


def queue_arguments(option: Callable[[str], Any]) -> Iterator[tuple[str, Any]]:
    """What queues are declared with: the same as oslo.messaging does, or the broker would refuse."""
    if option("rabbit_ha_queues"):
        yield "x-ha-policy", "all"
    if not option("rabbit_quorum_queue"):
        return
    yield "x-queue-type", "quorum"
    names = {
        "x-delivery-limit": "rabbit_quorum_delivery_limit",
        "x-max-in-memory-length": "rabbit_quorum_max_memory_length",
        "x-max-in-memory-bytes": "rabbit_quorum_max_memory_bytes",
    }
    for argument, name in names.items():
        if option(name) > 0:
            yield argument, option(name)


def _path(text: str) -> Path | None:
    return Path(text) if text else None
