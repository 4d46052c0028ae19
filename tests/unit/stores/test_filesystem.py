"""What is special about files; the rest is in the compliance suite.

Contract rows S-020, S-022, S-024, S-026, S-028, S-029, S-031.
"""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.task import Clock

from glancetx.config.settings import FilesystemSettings
from glancetx.domain.errors import (
    ConfigurationError,
    Conflict,
    DataNotFound,
    Forbidden,
    StoreError,
    StoreFull,
    StoreUnavailable,
    StoreWriteDenied,
)
from glancetx.interfaces import IStore
from glancetx.runtime.threads import MOMENT, Threads
from glancetx.stores.draft import FLUSH, Draft
from glancetx.stores.filesystem import FilesystemStore
from glancetx.streams import IFileSource
from glancetx.streams.sinks import SLOW_BLOCK
from glancetx.testing.fakes import ScriptedSource, turns, until
from glancetx.testing.stores import keep, new_attempt, new_id, read, the_reactor

ATTEMPT, OTHER = "0123456789abcdef" * 2, "fedcba9876543210" * 2


class Timed(Clock):
    """The time of a test, in which threads are heard of by the reactor."""

    def callFromThread(self, call: Callable[..., Any], *args: Any) -> None:
        cast(IReactorFromThreads, the_reactor()).callFromThread(call, *args)


@asynccontextmanager
async def opened(
    folder: Path, multiple: bool = False, file_perm: int = 0, clock: Timed | None = None
) -> AsyncIterator[FilesystemStore]:
    """A started store in *folder*."""
    threads = Threads(cast(IReactorFromThreads, clock or the_reactor()), "files", 2)
    threads.start()
    try:
        settings = FilesystemSettings(identifier="fast", datadir=folder, file_perm=file_perm)
        store = FilesystemStore(settings, threads, multiple, clock=Clock())
        await store.start()
        yield store
    finally:
        await threads.stop()


