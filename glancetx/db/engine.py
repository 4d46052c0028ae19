"""The engine: whole transactions, each one plain function that runs in one hop to a thread with its own connection.

The only user of alchimia, which brings work to the threads and its outcome back to the reactor.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from types import ModuleType
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from glancetx.config.settings import DatabaseSettings
from glancetx.db.connections import BEGUN, Call, ConnectionThreads, Joint
from glancetx.db.dialects import Pool, make_pools
from glancetx.db.rounds import Rounds
from glancetx.db.trials import ABSENCE, Trials
from glancetx.domain.errors import DatabaseUnavailable

W = TypeVar("W")
P = ParamSpec("P")
T = TypeVar("T")


def load_wrap_engine() -> Callable[..., Any]:
    """alchimia's `wrap_engine`.

    alchimia 0.8.1 imports a class that SQLAlchemy 1.4 removed, for a strategy nobody calls; an empty one will do.
    """
    name = "sqlalchemy.engine.strategies"
    try:
        strategies = import_module(name)
    except ImportError:
        strategies = sys.modules[name] = ModuleType(name)
    if not hasattr(strategies, "DefaultEngineStrategy"):
        strategies.DefaultEngineStrategy = type("DefaultEngineStrategy", (), {})  # type: ignore[attr-defined]
    from alchimia import wrap_engine

    return wrap_engine  # type: ignore[no-any-return]


class _Room:
    """One pool of connections, as alchimia drives it."""

    def __init__(self, reactor: Any, name: str, pool: Pool) -> None:
        self.pool = pool
        self.threads = ConnectionThreads(reactor, name, pool)
        self._alchimia = load_wrap_engine()(self.threads.outbox, pool.engine, create_worker=lambda: self.threads)
        self._rounds: Rounds[Joint[Any]] = Rounds(reactor, pool.together, self._begin_round)

    def submit(self, call: Call[T]) -> Call[T]:
        self.threads.open += 1
        if isinstance(call, Joint):
            self._rounds.put(call)
        else:
            self._defer(self.threads.perform, call).addBoth(self._end, call)
        return call

    def _begin_round(self) -> None:
        self._defer(self._perform_round).addErrback(_failed)

    def _perform_round(self) -> None:
        self.threads.perform_together(self._rounds.take())

    def _defer(self, function: Callable[..., Any], *args: Any) -> Deferred[Any]:
        """alchimia's public calls run single statements; this is what they are made of."""
        return self._alchimia._defer_to_engine(function, *args)  # type: ignore[no-any-return]

    def _end(self, outcome: Any, call: Call[Any]) -> None:
        self.threads.open -= 1
        if outcome is not BEGUN:
            call.end(outcome)

    async def stop(self) -> None:
        self._rounds.close()
        self.threads.quit()
        await self.threads.ended()
        self.pool.engine.dispose()


class Engine:
    """The database of one service."""

    _log = Logger()

    def __init__(self, reactor: Any, settings: DatabaseSettings) -> None:
        """:raises ConfigurationError: if the URL is wrong or of a database that is not supported."""
        pools = make_pools(settings)
        self._reactor = reactor
        self._writers = _Room(reactor, "glancetx-db", pools.writers)
        self._readers = _Room(reactor, "glancetx-db-read", pools.readers)
        self._running = False

    @property
    def waiting(self) -> int:
        """How many transactions wait for a connection."""
        rooms = {self._writers, self._readers}
        return sum(room.threads.waiting for room in rooms)

    async def start(self) -> None:
        """Open a first connection.

        :raises DatabaseUnavailable: if that fails.
        """
        self._running = True
        try:
            await self.interact(lambda connection: None)
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Refuse new transactions, wait until those under way have ended, and close the connections."""
        self._running = False
        for room in {self._writers, self._readers}:
            await room.stop()

    async def interact(self, function: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``function(connection, ...)`` as one transaction in a thread; its result is ours once it is committed.

        Whatever it raises rolls back and is raised. A transaction that loses against another one, or its connection
        before the commit, is run again: *function* changes nothing but the database. Cancelling a transaction that
        has begun waits until it is committed or rolled back, and then raises CancelledError; one that still waits for
        a connection, or for its next try, is dropped.

        :raises DatabaseUnavailable: if the database does not answer, or other transactions always win.
        :raises OutcomeUnknown: if the connection is lost during the commit, so that it may be committed or not.
        :raises Invalid: if the database cannot keep a value.
        """
        return await self._perform(self._writers, _calls(function, args, kwargs), Trials())

    async def join(self, works: Callable[[Connection, Sequence[W]], Sequence[T]], order: W) -> T:
        """As `interact`, for short works: ``works(connection, orders)`` does what others want that wait as well, in one
        transaction, and tells what came of each.

        What it reads may then have been written by one of them, and is committed with it. If it raises, nothing came
        of any, and each is run once more, alone.
        """
        return await self._perform(self._writers, lambda: Joint(works, order), Trials())

    async def ensure(self, function: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """As `interact`, for a *function* that may as well run twice: it does, rather than raise OutcomeUnknown."""
        return await self._perform(self._writers, _calls(function, args, kwargs), Trials(twice=True))

    async def insist(self, function: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """As `ensure`, and if the database does not answer, wait for it for half a minute."""
        trials = Trials(twice=True, absence=ABSENCE)
        return await self._perform(self._writers, _calls(function, args, kwargs), trials)

    async def read(self, function: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """As `ensure`, for a *function* that only reads: it waits for no writer, and no statement sees half of what a
        transaction writes. Two statements may see what was written between them.
        """
        return await self._perform(self._readers, _calls(function, args, kwargs), Trials(twice=True))

    async def _perform(self, room: _Room, call: Callable[[], Call[T]], trials: Trials) -> T:
        while self._running:
            try:
                return await room.submit(call())
            except DatabaseUnavailable as error:
                pause = trials.pause_after(error, self._reactor.seconds())
                if pause is None:
                    self._log.warn("the database failed: {cause}", cause=error.__cause__ or error)
                    raise
                await deferLater(self._reactor, pause)
        raise DatabaseUnavailable("The database is closed")


def _failed(failure: Failure) -> None:
    Engine._log.failure("a round of transactions", failure)


def _calls(function: Callable[..., T], args: Any, kwargs: Any) -> Callable[[], Call[T]]:
    """One call after the other of the same."""
    return lambda: Call(lambda connection: function(connection, *args, **kwargs))


def transact(
    settings: DatabaseSettings,
    function: Callable[Concatenate[Connection, P], T],
    *args: P.args,
    **kwargs: P.kwargs,
) -> T:
    """For commands without a reactor: one transaction, here and now.

    :raises ConfigurationError: as `Engine`. :raises DatabaseUnavailable: if the database does not answer.
    """
    pool = make_pools(settings).writers
    try:
        with pool.engine.begin() as connection:
            return function(connection, *args, **kwargs)
    except DBAPIError as error:
        if pool.fault(error) is None:
            raise
        raise DatabaseUnavailable(f"The database cannot be used: {error.orig}") from error
