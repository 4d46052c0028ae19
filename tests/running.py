"""A whole image service on a real loopback socket: in this process (`Api`), or as a daemon of its own (`Daemon`)."""

from __future__ import annotations

import http.client
import json
import os
import ssl
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import treq
from attrs import field, frozen

from glancetx.app import ImageService
from glancetx.config.settings import DatabaseSettings, FilesystemSettings, ImportSettings, Settings, StoresSettings
from tests.nursery import DAEMON, Child, nursery
from tests.ports import free_port as free_port

JSON = "application/json"
DATA = "application/octet-stream"
PATCH = "application/openstack-images-v2.1-json-patch"
PATIENCE = 120.0  # seconds for what takes a moment on an idle machine


@frozen
class Reply:
    """What came back, read to its end. *length* is the Content-Length, which Twisted keeps out of the headers."""

    status: int
    headers: Any
    body: bytes
    length: Any

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def header(self, name: str) -> str | None:
        values = self.headers.getRawHeaders(name)
        return None if values is None else str(values[-1])


@frozen
class Api:
    """A client of one running service. *folder* is where the service keeps its files."""

    url: str
    port: int
    folder: Path
    service: ImageService
    agent: Any = field(repr=False)

    async def request(self, method: str, path: str, data: Any = None, **headers: str) -> Reply:
        """Send one request; header names are written with underscores."""
        sent: dict[Any, Any] = {"Accept": JSON} | {name.replace("_", "-"): value for name, value in headers.items()}
        response = await treq.request(
            method, self.url + path, data=data, headers=sent, agent=self.agent, unbuffered=True
        )
        body = b"" if method == "HEAD" else await treq.content(response)
        return Reply(response.code, response.headers, body, response.length)

    async def send(self, method: str, path: str, document: Any, body: bytes | None, **headers: str) -> Reply:
        """A request with a JSON *document*, or with a *body* of the type that its method and path call for."""
        kinds = {"PATCH": PATCH, "PUT": DATA}
        if document is not None:
            return await self.request(method, path, json.dumps(document).encode(), **headers)
        kind = {"Content_Type": kinds[method]} if body is not None and method in kinds else {}
        return await self.request(method, path, body, **headers, **kind)

    async def create(self, **values: Any) -> str:
        """The id of a new image, ready for data."""
        values = {"name": "x", "disk_format": "raw", "container_format": "bare"} | values
        reply = await self.request("POST", "/v2/images", json.dumps(values).encode())
        assert reply.status == 201, reply
        return str(reply.json["id"])

    async def upload(self, image_id: str, data: Any, **headers: str) -> Reply:
        headers = {"Content_Type": DATA} | headers
        return await self.request("PUT", f"/v2/images/{image_id}/file", data, **headers)

    async def patch(self, image_id: str, *operations: dict[str, Any]) -> Reply:
        body = json.dumps(operations).encode()
        return await self.request("PATCH", f"/v2/images/{image_id}", body, Content_Type=PATCH)

    async def show(self, image_id: str) -> Any:
        return (await self.request("GET", f"/v2/images/{image_id}")).json

    def stored(self) -> list[str]:
        """The names of all files in the store."""
        return sorted(path.name for path in (self.folder / "images").iterdir())


def settings_in(folder: Path, **changes: Any) -> Settings:
    """A service without authentication that keeps everything in *folder*."""
    values: dict[str, Any] = {
        "database": DatabaseSettings(connection=f"sqlite:///{folder / 'db.sqlite'}"),
        "data_dir": folder,
        "stores": StoresSettings(filesystems=(FilesystemSettings(datadir=folder / "images"),)),
        "imports": ImportSettings(staging=folder / "staging"),
    }
    return Settings(**(values | changes))


Started = Callable[..., Coroutine[Any, Any, Api]]


class Daemon:
    """``twistd -n glancetx`` in a folder of its own; started, killed and started again as a test wants.

    It is forked from a process that has loaded what it needs. A *whole* one begins as those do that nobody tests.
    """

    def __init__(self, folder: Path, whole: bool = False) -> None:
        self.folder = folder
        self.images = folder / "images"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.listen = f"tcp:{self.port}:interface=127.0.0.1"
        self.tls: ssl.SSLContext | None = None  # what `call` speaks, if not plain HTTP
        self.log = folder / "twistd.log"
        self.command = [str(Path(sys.executable).parent / "twistd")]
        self.whole = whole
        self._process: subprocess.Popen[bytes] | Child | None = None
        config = f"""
            [database]
            connection = sqlite:///{folder}/db.sqlite
            [glance_store]
            filesystem_store_datadir = {self.images}
        """
        (folder / "glance-api.conf").write_text(textwrap.dedent(config))

    def start(self, *options: str, **environ: str) -> None:
        """Start, and wait until it answers; a failpoint in *environ* may end it before that."""
        self._process = self.spawn(*options, **environ)
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if self._process.poll() is not None or self.answers():
                return
            time.sleep(0.02)
        raise AssertionError(f"no answer; the log says: {self.log.read_text()[-3000:]}")

    def spawn(self, *options: str, **environ: str) -> subprocess.Popen[bytes] | Child:
        command = [*self.command, "-n", "--pidfile", str(self.folder / "twistd.pid"), "glancetx"]
        command += ["--config-file", str(self.folder / "glance-api.conf"), *options]
        if "--listen" not in options:
            command += ["--listen", self.listen]
        with self.log.open("ab") as log:
            if not self.whole:
                return nursery().start(DAEMON, command, self.folder, {**os.environ, **environ}, log)
            return subprocess.Popen(
                command,
                cwd=self.folder,
                env={**os.environ, **environ},
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )

    def answers(self) -> bool:
        try:
            return self.call("GET", "/healthcheck")[0] == 200
        except OSError:
            return False

    def call(self, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes]:
        """One request with the standard library's client; OSError if the server dies on it."""
        connection = self.connection()
        try:
            sent = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, {"Accept": JSON, **sent})
            response = connection.getresponse()
            return response.status, response.read()
        except http.client.HTTPException as error:
            raise ConnectionError(str(error)) from error
        finally:
            connection.close()

    def connection(self) -> http.client.HTTPConnection:
        """A client's connection, not opened yet."""
        if self.tls is None:
            return http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=PATIENCE, context=self.tls)

    def configure(self, text: str) -> None:
        """Add lines to the configuration file; of an option that is there twice the last one counts."""
        with (self.folder / "glance-api.conf").open("a") as file:
            file.write(textwrap.dedent(text))

    def signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def wait(self) -> int:
        """Wait until the process has ended; returns its code."""
        assert self._process is not None
        return self._process.wait(PATIENCE)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
