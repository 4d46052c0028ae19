"""Threads that each keep one connection, and calls on their way through them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from threading import Lock, Thread, local
from typing import Any, Final, Generic, TypeVar

from attrs import define
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError
from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.python.failure import Failure

from glancetx.db.dialects import Fault, Pool, permit_ending
from glancetx.db.handover import Inbox, Outbox
from glancetx.db.telling import afterwards
from glancetx.domain.errors import DatabaseUnavailable, Invalid, OutcomeUnknown

W = TypeVar("W")
T = TypeVar("T")

PING_AFTER: Final = 5.0
"""Seconds after which an unused connection is asked whether it still lives, before it is used."""


HOLD_OFF: Final = 0.25
"""Seconds after a connection could not be opened in which nobody tries again: those who wait are told at once, and a
host that does not answer does not keep them for one timeout after the other."""


class Undone(DatabaseUnavailable):
    """Nothing came of a transaction; done again it may succeed, *at_once* or after a while."""

    def __init__(self, *, at_once: bool) -> None:
        super().__init__("The database cannot be used at the moment")
        self.at_once = at_once


@define
class _Kept:
    """A thread's connection; *opened* and *used* are when that was last."""

    connection: Connection
    opened: float
    used: float


class Call(Deferred[T], Generic[T]):
    """One transaction on its way: fires with its outcome.

    Differs from other Deferreds in `cancel`: a transaction that has begun is waited for, since what became of it
    must be known; only then CancelledError is raised. One that has not begun never will.
    """

    def __init__(self, work: Callable[[Connection], T]) -> None:
        super().__init__()
        self.work = work
        self.afterwards: Sequence[Callable[[], None]] = ()  # to be called when the work is committed
        self._ticket = Lock()  # taken once: by the thread that runs the call, or by the cancel that forestalls it
        self._cancelled = False

    def begin(self) -> bool:
        """In a thread: whether the work is to be done by it."""
        return self._ticket.acquire(blocking=False)

    def end(self, outcome: T | Failure) -> None:
        """In the reactor's thread: the work is over."""
        for call in self.afterwards:
            call()
        if not self.called:
            self.callback(Failure(CancelledError()) if self._cancelled else outcome)

    def cancel(self) -> None:
        if self.called:
            super().cancel()
        elif self._ticket.acquire(blocking=False):
            self.callback(Failure(CancelledError()))
        else:
            self._cancelled = True


class Joint(Call[T]):
    """A call that may be done in one transaction with others that wait.

    *works* carries out a number of orders, of which *order* is one, and tells what came of each. All that wait for the
    same *works* are its orders at once.
    """

    def __init__(self, works: Callable[[Connection, Sequence[W]], Sequence[T]], order: W) -> None:
        super().__init__(lambda connection: works(connection, (order,))[0])
        self.works: Callable[[Connection, Sequence[Any]], Sequence[T]] = works
        self.order = order


BEGUN: Final = object()
"""What comes of a call that was cancelled before: nothing."""


