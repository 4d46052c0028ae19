"""One connection to a RabbitMQ broker, as far as sending events needs it. pika knows the protocol, Twisted the rest."""

from __future__ import annotations

import logging
from importlib import import_module
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, connectProtocol, wrapClientTLS
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from glancetx.config.settings import BrokerHost, BrokerSettings
from glancetx.outgoing.tls import TlsPolicy

TIMEOUT = 30.0  # seconds for everything that a broker which is well does at once


class Session:
    """An open channel of one connection, on which the broker confirms what it got.

    *ended* fires, with None, when the connection or the channel is gone, for whatever reason.
    """

    def __init__(self, reactor: Any, settings: BrokerSettings, connection: Any) -> None:
        self._reactor, self._settings, self._connection = reactor, settings, connection
        self._channel: Any = None
        self._declared: set[str] = set()
        self._as_it_is: set[str] = set()  # what the broker has declared otherwise
        self.ended: Deferred[None] = Deferred()
        connection.closed.addBoth(self._end)

    async def open_channel(self) -> None:
        """Make a channel, or another one if the broker has closed the last."""
        self._channel = await self._soon(self._connection.channel())
        await self._soon(self._channel.confirm_delivery())
        self._declared.clear()

    async def declare(self, queue: str) -> None:
        """See to it that messages with the routing key *queue* are kept, in a queue of that name, until somebody comes.

        What is there and was declared by others with other properties is used as it is.
        """
        if queue in self._declared:
            return
        settings = self._settings
        how = {"durable": settings.durable, "auto_delete": settings.auto_delete}
        exchange = settings.exchange
        await self._declare("exchange_declare", exchange=exchange, exchange_type="topic", **how)
        await self._declare("queue_declare", queue=queue, arguments=dict(settings.queue_arguments), **how)
        await self._soon(self._channel.queue_bind(queue, exchange, routing_key=queue))
        self._declared.add(queue)

    async def _declare(self, method: str, **arguments: Any) -> None:
        name = arguments.get("queue") or arguments["exchange"]
        what = f"{method} {name}"
        if what in self._as_it_is:
            return
        try:
            await self._soon(getattr(self._channel, method)(**arguments))
        except pika_errors().ChannelClosedByBroker as error:
            if error.reply_code != 406:  # PRECONDITION_FAILED: it exists, and is different
                raise
            self._as_it_is.add(what)
            await self.open_channel()

    def publish(self, routing_key: str, body: bytes) -> Deferred[Any]:
        """Send a message; fires when the broker has it, or fails if it does not get it."""
        properties = import_module("pika.spec").BasicProperties(
            content_type="application/json", content_encoding="utf-8", delivery_mode=2, priority=0, headers={}
        )
        sent: Deferred[Any] = self._channel.basic_publish(
            self._settings.exchange, routing_key, body, properties=properties
        )
        return sent

    def close(self) -> None:
        """End the connection; `ended` fires when that is done."""
        if not self._connection.is_closed:
            self._connection.close()

    def abort(self) -> None:
        """End the connection now, without a word."""
        self._connection.transport.abortConnection()

    async def _soon(self, waiting: Deferred[Any]) -> Any:
        return await waiting.addTimeout(TIMEOUT, self._reactor)

    def _end(self, reason: object) -> None:
        if not self.ended.called:
            self.ended.callback(None)


async def open_session(reactor: Any, settings: BrokerSettings, host: BrokerHost, tls: TlsPolicy | None) -> Session:
    """Connect to *host*, by *tls* if given, and log in. :raises Exception: whatever prevents it."""
    logging.getLogger("pika").addHandler(logging.NullHandler())  # else it writes to the terminal what we log anyway
    endpoint: Any = HostnameEndpoint(reactor, host.host.encode("idna"), host.port, timeout=TIMEOUT)
    if tls is not None:
        endpoint = wrapClientTLS(tls.creatorForNetloc(host.host.encode("idna"), host.port), endpoint)
    connection = _make_connection(reactor, settings, host)
    ready = connection.ready
    await connectProtocol(endpoint, connection)
    try:
        await ready.addTimeout(TIMEOUT, reactor)
        session = Session(reactor, settings, connection)
        await session.open_channel()
    except BaseException:
        connection.transport.abortConnection()
        raise
    return session


def _make_connection(reactor: Any, settings: BrokerSettings, host: BrokerHost) -> Any:
    adapter: Any = import_module("pika.adapters.twisted_connection")  # which imports the reactor

    class TellingConnection(adapter.TwistedProtocolConnection):  # type: ignore[misc]
        """Its `ready` fails with the reason, such as a wrong password; pika's own says that it did not work."""

        ready: Any
        _cause: Exception | None = None

        def connectionLost(self, reason: Failure = connectionDone) -> None:
            self._cause = getattr(self._impl, "_error", None)  # which pika forgets now
            super().connectionLost(reason)

        def _on_connection_failed(self, connection: Any, reason: Exception | None = None) -> None:
            ready, self.ready = self.ready, None
            if ready is not None:
                ready.errback(self._cause or reason or ConnectionError("The broker ended the connection"))

    return TellingConnection(_parameters(settings, host), custom_reactor=reactor)


def _parameters(settings: BrokerSettings, host: BrokerHost) -> Any:
    pika, credentials = import_module("pika"), import_module("pika.credentials")
    if settings.external_login:
        login = credentials.ExternalCredentials()
    else:
        login = credentials.PlainCredentials(host.user, host.password)
    return pika.ConnectionParameters(
        host=host.host,
        port=host.port,
        virtual_host=settings.virtual_host,
        credentials=login,
        heartbeat=settings.heartbeat,
        client_properties={"product": "glancetx"},
    )


def pika_errors() -> Any:
    """pika is an optional extra, so nothing of it is imported before it is needed."""
    return import_module("pika.exceptions")
