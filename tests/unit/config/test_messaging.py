"""The options of oslo.messaging, as far as notifications need them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from glancetx.config.loading import load_settings
from glancetx.config.settings import BrokerHost, BrokerSettings, ClientTlsSettings, NotificationSettings
from glancetx.domain.errors import ConfigurationError

GROUP = "[oslo_messaging_notifications]\ndriver = messagingv2\n"


@pytest.fixture
def load(tmp_path: Path) -> Any:
    def load(text: str) -> NotificationSettings:
        file = tmp_path / "glance-api.conf"
        file.write_text(text)
        return load_settings([file]).notifications

    return load


def test_nothing(load: Any) -> None:
    """Without a driver nobody is told, and a broker is not looked at."""
    assert load("[DEFAULT]\ntransport_url = kafka://x/\n") == NotificationSettings()


def test_all(load: Any) -> None:
    """What an operator may say."""
    settings = load(
        "[DEFAULT]\ntransport_url = rabbit://nobody/\ndefault_publisher_id = image.host1\n"
        "disabled_notifications = image.update, task\ncontrol_exchange = images\n"
        "[oslo_messaging_notifications]\ndriver = log\ndriver = messagingv2\ntopics = a,b\nretry = 3\n"
        "transport_url = rabbit://u:p%40ss@h1:1,u2:p2@[::1]:2/cloud%2Fone\n"
        "[oslo_messaging_rabbit]\namqp_durable_queues = true\nheartbeat_timeout_threshold = 0\n"
    )
    assert settings == NotificationSettings(
        drivers=("log", "messagingv2"),
        publisher_id="image.host1",
        disabled=frozenset({"image.update", "task"}),
        topics=("a", "b"),
        retry=3,
        broker=BrokerSettings(
            hosts=(
                BrokerHost(host="h1", port=1, user="u", password="p@ss"),
                BrokerHost(host="::1", port=2, user="u2", password="p2"),
            ),
            virtual_host="cloud/one",
            exchange="images",
            durable=True,
            heartbeat=0,
        ),
    )
    assert "p@ss" not in repr(settings)


def test_defaults(load: Any) -> None:
    """No URL at all is the broker of this machine, as ``guest``."""
    assert load(GROUP).broker == BrokerSettings()


def test_tls(load: Any) -> None:
    """Its port is another; the URL's query goes before the group."""
    rabbit = "[oslo_messaging_rabbit]\nssl_ca_file = /ca.pem\nssl = false\n"
    broker = load(f"{GROUP}transport_url = rabbit://u:p@h/?ssl=1\n{rabbit}").broker
    assert broker.hosts == (BrokerHost(host="h", port=5671, user="u", password="p"),)
    assert broker.tls == ClientTlsSettings(cafile=Path("/ca.pem"))


def test_quorum_queues(load: Any) -> None:
    """They are durable, and declared with the arguments that oslo.messaging declares them with."""
    rabbit = "[oslo_messaging_rabbit]\nrabbit_quorum_queue = true\nrabbit_quorum_delivery_limit = 5\n"
    broker = load(GROUP + rabbit).broker
    assert broker.durable
    assert broker.queue_arguments == {"x-queue-type": "quorum", "x-delivery-limit": 5}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("driver = routing", "routing: not one of"),
        ("driver = messagingv2\ntransport_url = kafka://u:s3cret@h/", "kafka is not a transport"),
        ("driver = messaging\ntransport_url = u:s3cret@h", "is not a transport"),
        ("driver = messaging\ntransport_url = rabbit://u:s3cret@h:port/", "not USER:PASSWORD@HOST:PORT"),
        ("driver = messaging\ntransport_url = rabbit://u:s3cret@h/?ssl=perhaps", "ssl"),
    ],
)
def test_mistakes(load: Any, text: str, words: str) -> None:
    """They prevent the start, and the message tells no password."""
    with pytest.raises(ConfigurationError, match=words) as caught:
        load(f"[oslo_messaging_notifications]\n{text}\n")
    assert "s3cret" not in str(caught.value)
