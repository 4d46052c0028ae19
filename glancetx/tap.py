"""``twistd glancetx``: its options, and the service they make - one serving process, or the parent of several."""

from __future__ import annotations

import atexit
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from attrs import evolve
from twisted.application.service import IService, MultiService, Service
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.python.usage import Options as UsageOptions

from glancetx.config.loading import load_settings
from glancetx.config.settings import Settings
from glancetx.domain.errors import ConfigurationError
from glancetx.listen import Address, Certificates, Listener, Ports, Serving, adopted, parse
from glancetx.runtime.loop import take_short_turns
from glancetx.runtime.memory import loading, settle
from glancetx.runtime.safe_files import make_folder
from glancetx.runtime.signals import Hangup, Termination
from glancetx.runtime.systemd import Systemd, Watchdog
from glancetx.workers import Parent, Workers, worker_command

_log = Logger()


class Options(UsageOptions):
    """What ``twistd glancetx`` understands. Everything else is in the configuration files."""

    synopsis = "[options]"
    longdesc = "Without any option and configuration file it serves https://127.0.0.1:9292 from one data directory."
    optParameters = [
        ["workers", "w", None, "Processes that serve; 0: this one. [default: 0]", int],
        ["data-dir", "d", None, "Folder of everything that no configuration file names."],
    ]

    def __init__(self) -> None:
        super().__init__()
        self.files: list[str] = []
        self.folders: list[str] = []
        self.listen: list[str] = []

    def opt_config_file(self, path: str) -> None:
        """Configuration file, such as glance-api.conf; may be repeated, later ones win."""
        self.files.append(os.path.abspath(path))

    def opt_config_dir(self, path: str) -> None:
        """Folder whose *.conf files are read; may be repeated."""
        self.folders.append(os.path.abspath(path))

    def opt_listen(self, endpoint: str) -> None:
        """Where to listen, as a Twisted endpoint: ssl:9292, tcp:9292:interface=127.0.0.1; may be repeated."""
        self.listen.append(endpoint)

    def load(self) -> Settings:
        """Read the files anew."""
        return load_settings(
            self.files, self.folders, data_dir=self["data-dir"], listen=self.listen, workers=self["workers"]
        )

    def arguments(self) -> list[str]:
        """The same options again, for worker processes."""
        repeated = [("config-file", self.files), ("config-dir", self.folders), ("listen", self.listen)]
        found = [f"--{name}={value}" for name, values in repeated for value in values]
        return found + ([f"--data-dir={os.path.abspath(self['data-dir'])}"] if self["data-dir"] else [])


class CannotStart(SystemExit, Exception):
    """Ends the process with status 1 and one line on the terminal. twistd handles it like any other Exception."""

    def __init__(self, reason: Exception) -> None:
        super().__init__(f"glancetx: {' '.join(str(reason).split())}")


def makeService(options: Options) -> IService:
    """Called by twistd in the foreground; it forks, binds and drops privileges afterwards."""
    from twisted.internet import reactor

    parent = Parent.from_environ(os.environ)
    try:
        settings = prepared(options.load(), say=(lambda text: None) if parent else _print)
        if settings.logs is not None:
            from glancetx.assembly.logs import keep_logs

            keep_logs(settings.logs)
        addresses = [parse(text, settings.tls) for text in settings.listen]
        if settings.ignored and parent is None:
            _log.warn("Options this version does not know are ignored: {names}", names=", ".join(settings.ignored))
        if settings.workers and parent is None:
            return supervising(reactor, options, settings, addresses)
        with loading():
            return serving(reactor, options, settings, addresses, parent)
    except ConfigurationError as error:
        raise CannotStart(error) from error


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


def _print(text: str) -> None:
    print(text, flush=True)


def serving(
    reactor: Any, options: Options, settings: Settings, addresses: Sequence[Address], parent: Parent | None
) -> IService:
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
        ready=lambda: settled(systemd.ready if parent is None else parent.tell_ready),
        failed=lambda failure: give_up(reactor, failure),
        turns=parent.turns() if parent else None,
    )

    def reconfigure() -> None:
        fresh = options.load()
        site.settings = fresh.http
        process.drain_timeout = fresh.drain_timeout
        image_service.reconfigure(fresh)

    reloads = [each.reload for each in certificates if each is not None]
    return _family(
        Termination(reactor),
        Binding(ports),
        process,
        Hangup(reactor, [*reloads, reconfigure], systemd.reloading, systemd.ready),
        parent.watch(reactor) if parent else Watchdog(reactor, systemd),
    )


def supervising(reactor: Any, options: Options, settings: Settings, addresses: Sequence[Address]) -> IService:
    """The parent of worker processes; it binds, and never reads a byte of a client."""
    read_certificates(addresses)  # a bad certificate is an error here and not of every worker
    systemd = Systemd()
    command = worker_command(options.arguments())
    workers = Workers(
        reactor, Ports(reactor, addresses), settings.workers, command, settings.drain_timeout, systemd.ready
    )
    hangup = Hangup(reactor, [workers.reload], systemd.reloading, systemd.ready)
    return _family(Termination(reactor), workers, hangup, Watchdog(reactor, systemd))


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
    """All services of a process. What keeps it from listening is told in one line."""

    def privilegedStartService(self) -> None:
        try:
            super().privilegedStartService()
        except (CannotListenError, ConfigurationError, OSError) as error:
            raise CannotStart(error) from error


class Binding(Service):
    """Binds with the privileges twistd begins with; when stopped, new connections are refused at once."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports

    def privilegedStartService(self) -> None:
        self._ports.bind()

    def stopService(self) -> Deferred[Any]:
        super().stopService()
        return self._ports.close()


def settled(tell: Callable[[], None]) -> None:
    """The service has started."""
    settle()
    tell()


def give_up(reactor: Any, failure: Failure) -> None:
    """The service cannot start, and has said why: end the process, with status 1, which twistd cannot be asked for."""
    atexit.register(os._exit, 1)
    reactor.stop()


def _family(*services: Any) -> IService:
    """Started in this order and stopped in the reverse one."""
    family = Family()
    for service in services:
        service.setServiceParent(family)
    return family
