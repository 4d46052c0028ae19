"""A small application of its own with an image service inside: ``python portal.py FOLDER PORT``.

The portal keeps notes at ``/notes``, each as an image, and lets teams, who show a key, use the image API at ``/image``.
Images lie in a folder each, which the portal's own store looks after. docs/embedding.md walks through this file.
"""

from __future__ import annotations

import errno
import os
import shutil
import sys
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from twisted.application.internet import StreamServerEndpointService
from twisted.application.service import MultiService
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.task import react
from twisted.logger import globalLogBeginner, textFileLogObserver
from twisted.python.failure import Failure
from twisted.web.iweb import IBodyProducer
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site
from zope.interface import implementer

from glancetx import ImageRequest, ImageService, Settings
from glancetx.config.settings import DatabaseSettings
from glancetx.domain.context import RequestContext
from glancetx.domain.errors import (
    ConfigurationError,
    Conflict,
    DataNotFound,
    NotAuthenticated,
    SizeMismatch,
    StoreFull,
    StoreUnavailable,
)
from glancetx.domain.query import ImageQuery
from glancetx.interfaces import HeaderReader, IAuthenticator, IStore, Stored
from glancetx.runtime.threads import Threads
from glancetx.runtime.undo import undone_by
from glancetx.streams import BytesSource, FileSource, Intake, gather

P = ParamSpec("P")
T = TypeVar("T")

TEAMS = {"key-of-red": "red", "key-of-blue": "blue"}  # a real portal has them in a database
ROLES = frozenset({"member", "reader"})  # what the default policies ask for
PORTAL = RequestContext(user_id="portal", project_id="portal", roles=ROLES)
LONGEST_NOTE = 64 * 1024


# Who is asking


@implementer(IAuthenticator)
class KeyAuthenticator:
    """Teams show their key in the header X-Portal-Key."""

    challenge = 'Key realm="portal"'

    def __init__(self, teams: Mapping[str, str]) -> None:
        self._teams = teams

    async def identify(self, header: HeaderReader, request_id: str) -> RequestContext:
        team = self._teams.get(header("x-portal-key") or "")
        if team is None:
            raise NotAuthenticated(self.challenge)
        return RequestContext(request_id=request_id, user_id=team, project_id=team, roles=ROLES)


# Where the data lives