def failing(number: int) -> Callable[..., Any]:
    """A system call that fails."""

    def fail(*args: object, **kwargs: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


def names(folder: Path) -> list[str]:
    """What is in the folder."""
    return sorted(path.name for path in folder.iterdir())


def mode_of(path: Path | str) -> int:
    """The permissions of a file or folder."""
    return os.stat(path).st_mode & 0o777


@pytest_twisted.ensureDeferred
async def test_layout(tmp_path: Path) -> None:
    """The file is named after the image; the location is its path; with several stores the id is remembered."""
    async with opened(tmp_path / "new" / "images", multiple=True) as store:
        image_id = new_id()
        stored = await keep(cast(IStore, store), b"content", image_id)
        assert stored.url == f"file://{tmp_path}/new/images/{image_id}"
        assert stored.metadata == {"store": "fast"}
        assert names(tmp_path / "new" / "images") == [image_id]
        assert mode_of(tmp_path / "new" / "images") & ~0o750 == 0


@pytest_twisted.ensureDeferred
async def test_a_single_store_is_not_remembered(tmp_path: Path) -> None:
    """Without enabled_backends the location has no metadata."""
    async with opened(tmp_path) as store:
        assert (await keep(cast(IStore, store), b"content")).metadata == {}


@pytest_twisted.ensureDeferred
async def test_file_perm(tmp_path: Path) -> None:
    """The configured mode is that of the file, whatever the umask says."""
    async with opened(tmp_path, file_perm=0o664) as store:
        stored = await keep(cast(IStore, store), b"content")
        assert mode_of(stored.url.removeprefix("file://")) == 0o664


@pytest.mark.parametrize("mode", [0o066, 0o400, 0o240])
@pytest_twisted.ensureDeferred
async def test_file_perm_must_leave_the_owner_in(tmp_path: Path, mode: int) -> None:
    """A mode without the owner's rights is refused at the start."""
    with pytest.raises(ConfigurationError):
        async with opened(tmp_path, file_perm=mode):
            pass


@pytest_twisted.ensureDeferred
async def test_a_file_is_no_directory(tmp_path: Path) -> None:
    """A data directory that is none is refused at the start."""
    (tmp_path / "images").write_bytes(b"")
    with pytest.raises(ConfigurationError):
        async with opened(tmp_path / "images"):
            pass


@pytest_twisted.ensureDeferred
async def test_offers_its_file(tmp_path: Path) -> None:
    """The source of a range lets sendfile be used."""
    async with opened(tmp_path) as store:
        stored = await keep(cast(IStore, store), b"0123456789")
        source = await store.get(stored.url, 3, 4)
        assert IFileSource.providedBy(source)
        offered = cast(Any, source)
        assert os.pread(offered.descriptor, offered.length, offered.offset) == b"3456"
        offered.stopProducing()


@pytest.mark.parametrize("replaced", [False, True])
@pytest_twisted.ensureDeferred
async def test_a_file_that_another_process_takes_away(tmp_path: Path, replaced: bool) -> None:
    """Whoever reads it goes on; whoever comes later gets what is there now, although the file is still open."""
    async with opened(tmp_path) as store:
        path = tmp_path / new_id()
        path.write_bytes(b"first")
        url = f"file://{path}"
        source = cast(Any, await store.get(url))
        assert await read(cast(IStore, store), url) == b"first"
        if replaced:
            (tmp_path / "new").write_bytes(b"second")
            (tmp_path / "new").replace(path)
            assert await read(cast(IStore, store), url) == b"second"
        else:
            path.unlink()
            with pytest.raises(DataNotFound):
                await store.get(url)
        assert os.pread(source.descriptor, source.length, source.offset) == b"first"
        source.stopProducing()


@pytest.mark.parametrize(
    ("number", "error"),
    [
        (errno.ENOSPC, StoreFull),
        (errno.EDQUOT, StoreFull),
        (errno.EFBIG, StoreFull),
        (errno.EACCES, StoreWriteDenied),
        (errno.EROFS, StoreWriteDenied),
        (errno.EIO, StoreUnavailable),
        (errno.ENOENT, StoreUnavailable),
    ],
)
@pytest.mark.parametrize("call", ["writev", "fsync", "link"])
@pytest_twisted.ensureDeferred
async def test_errors_of_the_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, error: type[StoreError], call: str
) -> None:
    """A system call that fails becomes an error of the contract, without a path; nothing is left."""
    async with opened(tmp_path) as store:
        image_id = new_id()
        body = ScriptedSource(b"content")
        with monkeypatch.context() as patch:
            patch.setattr(os, call, failing(number))
            with pytest.raises(error) as caught:
                await store.add(image_id, body, new_attempt())
        assert str(tmp_path) not in str(caught.value)
        assert not body.active
        assert names(tmp_path) == []
        stored = await keep(cast(IStore, store), b"x", image_id)
        assert await read(cast(IStore, store), stored.url) == b"x"


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("full", [False, True])
async def test_slow_images_are_written_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, full: bool) -> None:
    """What has come of two slow ones is written a moment later, by one thread; the end waits for nothing."""
    clock, piece, writers = Timed(), bytes(SLOW_BLOCK), []

    def write(descriptor: int, chunks: list[bytes]) -> int:
        writers.append(threading.current_thread())
        return failing(errno.ENOSPC)() if full else os.write(descriptor, b"".join(chunks))

    monkeypatch.setattr("glancetx.stores.draft.os.writev", write)
    async with opened(tmp_path, clock=clock) as store:
        sources = [ScriptedSource(held=True) for _ in range(2)]
        adding = [Deferred.fromCoroutine(store.add(new_id(), source, new_attempt())) for source in sources]
        clock.advance(1)
        for source in sources:
            source.send(b"x")
        clock.advance(1)
        for source in sources:
            source.send(piece)
        await until(the_reactor(), lambda: bool(clock.getDelayedCalls()))
        await turns(the_reactor())
        assert writers == []
        clock.advance(MOMENT)
        await until(the_reactor(), lambda: len(writers) == 2)
        assert writers[0] is writers[1]
        if full:
            for each in adding:
                with pytest.raises(StoreFull):
                    await each
            assert names(tmp_path) == []
            return
        await turns(the_reactor())
        for source, each in zip(sources, adding, strict=True):
            source.send(b"y")
            source.end()
            stored = await each
            assert await read(cast(IStore, store), stored.url) == b"x" + piece + b"y"


