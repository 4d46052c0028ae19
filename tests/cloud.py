"""A small cloud: a daemon with built-in accounts on a TLS and on a plain port, and real clients of three users."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import sqlite3
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from attrs import field, frozen

from glancetx.access.account_files import AccountFiles
from tests.ports import free_port
from tests.running import Daemon
from tests.typist import typist

BIN = Path(sys.executable).parent
ADMIN, ALICE, BOB = "admin", "alice", "bob"
PROJECTS = {ADMIN: "admin", ALICE: "wonderland", BOB: "builders"}
CONTENT = os.urandom(301_500)


@frozen
class Client:
    """One user at the command line, whose clients go to one of the two ports."""

    user: str
    url: str
    folder: Path
    ca: Path
    password: str = field(repr=False)
    token: str = field(repr=False)

    @property
    def project(self) -> str:
        return PROJECTS[self.user]

    @property
    def environ(self) -> dict[str, str]:
        """All that a client of ours sees of the environment."""
        return {
            "HOME": str(self.folder),
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "OS_CLIENT_CONFIG_FILE": str(self.folder / f"{self.user}.yaml"),
        }

    def command(self, program: str, *arguments: object) -> list[str]:
        """The words to type for ``openstack`` or ``glance``, including who and where."""
        options = ["--os-cloud", self.url.partition(":")[0]]
        if program == "glance":  # knows no HTTP Basic, so it gets a token
            options = ["--os-image-url", self.url, "--os-auth-token", self.token, "--os-cacert", str(self.ca)]
        return [str(BIN / program), *options, *map(str, arguments)]

    def run(self, program: str, *arguments: object, data: bytes | None = None) -> subprocess.CompletedProcess[str]:
        """Run a client to its end; *data* is piped in, else its standard input is a terminal nobody types at."""
        command = self.command(program, *arguments)
        if data is not None:
            done = subprocess.run(
                command, cwd=self.folder, env=self.environ, input=data, capture_output=True, timeout=300, check=False
            )
            return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())
        master, terminal = pty.openpty()
        try:
            return typist().type(command, self.folder, self.environ, os.ttyname(terminal))
        finally:
            os.close(master)
            os.close(terminal)

    def watch(self, program: str, *arguments: object) -> str:
        """What somebody sees at a terminal where a client runs which succeeds."""
        command = self.command(program, *arguments)
        master, terminal = pty.openpty()
        with subprocess.Popen(
            command, cwd=self.folder, env=self.environ, stdin=terminal, stdout=terminal, stderr=terminal
        ) as process:
            os.close(terminal)
            seen = b"".join(_output(master))
        os.close(master)
        assert process.returncode == 0, seen.decode()
        return seen.decode()

    def openstack(self, *arguments: object, data: bytes | None = None) -> str:
        """What an ``openstack image`` command prints; it must succeed."""
        return _done(self.run("openstack", "image", *arguments, data=data))

    def ask(self, *arguments: object, data: bytes | None = None) -> Any:
        """What an ``openstack image`` command prints as JSON."""
        return json.loads(self.openstack(*arguments, "-f", "json", data=data))

    def glance(self, *arguments: object, data: bytes | None = None) -> str:
        """What a ``glance`` command prints; it must succeed."""
        return _done(self.run("glance", *arguments, data=data))

    def refused(self, program: str, *arguments: object) -> str:
        """The error message of a command that must fail."""
        done = self.run(program, *arguments)
        assert done.returncode != 0, done.stdout
        return done.stderr


def _output(terminal: int) -> Iterator[bytes]:
    """All that is written to a terminal until nobody has it open any more, which Linux tells by an error."""
    while True:
        try:
            yield os.read(terminal, 65536)
        except OSError:
            return


def _done(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, f"{done.args}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@frozen
class Users:
    """The three of a cloud, at the TLS port; whose folder has CONTENT as ``in.raw``."""

    admin: Client
    alice: Client
    bob: Client


class Cloud:
    """The daemon and its users. `start` it, and `stop` it in the end; everything lies in *folder*."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.daemon = Daemon(folder)
        self.ca = folder / "data/tls/ca.pem"
        self.urls = {"https": f"https://127.0.0.1:{self.daemon.port}", "http": f"http://127.0.0.1:{free_port()}"}
        self.daemon.configure(
            f"""
            [glancetx]
            data_dir = {folder}/data
            authentication = builtin
            """
        )

    def start(self) -> None:
        """Start with an administrator, and add two members of two projects."""
        (https, http) = (url.rpartition(":")[2] for url in self.urls.values())
        self.daemon.listen = f"ssl:{https}:interface=127.0.0.1"
        self.daemon.tls = ssl.create_default_context()
        self.daemon.tls.check_hostname = False
        self.daemon.tls.verify_mode = ssl.CERT_NONE  # the authority is made by the start that is waited for
        self.daemon.start(f"--listen=tcp:{http}:interface=127.0.0.1")
        self.daemon.tls = ssl.create_default_context(cafile=self.ca)
        accounts = AccountFiles(self.folder / "data/accounts")
        made = yaml.safe_load((self.folder / "data/clouds.yaml").read_text())
        accounts.set_password(ADMIN, "secret-of-admin")
        self.made = made["clouds"]["glancetx"]
        for user in (ALICE, BOB):
            accounts.add_user(user, f"secret-of-{user}", PROJECTS[user])
        self.tokens = {user: accounts.add_token(user) for user in PROJECTS}
        for user in PROJECTS:
            self._write_clouds(user)

    def _write_clouds(self, user: str) -> None:
        """The user's file: one cloud for each port, named by its scheme."""
        clouds = {}
        for scheme, url in self.urls.items():
            auth = {"endpoint": url, "username": user, "password": f"secret-of-{user}"}
            clouds[scheme] = {**self.made, "auth": auth, "image_endpoint_override": url}
        (self.folder / f"{user}.yaml").write_text(yaml.safe_dump({"clouds": clouds}))

    def client(self, user: str = ADMIN, scheme: str = "https") -> Client:
        return Client(user, self.urls[scheme], self.folder, self.ca, f"secret-of-{user}", self.tokens[user])

    def stored(self) -> list[str]:
        """The names of all files in the store."""
        return sorted(path.name for path in self.daemon.images.iterdir())

    def postdate(self, image_id: str, seconds: int) -> None:
        """Let an image be younger: what is made within one second has no order of creation."""
        database = sqlite3.connect(self.folder / "db.sqlite", timeout=30)
        with contextlib.closing(database), database:
            change = "UPDATE images SET created_at = datetime(created_at, ?) || '.000000' WHERE id = ?"
            assert database.execute(change, (f"+{seconds} seconds", image_id)).rowcount == 1

    def stop(self) -> None:
        self.daemon.stop()