@implementer(IStore)
class FolderStore:
    """Keeps each image in a folder of its own. The one file in it is named after the attempt that wrote it."""

    scheme = "folder"
    random_access = True
    read_only = False

    def __init__(self, reactor: Any, root: Path, identifier: str = "folders") -> None:
        self.identifier = identifier
        self.url_prefix = f"folder://{identifier}/"
        self._root = root
        self._threads = Threads(reactor, identifier, 4)

    async def start(self) -> None:
        self._threads.start()
        try:
            await self._threads.run(self._root.mkdir, parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(f"The folder {self._root} cannot be made: {error.strerror}") from error

    async def stop(self) -> None:
        await self._threads.stop()

    async def add(self, image_id: str, body: IBodyProducer, attempt: str) -> Stored:
        draft, final = self._draft(image_id, attempt), self._root / image_id
        async with Intake(body) as intake, undone_by(self.discard, image_id, attempt):
            data = await self._run(begin, draft, final, attempt)
            size = await self._write(data, intake, body.length)
            await self._run(publish, data, final)
        return Stored(url=self.url_prefix + image_id, size=size)

    async def _write(self, path: Path, intake: Intake, length: object) -> int:
        size = 0
        while chunks := await intake.take():
            size += sum(map(len, chunks))
            if isinstance(length, int) and size > length:
                break
            await self._run(append, path, chunks)
        if isinstance(length, int) and size != length:
            raise SizeMismatch(length, size)
        return size

    async def get(self, url: str, offset: int = 0, length: int | None = None) -> IBodyProducer:
        opened: list[int] = []
        async with undone_by(self._run, close, opened):
            size = await self._run(open_only_file, self._folder(url), opened)
        rest = max(0, size - offset)
        return FileSource(self._threads, opened[0], offset, rest if length is None else min(length, rest))

    async def size(self, url: str) -> int:
        return await self._run(lambda: only_file(self._folder(url)).stat().st_size)

    async def delete(self, url: str) -> None:
        folder = self._folder(url)
        await self._run(lambda: remove(folder, only_file(folder).name))

    async def discard(self, image_id: str, attempt: str) -> None:
        await self._run(shutil.rmtree, self._draft(image_id, attempt), ignore_errors=True)
        with suppress(DataNotFound):
            await self._run(remove, self._root / image_id, attempt)

    def _draft(self, image_id: str, attempt: str) -> Path:
        return self._root / f".{image_id}.{attempt}"

    def _folder(self, url: str) -> Path:
        name = url.removeprefix(self.url_prefix)
        if "/" in name or name.startswith("."):
            raise DataNotFound("There is nothing at the location")
        return self._root / name

    async def _run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run it in a thread. Errors of the operating system become those that IStore names."""
        try:
            return await self._threads.run(function, *args, **kwargs)
        except FileNotFoundError as error:
            raise DataNotFound("There is nothing at the location") from error
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise StoreFull("The store has no room left") from error
            raise StoreUnavailable("The disk does not work") from error


# What the store does in its threads


def only_file(folder: Path) -> Path:
    """The file in *folder*. :raises FileNotFoundError: if there is none."""
    for path in folder.iterdir():
        return path
    raise FileNotFoundError(folder)


def begin(draft: Path, final: Path, attempt: str) -> Path:
    """An empty file in the folder *draft*. :raises Conflict: if *final* has data."""
    with suppress(FileNotFoundError):
        only_file(final)
        raise Conflict("The image has data already")
    draft.mkdir()
    data = draft / attempt
    data.touch()
    return data


def append(path: Path, chunks: list[bytes]) -> None:
    with path.open("ab") as file:
        file.writelines(chunks)


def publish(data: Path, final: Path) -> None:
    """One rename makes the data visible; before it, everything is on the disk, and after it, the name is."""
    draft = data.parent
    sync(data)
    sync(draft)
    try:
        draft.rename(final)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            raise Conflict("The image has data already") from error
        raise
    sync(final.parent)


def remove(folder: Path, name: str) -> None:
    """Remove the file *name* from *folder*. :raises FileNotFoundError: if there is no such file."""
    (folder / name).unlink()
    with suppress(OSError):  # another attempt was published there meanwhile
        folder.rmdir()
    sync(folder.parent)


def sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def open_only_file(folder: Path, opened: list[int]) -> int:
    """The size of the file; its descriptor goes to *opened*, where it is found even if nobody waits any more."""
    opened.append(os.open(only_file(folder), os.O_RDONLY))
    return os.fstat(opened[0]).st_size


def close(opened: list[int]) -> None:
    while opened:
        os.close(opened.pop())


# The portal's own business


class Notes(Resource):
    """``/notes``: GET lists the titles, POST ``?title=`` keeps a note. Nobody is asked for a key."""

    isLeaf = True

    def __init__(self, images: ImageService) -> None:
        super().__init__()
        self._images = images

    def render_GET(self, request: Request) -> int:
        return answer(request, self._read(argument(request, b"title")))

    def render_POST(self, request: Request) -> int:
        assert request.content is not None
        return answer(request, self._keep(argument(request, b"title"), request.content.read(LONGEST_NOTE)))

    async def _read(self, title: str) -> str:
        """The text of the note, or without a title all titles."""
        query = ImageQuery(limit=1000, equal={"name": title} if title else {}, properties={"kind": "note"})
        images, _ = await self._images.images.list(PORTAL, query)
        if not title:
            return "".join(f"{image.name}\n" for image in images)
        if not images:
            return "There is no such note\n"
        found = await self._images.downloads.download(PORTAL, images[0].id)
        text = await gather(await found.open(0, found.size), LONGEST_NOTE)
        return text.decode()

    async def _keep(self, title: str, text: bytes) -> str:
        image = await self._images.images.create(
            PORTAL, name=title, kind="note", disk_format="raw", container_format="bare"
        )
        image = await self._images.uploads.upload(PORTAL, image.id, BytesSource(text))
        return f"{image.id} {image.os_hash_value}\n"


def argument(request: Request, name: bytes) -> str:
    values: list[bytes] = (request.args or {}).get(name, [b""])
    return values[0].decode()


def answer(request: Request, work: Coroutine[Deferred[Any], Any, str]) -> int:
    """Answer with what *work* returns; if the client leaves before, it is cancelled."""

    def succeeded(text: str) -> None:
        request.setHeader(b"Content-Type", b"text/plain; charset=utf-8")
        request.write(text.encode())
        request.finish()

    def failed(failure: Failure) -> None:
        if not failure.check(CancelledError):
            request.processingFailed(failure)

    working = Deferred.fromCoroutine(work)
    request.notifyFinish().addErrback(lambda _: working.cancel())
    working.addCallback(succeeded).addErrback(failed)
    return NOT_DONE_YET


# All together


class Portal(MultiService):
    """The whole application: a service with services inside."""

    def __init__(self, reactor: Any, folder: Path, port: int) -> None:
        super().__init__()
        settings = Settings(database=DatabaseSettings(connection=f"sqlite:///{folder / 'images.sqlite'}"))
        self.images = ImageService(
            settings,
            reactor,
            authenticator=KeyAuthenticator(TEAMS),
            stores={"folders": FolderStore(reactor, folder / "images")},
        )
        self.images.setServiceParent(self)

        root = Resource()
        root.putChild(b"image", self.images.resource())
        root.putChild(b"notes", Notes(self.images))
        site = Site(root)
        site.requestFactory = ImageRequest
        endpoint = TCP4ServerEndpoint(reactor, port, interface="127.0.0.1")
        StreamServerEndpointService(endpoint, site).setServiceParent(self)


async def main(reactor: Any, folder: str, port: str) -> None:
    """Run until a signal comes; fail if the image service cannot start."""
    globalLogBeginner.beginLoggingTo([textFileLogObserver(sys.stderr)], redirectStandardIO=False)
    portal = Portal(reactor, Path(folder), int(port))
    portal.privilegedStartService()
    portal.startService()
    reactor.addSystemEventTrigger("before", "shutdown", portal.stopService)
    await portal.images.started
    await Deferred()


if __name__ == "__main__":
    react(lambda *arguments: Deferred.fromCoroutine(main(*arguments)), sys.argv[1:])