@pytest_twisted.ensureDeferred
async def test_a_real_limit(tmp_path: Path) -> None:
    """A file that may not grow further is a full store, also if the kernel took the first part of a write."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    async with opened(tmp_path) as store:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_500_000, hard))
        try:
            with pytest.raises(StoreFull):
                await keep(cast(IStore, store), bytes(3_000_000))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert names(tmp_path) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
@pytest_twisted.ensureDeferred
async def test_a_read_only_directory(tmp_path: Path) -> None:
    """The store starts, reads, and refuses to be changed."""
    async with opened(tmp_path) as store:
        url = (await keep(cast(IStore, store), b"content")).url
        os.chmod(tmp_path, 0o500)
        assert await read(cast(IStore, store), url) == b"content"
        with pytest.raises(StoreWriteDenied):
            await keep(cast(IStore, store), b"content")
        with pytest.raises(Forbidden):
            await store.delete(url)
        os.chmod(tmp_path, 0o700)


@pytest_twisted.ensureDeferred
async def test_a_delete_that_is_denied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A delete the permissions forbid is Forbidden, and the data stays."""
    async with opened(tmp_path) as store:
        url = (await keep(cast(IStore, store), b"content")).url
        with monkeypatch.context() as patch:
            patch.setattr(os, "unlink", failing(errno.EACCES))
            with pytest.raises(Forbidden):
                await store.delete(url)
        assert await read(cast(IStore, store), url) == b"content"


@pytest_twisted.ensureDeferred
async def test_reads_what_is_elsewhere(tmp_path: Path) -> None:
    """A location of a data directory used earlier is read and deleted."""
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "image").write_bytes(b"content")
    async with opened(tmp_path / "images") as store:
        url = f"filesystem://{tmp_path}/old/image"
        assert await read(cast(IStore, store), url) == b"content"
        await store.delete(url)
        assert not (tmp_path / "old" / "image").exists()


@pytest.mark.parametrize("name", ["folder", "pipe", "none/deeper", "image/deeper", "x" * 300, "folder/../image"])
@pytest_twisted.ensureDeferred
async def test_only_files_are_data(tmp_path: Path, name: str) -> None:
    """Folders, pipes and impossible names are not found; nothing waits, nothing is removed."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "image").write_bytes(b"content")
    os.mkfifo(tmp_path / "pipe")
    async with opened(tmp_path) as store:
        url = f"file://{tmp_path}/{name}"
        with pytest.raises(DataNotFound):
            await store.get(url)
        with pytest.raises(DataNotFound):
            await store.size(url)
        if name != "pipe":
            with pytest.raises(DataNotFound):
                await store.delete(url)
        assert (tmp_path / "image").exists()


@pytest.mark.parametrize("image_id", ["", ".", "..", "../x", ".hidden", "a/b", "a\0b"])
@pytest_twisted.ensureDeferred
async def test_ids_are_not_paths(tmp_path: Path, image_id: str) -> None:
    """An id that would lead elsewhere is refused, and the body stopped."""
    async with opened(tmp_path / "images") as store:
        body = ScriptedSource(b"content", held=True)
        with pytest.raises(StoreError):
            await store.add(image_id, body, new_attempt())
        assert body.stopped
        assert names(tmp_path / "images") == []
        assert names(tmp_path) == ["images"]


def complete(folder: Path, attempt: str = ATTEMPT) -> Draft:
    """An attempt that has done everything."""
    draft = Draft(folder, "image", attempt)
    draft.create()
    draft.write([b"con", b"tent"])
    draft.publish()
    return draft


def test_a_draft_is_hidden(tmp_path: Path) -> None:
    """Before the end there is only a name nobody looks for, which names the attempt."""
    draft = Draft(tmp_path, "image", ATTEMPT)
    draft.create()
    draft.write([b"content"])
    assert names(tmp_path) == [f".image.{ATTEMPT}.part"]
    draft.publish()
    assert names(tmp_path) == ["image"]
    assert (tmp_path / "image").read_bytes() == b"content"


def test_a_draft_takes_many_chunks(tmp_path: Path) -> None:
    """More chunks than the kernel takes at once, and more bytes than are flushed at once."""
    draft = Draft(tmp_path, "image", ATTEMPT)
    draft.create()
    draft.write([b"x"] * 5000)
    draft.write([bytes(FLUSH), b"y"])
    draft.publish()
    assert (tmp_path / "image").stat().st_size == 5000 + FLUSH + 1


def test_short_writes_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the kernel takes only a part, the rest follows."""
    real = os.writev

    def short(descriptor: int, chunks: list[bytes]) -> int:
        return real(descriptor, [chunks[0][:2]])

    monkeypatch.setattr(os, "writev", short)
    complete(tmp_path)
    assert (tmp_path / "image").read_bytes() == b"content"


def test_publish_never_replaces(tmp_path: Path) -> None:
    """If another attempt was faster, its file stays, and undoing does not touch it."""
    slow = Draft(tmp_path, "image", OTHER)
    slow.create()
    slow.write([b"other"])
    complete(tmp_path)
    with pytest.raises(Conflict):
        slow.publish()
    slow.remove()
    assert names(tmp_path) == ["image"]
    assert (tmp_path / "image").read_bytes() == b"content"


