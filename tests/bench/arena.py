"""What all cases share: the options, a working directory, and peers which are started when first asked for."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from attrs import define, evolve, field, frozen

from tests.bench.identity import Identity
from tests.bench.images import write_random
from tests.bench.peers import Certificate, Server, make_certificate, start_ideal, start_nginx
from tests.bench.report import Goal, Measure
from tests.bench.services import GlanceSetup, start_glance, start_glancetx
from tests.services.databases import DatabaseServer


@frozen(kw_only=True)
class Options:
    """How much is done. Sizes are bytes; *total* is what the downloads of one measurement move together.

    *many* images are in the catalogue that lists are compared in.
    """

    size: int = 1024**3
    total: int = 8 * 1024**3
    seconds: float = 5.0
    runs: int = 3
    slow_downloads: int = 5000
    slow_uploads: int = 500
    workers: int = 1
    catalogue: int = 1000
    many: int = 100_000
    glance: GlanceSetup | None = None
    timeout: float = 120.0


@frozen
class Contestant:
    """Who takes part in a case; *run* measures once."""

    name: str
    run: Callable[[], dict[str, float]]


@frozen(kw_only=True)
class Case:
    """One thing to measure. Its contestants run in turn, as often as asked, so that drift meets them all."""

    name: str
    title: str
    measures: tuple[Measure, ...]
    contestants: tuple[Contestant, ...]
    goals: tuple[Goal, ...] = ()


@define
class Arena:
    """Peers by name. Everything that was started is stopped when *stack* is closed, last first."""

    options: Options
    directory: Path
    stack: ExitStack
    server: DatabaseServer | None = None
    identity: Identity | None = None
    _servers: dict[str, Server] = field(factory=dict)
    _certificate: Certificate | None = None
    _content: Path | None = None

    @property
    def certificate(self) -> Certificate:
        """The one all peers use."""
        if self._certificate is None:
            self._certificate = make_certificate(self.directory)
        return self._certificate

    @property
    def content(self) -> Path:
        """A file of *size* random bytes."""
        if self._content is None:
            self._content = self.directory / "content"
            write_random(self._content, self.options.size)
        return self._content

    def nginx(self) -> Server:
        """nginx, which also serves the content as ``/content``."""
        if "nginx" not in self._servers:
            server = self.keep(start_nginx(self.directory / "nginx", self.certificate))
            shutil.copyfile(self.content, server.directory / "files" / "content")
        return self._servers["nginx"]

    def ideal(self) -> Server:
        """The ideal upload."""
        return self._servers.get("ideal") or self.keep(start_ideal(self.directory / "ideal"))

    def glancetx(self, workers: int) -> Server:
        """glancetx with so many workers; each number has a server, a database and a store of its own."""
        name = f"glancetx x{workers}"
        if name not in self._servers:
            directory, database = self.directory / name.replace(" ", "-"), self.database(name)
            options = self.identity.options if self.identity else ""
            # The first start makes the tables, with 13 MB of modules that a service in use never loads.
            start_glancetx(directory, self.certificate, database, workers, name, options).process.stop()
            self.keep(start_glancetx(directory, self.certificate, database, workers, name, options))
        return self._servers[name]

    def glance(self) -> Server | None:
        """The real Glance, when one is given."""
        if self.options.glance is None:
            return None
        if "glance" not in self._servers:
            options = self.identity.options if self.identity else ""
            setup = evolve(self.options.glance, database=self.database("glance"), options=options)
            self.keep(start_glance(self.directory / "glance", setup))
        return self._servers["glance"]

    def subject(self) -> Server:
        """glancetx with the number of workers the options ask for."""
        return self.glancetx(self.options.workers)

    def services(self, *workers: int) -> list[Server]:
        """glancetx once for each number of workers, and Glance when it is given."""
        servers = [self.glancetx(number) for number in workers]
        other = self.glance()
        return [*servers, other] if other else servers

    @property
    def database_process(self) -> int | None:
        """The pid of the server of the bench."""
        return None if self.server is None else self.server.pid

    def database(self, name: str) -> str:
        """The URL of an empty database in the server of the bench; "" without one, which means SQLite."""
        if self.server is None:
            return ""
        database = name.replace(" ", "_")
        self.server.create(database)
        return self.server.url(database)

    def keep(self, server: Server) -> Server:
        """Remember a server that was started; it is stopped in the end."""
        if self.identity is not None:
            server = evolve(server, token=self.identity.token)
        self._servers[server.name] = server
        self.stack.callback(server.process.stop)
        return server
