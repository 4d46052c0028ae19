"""A private PostgreSQL: its user ``glance`` may do everything, without a password, from this machine."""

from __future__ import annotations

import signal
from typing import Any

import psycopg

from tests.services.processes import ServerProcess, find_program


class PostgreSql:
    """A server with no data yet, that does not wait for the disk. *options* are settings, as ``name=value``."""

    def __init__(self, *options: str) -> None:
        programs = "/usr/lib/postgresql/*/bin"
        initdb, server = find_program("initdb", programs), find_program("postgres", programs)
        self._process = ServerProcess("postgresql", user="postgres")
        folder = self._process.folder
        self.port = self._process.port
        settings = ("fsync=off", "full_page_writes=off", "synchronous_commit=off", *options)
        self._command = [server, "-D", f"{folder}/data", "-h", "127.0.0.1", "-p", str(self.port), "-k", str(folder)]
        self._command += [word for setting in settings for word in ("-c", setting)]
        make = ["-U", "glance", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"]
        try:
            self._process.run([initdb, "-D", f"{folder}/data", *make])
        except BaseException:
            self._process.remove()
            raise

    @property
    def pid(self) -> int | None:
        return self._process.pid

    def start(self) -> None:
        self._process.start(self._command, lambda: self.run("SELECT 1"))

    def stop(self) -> None:
        self._process.stop(signal.SIGINT)  # ends the sessions too

    def kill(self) -> None:
        """End it at once, as a power failure would."""
        self._process.stop(signal.SIGQUIT)  # SIGKILL would leave its processes behind

    def signal(self, number: int) -> None:
        self._process.signal(number)

    def remove(self) -> None:
        """Stop it, and forget its data."""
        self.stop()
        self._process.remove()

    def url(self, database: str) -> str:
        return f"postgresql+psycopg://glance@127.0.0.1:{self.port}/{database}"

    def create(self, database: str) -> None:
        self.run(f"CREATE DATABASE {database}")

    def drop(self, database: str) -> None:
        self.run(f"DROP DATABASE {database} WITH (FORCE)")

    def run(self, statement: str) -> list[Any]:
        """One statement, and its rows."""
        connection = psycopg.connect(
            host="127.0.0.1", port=self.port, user="glance", dbname="postgres", autocommit=True, connect_timeout=5
        )
        with connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []
