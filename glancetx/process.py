"""The process that ``twistd glancetx`` becomes: one that serves, or the parent of several that do."""

from __future__ import annotations

import atexit
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from attrs import evolve
from twisted.application.service import IService, MultiService, Service
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.logger import Logger
from twisted.python.failure import Failure

from glancetx.config.settings import Settings
from glancetx.domain.errors import ConfigurationError
from glancetx.listen import Address, Certificates, Listener, Ports, Serving, adopted, parse
from glancetx.runtime.loop import take_short_turns
from glancetx.runtime.memory import settle
from glancetx.runtime.safe_files import make_folder
from glancetx.runtime.signals import Hangup, Termination
from glancetx.runtime.systemd import Systemd, Watchdog
from glancetx.workers import Parent, Workers, worker_command

SETTLING: Final = 1.0  # seconds from the first connection that is accepted until memory is put in order

_log = Logger()


class CannotStart(SystemExit, Exception):
    """Ends the process with status 1 and one line on the terminal. twistd handles it like any other Exception."""

    def __init__(self, reason: Exception) -> None:
        super().__init__(f"glancetx: {' '.join(str(reason).split())}")


def make_service(load: Callable[[], Settings], arguments: Sequence[str]) -> IService:
    """What *load* says is to run: one process that serves, or the parent of several. Workers are given *arguments*.

    :raises CannotStart: if that is plain before anything is bound.
    """
    from twisted.internet import reactor

    parent = Parent.from_environ(os.environ)
    greeting = Greeting()
    try:
        settings = prepared(load(), say=(lambda text: None) if parent else greeting.add)
        if settings.logs is not None:
            from glancetx.assembly.logs import keep_logs

            keep_logs(settings.logs)
        addresses = [parse(text, settings.tls) for text in settings.listen]
        if settings.ignored and parent is None:
            _log.warn("Options this version does not know are ignored: {names}", names=", ".join(settings.ignored))
        if settings.workers and parent is None:
            services = supervising(reactor, arguments, settings, addresses)
        else:
            services = serving(reactor, load, settings, addresses, parent)
    except ConfigurationError as error:
        raise CannotStart(error) from error
    return _family(services, greeting)


