"""One connection to a Ceph cluster for all of a store's transfers, and what Ceph's errors mean here.

Ceph's bindings, the modules ``rados`` and ``rbd``, come with the distribution and not from PyPI. If this Python does
not find them, the distribution's own folders are looked through for these two, and for nothing else. What blocks runs
in threads; reads and writes of data do not, and are told about from Ceph's threads.
"""

from __future__ import annotations

import errno
import importlib
import sys
from collections.abc import Callable
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.logger import Logger

from glancetx.config.store_settings import RbdSettings
from glancetx.domain.errors import (
    ConfigurationError,
    Conflict,
    DataInUse,
    DataNotFound,
    ImageServiceError,
    StoreFull,
    StoreUnavailable,
    StoreWriteDenied,
)
from glancetx.runtime.sharing import SharedCall
from glancetx.runtime.threads import Threads

P = ParamSpec("P")
T = TypeVar("T")

FOLDERS: Final = (
    "/usr/lib/python3/dist-packages",
    f"/usr/lib64/python3.{sys.version_info.minor}/site-packages",
    f"/usr/lib/python3.{sys.version_info.minor}/site-packages",
)
"""Where distributions keep modules that were built for their own Python; one of another version does not load them."""

TIMEOUTS: Final = ("rados_osd_op_timeout", "rados_mon_op_timeout", "client_mount_timeout")
_BROKEN: Final = (errno.ETIMEDOUT, errno.ESHUTDOWN, errno.ENOTCONN)


def binding(name: str) -> Any:
    """One of Ceph's modules. :raises ConfigurationError: if there is none for this Python."""
    try:
        return importlib.import_module(name)
    except ImportError:
        spec = PathFinder.find_spec(name, list(FOLDERS))
        if spec is None or spec.loader is None:
            raise ConfigurationError(
                f"The rbd store needs the module {name} built for Python 3.{sys.version_info.minor} "
                f"(the package python3-{name} of the distribution)"
            ) from None
        module = sys.modules[name] = module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
        return module


def explain(code: int | None) -> ImageServiceError:
    """The error of the contract for an error number of Ceph's."""
    if code == errno.ENOENT:
        return DataNotFound("There is no RBD image at the location")
    if code == errno.EEXIST:
        return Conflict("The store holds data of this image already")
    if code in (errno.ENOSPC, errno.EDQUOT):
        return StoreFull("The store has no room left")
    if code in (errno.EACCES, errno.EPERM, errno.EROFS):
        return StoreWriteDenied("The store may not be written")
    if code == errno.EBUSY:
        return DataInUse("The RBD image is in use")
    if code in _BROKEN:
        return StoreUnavailable("The Ceph cluster does not answer")
    return StoreUnavailable("The Ceph cluster failed" + (f": {errno.errorcode.get(code, code)}" if code else ""))