class ConnectionThreads:
    """At most *pool.size* threads, started as they are needed; alchimia calls `do` with what is to run in one.

    Work waits in the order of its arrival. A connection lives as long as its thread, unless it fails or grows old.
    *now* tells the seconds; it is called in the threads.
    """

    def __init__(self, reactor: Any, name: str, pool: Pool, now: Callable[[], float] = time.monotonic) -> None:
        self._reactor, self._name, self._pool, self._now = reactor, name, pool, now
        self.outbox = Outbox(reactor)
        self._inbox = Inbox(reactor, self._want, gathering=pool.together > 1)
        self._exits: list[Deferred[None]] = []
        self._own = local()
        self._away_until = 0.0  # until then nobody tries to connect
        self.open = 0  # calls begun and not ended

    @property
    def waiting(self) -> int:
        """How many calls wait for a free connection."""
        return max(0, self.open - self._pool.size)

    def do(self, task: Callable[[], None]) -> None:
        """Have *task* run in one of the threads."""
        self._inbox.put(task)

    def quit(self) -> None:
        """Let each thread end when all work given so far is done."""
        self._inbox.flush()
        self._inbox.end(len(self._exits))

    async def ended(self) -> None:
        """Wait until the threads have ended and their connections are closed."""
        await DeferredList(self._exits)
        self._exits = []

    def _want(self, threads: int) -> int:
        if threads and len(self._exits) < min(self.open, self._pool.size):
            left: Deferred[None] = Deferred()
            # Daemons: a program that fails before it stops the engine can still end. Commits are durable as they are.
            Thread(target=self._run, args=(left,), name=f"{self._name}-{len(self._exits)}", daemon=True).start()
            self._exits.append(left)
        return len(self._exits)

    def _run(self, left: Deferred[None]) -> None:
        self._inbox.work()
        self._close()
        self._reactor.callFromThread(left.callback, None)

    def perform(self, call: Call[T]) -> Any:
        """In a thread: the result of the whole transaction, or `BEGUN`.

        :raises Undone: if it might succeed when it is done again.
        :raises OutcomeUnknown: if the connection was lost during the commit.
        :raises DatabaseUnavailable: if the database does not answer; nothing was committed.
        :raises Invalid: if the database cannot keep a value.
        """
        if not call.begin():
            return BEGUN
        return self._alone(call)

    def perform_together(self, joined: Sequence[Joint[Any]]) -> None:
        """In a thread: carry them out, in one transaction if possible; in the reactor's thread they hear of it."""
        calls = [call for call in joined if call.begin()]
        outcomes = self._together(calls) if len(calls) > 1 else None
        self.outbox.callFromThread(partial(self._end, len(joined), calls, outcomes or [*map(self._outcome, calls)]))

    def _end(self, count: int, calls: Sequence[Joint[Any]], outcomes: Sequence[Any]) -> None:
        self.open -= count
        for call, outcome in zip(calls, outcomes, strict=True):
            call.end(outcome)

    def _together(self, calls: Sequence[Joint[Any]]) -> Sequence[Any] | None:
        """Their outcomes, which are committed at once; None if one has failed, and nothing came of any."""
        kept, committing = None, False
        groups: dict[Any, list[Joint[Any]]] = {}
        for call in calls:
            groups.setdefault(call.works, []).append(call)
        last = next(reversed(groups))
        try:
            kept = self._connect()
            afterwards(kept.connection)  # of a transaction that came to nothing
            results: dict[Joint[Any], Any] = {}
            told = []
            for works, alike in groups.items():
                permit_ending(kept.connection, works is last)
                results.update(zip(alike, works(kept.connection, [call.order for call in alike]), strict=True))
                told.append((alike[0], afterwards(kept.connection)))
            committing = True
            kept.connection.commit()
        except Exception as error:
            fault = self._pool.fault(error)
            self._give_up(kept, fault)
            if not committing or fault is Fault.VALUE:
                return None
            return [Failure(_explain(fault, begun=True, committing=True) or error) for _ in calls]
        for first, tell in told:
            first.afterwards = tell
        kept.used = self._now()
        return [results[call] for call in calls]

    def _outcome(self, call: Call[Any]) -> Any:
        try:
            return self._alone(call)
        except Exception:
            return Failure()

    def _alone(self, call: Call[T]) -> T:
        kept, committing = None, False
        try:
            kept = self._connect()
            afterwards(kept.connection)  # of a transaction that came to nothing
            permit_ending(kept.connection, isinstance(call, Joint))
            result = call.work(kept.connection)
            committing = True
            kept.connection.commit()
            call.afterwards = afterwards(kept.connection)
        except BaseException as error:
            fault = self._pool.fault(error)
            self._give_up(kept, fault)
            explained = _explain(fault, begun=kept is not None, committing=committing)
            if explained is None:
                raise
            raise explained from error
        kept.used = self._now()
        return result

    def _connect(self) -> _Kept:
        kept: _Kept | None = getattr(self._own, "kept", None)
        if kept is not None and self._fit(kept):
            return kept
        self._close()
        now = self._now()
        if now < self._away_until:
            raise DatabaseUnavailable("The database cannot be used at the moment")
        try:
            connection = self._pool.engine.connect()
        except Exception as error:
            if self._pool.fault(error) is not None:
                self._away_until = self._now() + HOLD_OFF
            raise
        kept = self._own.kept = _Kept(connection, opened=now, used=now)
        return kept

    def _fit(self, kept: _Kept) -> bool:
        """Whether a connection can be used once more; one that was idle for a while is asked."""
        now = self._now()
        if not self._pool.recycle:
            return True
        if now - kept.opened > self._pool.recycle:
            return False
        if now - kept.used > PING_AFTER:
            raw = kept.connection.connection.dbapi_connection
            try:
                return raw is not None and self._pool.engine.dialect.do_ping(raw)
            except Exception as error:
                if self._pool.fault(error) is None:
                    raise
                return False
        return True

    def _give_up(self, kept: _Kept | None, fault: Fault | None) -> None:
        """Undo what is not committed; a connection that is in doubt is replaced by the next call."""
        if kept is None:
            return
        try:
            if fault is not Fault.LOST:
                kept.connection.rollback()
        except DBAPIError:
            fault = Fault.LOST
        if fault in (Fault.LOST, Fault.UNAVAILABLE):
            self._close(lost=fault is Fault.LOST)

    def _close(self, *, lost: bool = False) -> None:
        kept: _Kept | None = getattr(self._own, "kept", None)
        if kept is not None:
            self._own.kept = None
            try:
                if lost:
                    kept.connection.invalidate()  # or SQLAlchemy would try to roll back, and log that it cannot
                kept.connection.close()
            except DBAPIError:
                kept.connection.invalidate()


def _explain(fault: Fault | None, *, begun: bool, committing: bool) -> Exception | None:
    """What *fault* means to those who wanted the transaction; None: what was raised may speak for itself."""
    if fault is Fault.COLLISION:
        return Undone(at_once=False)
    if fault is Fault.LOST and committing:
        return OutcomeUnknown("The database was lost while it was changed; whether it was is not known")
    if fault is Fault.LOST and begun:
        return Undone(at_once=True)
    if fault in (Fault.LOST, Fault.UNAVAILABLE):
        return DatabaseUnavailable("The database cannot be used at the moment")
    if fault is Fault.VALUE:
        return Invalid("A value is too long, too large, or of characters that the database cannot keep")
    return None