@pytest.mark.parametrize("attributes", [True, False])
def test_remains_are_known_by_their_attempt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, attributes: bool) -> None:
    """A complete file belongs to its attempt alone, with or without extended attributes."""
    if not attributes:
        monkeypatch.setattr(os, "setxattr", failing(errno.ENOTSUP))
        monkeypatch.setattr(os, "getxattr", failing(errno.ENOTSUP))
    complete(tmp_path)
    Draft(tmp_path, "image", OTHER).remove()
    assert (tmp_path / "image").exists()
    Draft(tmp_path, "image", ATTEMPT).remove()
    assert list(tmp_path.iterdir()) == []


class Sleeping(Draft):
    """When it has seen that the file is its own, it sleeps until that of another attempt is there."""

    def _owns(self, path: Path) -> bool:
        owned = super()._owns(path)
        if owned and path == self.final:
            Draft(self._folder, "image", ATTEMPT).remove()
            newer = Draft(self._folder, "image", OTHER)
            newer.create()
            newer.write([b"newer"])
            newer.publish()
        return owned


def test_asleep_before_removing(tmp_path: Path) -> None:
    """Whoever slept between looking and removing leaves alone what has come meanwhile."""
    complete(tmp_path)
    Sleeping(tmp_path, "image", ATTEMPT).remove()
    assert names(tmp_path) == ["image"]
    assert (tmp_path / "image").read_bytes() == b"newer"


@pytest.mark.parametrize("attempt", [ATTEMPT, OTHER])
def test_killed_while_removing(tmp_path: Path, attempt: str) -> None:
    """What was taken aside by one who was killed then goes away, or comes back if it is another attempt's."""
    complete(tmp_path)
    (tmp_path / "image").rename(tmp_path / f".image.{attempt}.gone")
    Draft(tmp_path, "image", attempt).remove()
    assert names(tmp_path) == ([] if attempt == ATTEMPT else ["image"])


def test_a_foreign_file_is_nobodys(tmp_path: Path) -> None:
    """A file that Glance wrote belongs to no attempt."""
    (tmp_path / "image").write_bytes(b"content")
    os.utime(tmp_path / "image", ns=(1, 1))
    Draft(tmp_path, "image", ATTEMPT).remove()
    assert (tmp_path / "image").exists()


CRASH = """
import sys
from pathlib import Path
from glancetx.runtime.failpoints import reach
from glancetx.stores.draft import Draft
draft = Draft(Path(sys.argv[1]), "image", sys.argv[2])
draft.create()
draft.write([b"content"])
draft.publish()
"""


@pytest.mark.parametrize("point", ["created", "written", "synced", "linked", "published"])
def test_a_crash_leaves_what_can_be_discarded(tmp_path: Path, point: str) -> None:
    """Killed at any step: what is visible is whole, and the attempt's discarding removes all of it."""
    environment = {**os.environ, "GLANCETX_FAILPOINT": f"store.{point}"}
    killed = subprocess.run([sys.executable, "-c", CRASH, str(tmp_path), ATTEMPT], env=environment, check=False)
    assert killed.returncode == -signal.SIGKILL
    final = tmp_path / "image"
    assert final.exists() == (point in ("linked", "published"))
    assert not final.exists() or final.read_bytes() == b"content"
    Draft(tmp_path, "image", OTHER).remove()
    assert list(tmp_path.iterdir()) != []
    Draft(tmp_path, "image", ATTEMPT).remove()
    assert list(tmp_path.iterdir()) == []


@pytest_twisted.ensureDeferred
async def test_nothing_blocks_the_reactor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every call that may touch a disk is made in another thread."""
    here = threading.current_thread()
    seen: list[str] = []

    def watched(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if threading.current_thread() is here:
                seen.append(name)
            return real(*args, **kwargs)

        return call

    async with opened(tmp_path) as store:
        with monkeypatch.context() as patch:
            names = (
                "open",
                "close",
                "writev",
                "fsync",
                "link",
                "unlink",
                "stat",
                "fstat",
                "pread",
                "setxattr",
                "mkdir",
            )
            for name in names:
                patch.setattr(os, name, watched(name, getattr(os, name)))
            stored = await keep(cast(IStore, store), bytes(3_000_000))
            await read(cast(IStore, store), stored.url, 5)
            await store.size(stored.url)
            await store.delete(stored.url)
    assert seen == []