class Connection:
    """A connected client. Its methods block, but for `completing`. *broken*: it is of no use any more."""

    def __init__(self, handle: Any, rados: Any, rbd: Any) -> None:
        self.rados, self.rbd, self.handle = rados, rbd, handle
        self.fsid: str = handle.get_fsid()
        self.broken = False
        self.users = 0

    def call(self, function: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call it with this connection first. Ceph's errors become those of the contract."""
        if self.broken:
            raise StoreUnavailable("The Ceph cluster does not answer")
        try:
            return function(self, *args, **kwargs)
        except (self.rados.Error, self.rbd.Error) as error:
            code = getattr(error, "errno", None)
            self.note(code)
            raise explain(code) from error

    def note(self, code: int | None) -> None:
        """Learn from an error number whether the connection is good for anything yet."""
        self.broken = self.broken or code in _BROKEN

    def pool(self, name: str) -> Any:
        """An I/O context of a pool, to be closed. Where the cluster is full it fails at once instead of waiting."""
        try:
            pool = self.handle.open_ioctx(name)
        except self.rados.ObjectNotFound:
            raise StoreUnavailable("The Ceph cluster does not have the pool") from None
        pool.set_osdmap_full_try()
        return pool


class Completion(Deferred[T]):
    """Fires in the reactor thread when Ceph has done what was begun.

    Differs from other Deferreds in `cancel`: what has begun is waited for, and only then comes CancelledError.
    """

    def __init__(self, reactor: IReactorFromThreads, connection: Connection) -> None:
        super().__init__()
        self._reactor, self._connection = reactor, connection
        self._cancelled = False

    def cancel(self) -> None:
        if self.called:
            super().cancel()
        else:
            self._cancelled = True

    def tell(self, code: int, result: Any) -> None:
        """From any thread: it is done; a negative *code* is an error number."""
        self._reactor.callFromThread(self._finish, code, result)

    def _finish(self, code: int, result: Any) -> None:
        if code < 0:
            self._connection.note(-code)
        if self._cancelled:
            self.errback(CancelledError())
        elif code < 0:
            self.errback(explain(-code))
        else:
            self.callback(result)


class Cluster:
    """The connection, made when it is first needed, and again when it has broken.

    Several who need it meanwhile wait for the same attempt, and share its failure. Blocking calls run in *threads*.
    """

    def __init__(self, settings: RbdSettings, reactor: IReactorFromThreads, threads: Threads) -> None:
        self.reactor = reactor
        self.fsid = ""
        self._settings, self._threads = settings, threads
        self._connection: Connection | None = None
        self._connecting: SharedCall[Connection] | None = None
        self._made: set[Connection] = set()
        self._gone: Deferred[None] | None = None
        self._log = Logger()

    async def start(self) -> None:
        """Read Ceph's configuration; nothing is connected to.

        :raises ConfigurationError: if that cannot be read, or Ceph's modules are missing.
        """
        handle = await self._threads.run(self._configure)
        fsid = handle.conf_get("fsid")
        self.fsid = fsid if fsid.strip("0-") else ""  # zeros: only the cluster knows

    async def stop(self) -> None:
        """Disconnect, when whoever uses the connection yet has let go of it."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._retire(connection)
        while self._made:
            self._gone = self._gone or Deferred()
            await self._gone

    async def acquire(self) -> Connection:
        """The connection, until it is given to `release`. :raises StoreUnavailable: if the cluster does not answer."""
        if self._connection is not None and self._connection.broken:
            broken, self._connection = self._connection, None
            self._retire(broken)
        if self._connection is None:
            if self._connecting is None or not self._connecting.running:
                self._connecting = SharedCall(self._connect())
            await self._connecting.result()
            return await self.acquire()
        self._connection.users += 1
        return self._connection

    def release(self, connection: Connection) -> None:
        """The caller does not need it any more."""
        connection.users -= 1
        if connection is not self._connection:
            self._retire(connection)

    async def close(self, connection: Connection, close: Callable[[], None]) -> None:
        """`close`, which blocks, is the last that somebody does with the connection."""
        try:
            await self._threads.run(close)
        finally:
            self.release(connection)

    async def run(self, function: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call it in a thread, with the connection first."""
        return await self.run_in(self._threads, function, *args, **kwargs)

    async def run_in(
        self, threads: Threads, function: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """`run` in other threads."""
        connection = await self.acquire()
        try:
            return await threads.run(lambda: connection.call(function, *args, **kwargs))
        finally:
            self.release(connection)

    async def run_on(
        self,
        connection: Connection,
        function: Callable[Concatenate[Connection, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """`run` over a connection that the caller has acquired."""
        return await self._threads.run(lambda: connection.call(function, *args, **kwargs))

    async def _connect(self) -> Connection:
        connection = self._connection = await self._threads.run(self._open)
        self._made.add(connection)
        self.fsid = connection.fsid
        return connection

    def _retire(self, connection: Connection) -> None:
        """Disconnect what is of no more use, if nobody has it in use."""
        if connection.users == 0 and connection in self._made:
            ending = Deferred.fromCoroutine(self._threads.run(connection.handle.shutdown))
            ending.addErrback(lambda failure: self._log.failure("disconnecting from Ceph failed", failure))
            ending.addCallback(lambda _: self._forget(connection))

    def _forget(self, connection: Connection) -> None:
        self._made.discard(connection)
        if self._gone is not None:
            gone, self._gone = self._gone, None
            gone.callback(None)

    def _configure(self) -> Any:
        rados = binding("rados")
        binding("rbd")
        settings = self._settings
        try:
            handle = rados.Rados(conffile=str(settings.ceph_conf or ""), rados_id=settings.user)
            if settings.timeout >= 0:
                for name in TIMEOUTS:
                    handle.conf_set(name, str(settings.timeout))
        except rados.Error as error:
            raise ConfigurationError(
                f"Store {settings.identifier}: Ceph cannot use its configuration {settings.ceph_conf or ''}: {error}"
            ) from error
        return handle

    def _open(self) -> Connection:
        rados, rbd = binding("rados"), binding("rbd")
        handle = self._configure()
        try:
            handle.connect()
            return Connection(handle, rados, rbd)
        except rados.Error as error:
            self._log.warn("store {store}: no connection to Ceph: {why}", store=self._settings.identifier, why=error)
            handle.shutdown()
            raise StoreUnavailable("The Ceph cluster does not answer") from error