class Greeting:
    """Lines for who started the program, told when it is bound: by then twistd writes standard output to its log."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._terminal: int | None = None

    def add(self, text: str) -> None:
        self._lines.append(text)
        if self._terminal is None:
            with suppress(OSError):  # there is none
                self._terminal = os.dup(1)

    def tell(self) -> None:
        if self._terminal is not None:
            with suppress(OSError), open(self._terminal, "w", encoding="utf-8", errors="replace") as terminal:
                terminal.writelines(f"{line}\n" for line in self._lines)
            self._terminal = None


def prepared(settings: Settings, say: Callable[[str], None]) -> Settings:
    """Make what nobody configured: the data directory, and with built-in accounts an administrator and TLS.

    :raises ConfigurationError: if that cannot be done.
    """
    assert settings.data_dir is not None
    if settings.access.authentication != "builtin":
        if settings.database.connection.startswith(f"sqlite:///{settings.data_dir}/"):
            make_folder(settings.data_dir)
        return settings
    from glancetx.standalone.endpoint import endpoint_url
    from glancetx.standalone.first_start import prepare

    first = prepare(settings.data_dir, endpoint_url(settings.listen[0]), client=client_beside(sys.argv[0]))
    say(first.message)
    for warning in first.warnings:
        say(f"Warning: {warning}")
    if settings.tls.certificate is not None:
        return settings
    return evolve(settings, tls=evolve(settings.tls, certificate=first.certificate, key=first.key))


def client_beside(program: str) -> str:
    """What somebody types for the OpenStack client, who typed *program* for a program of the same environment."""
    folder, _, _ = program.rpartition("/")
    return shlex.quote(f"{folder}/openstack") if folder and Path(folder, "openstack").exists() else "openstack"


def serving(
    reactor: Any,
    load: Callable[[], Settings],
    settings: Settings,
    addresses: Sequence[Address],
    parent: Parent | None,
) -> list[Any]:
    """A process that serves: alone on *addresses*, or on the sockets of its *parent*.

    What serves is loaded here, since a parent of workers needs none of it.
    """
    from glancetx.app import ImageService
    from glancetx.web.access_log import access_log
    from glancetx.web.site import ImageSite

    take_short_turns(reactor)
    image_service = ImageService(settings, reactor)
    log = access_log(reactor) if settings.access_log else None
    site = ImageSite(image_service.resource(), settings.http, reactor, log)
    certificates = read_certificates(addresses)
    ports = Ports(reactor, [] if parent else addresses)

    def listeners() -> list[Listener]:
        sockets = ports.sockets() if parent is None else adopted(parent.descriptors)
        return [Listener(socket, own) for socket, own in zip(sockets, certificates, strict=True)]

    systemd = Systemd()
    process = Serving(
        reactor,
        image_service,
        site,
        listeners,
        drain_timeout=settings.drain_timeout,
        ready=lambda: settled(reactor, systemd.ready if parent is None else parent.tell_ready),
        failed=lambda failure: give_up(reactor, failure),
        turns=parent.turns() if parent else None,
    )

    def reconfigure() -> None:
        fresh = load()
        site.settings = fresh.http
        process.drain_timeout = fresh.drain_timeout
        image_service.reconfigure(fresh)

    reloads = [each.reload for each in certificates if each is not None]
    return [
        Termination(reactor),
        Binding(ports),
        process,
        Hangup(reactor, [*reloads, reconfigure], systemd.reloading, systemd.ready),
        parent.watch(reactor) if parent else Watchdog(reactor, systemd),
    ]


def supervising(reactor: Any, arguments: Sequence[str], settings: Settings, addresses: Sequence[Address]) -> list[Any]:
    """The parent of worker processes; it binds, and never reads a byte of a client."""
    read_certificates(addresses)  # a bad certificate is an error here and not of every worker
    systemd = Systemd()
    command = worker_command(arguments)
    workers = Workers(
        reactor, Ports(reactor, addresses), settings.workers, command, settings.drain_timeout, systemd.ready
    )
    hangup = Hangup(reactor, [workers.reload], systemd.reloading, systemd.ready)
    return [Termination(reactor), workers, hangup, Watchdog(reactor, systemd)]


def read_certificates(addresses: Sequence[Address]) -> list[Certificates | None]:
    """What each address speaks TLS with; None where it is plain.

    :raises ConfigurationError: if a file cannot be used.
    """
    found = [None if address.tls is None else Certificates(address.tls) for address in addresses]
    for certificates in found:
        if certificates is not None:
            _ = certificates.context
    return found


class Family(MultiService):
    """All services of a process. What keeps it from listening is told in one line, and if nothing does, *greeting*."""

    def __init__(self, greeting: Greeting) -> None:
        super().__init__()
        self._greeting = greeting

    def privilegedStartService(self) -> None:
        try:
            super().privilegedStartService()
        except (CannotListenError, ConfigurationError, OSError) as error:
            raise CannotStart(error) from error
        self._greeting.tell()


class Binding(Service):
    """Binds with the privileges twistd begins with; when stopped, new connections are refused at once."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports

    def privilegedStartService(self) -> None:
        self._ports.bind()

    def stopService(self) -> Deferred[Any]:
        super().stopService()
        return self._ports.close()


def settled(reactor: Any, tell: Callable[[], None]) -> None:
    """The service has started. Memory is put in order when who waited for that has been answered."""
    tell()
    reactor.callLater(SETTLING, settle)


def give_up(reactor: Any, failure: Failure) -> None:
    """The service cannot start, and has said why: end the process, with status 1, which twistd cannot be asked for."""
    atexit.register(os._exit, 1)
    reactor.stop()


def _family(services: Sequence[Any], greeting: Greeting) -> IService:
    """Started in this order and stopped in the reverse one."""
    family = Family(greeting)
    for service in services:
        service.setServiceParent(family)
    return family
