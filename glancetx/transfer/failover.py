"""Which copy of an image is read when stores fail: the first one that can be opened, and nobody waits long for it."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.iweb import IBodyProducer

from glancetx.domain.errors import ImageServiceError, StoreError, StoreUnavailable
from glancetx.domain.image import Location
from glancetx.runtime.troubles import Troubles

PATIENCE: Final = 0.5  # seconds a copy may take to open before the next one is tried beside it
REST: Final = 5.0  # seconds for which a store that did not answer is read last
MOST_BESIDE: Final = 32  # copies opened beside slower ones at a time: where everything is slow, that would be worse

_log = Logger()


@frozen(eq=False)
class Candidate:
    """A copy that may be read, in the store of that name."""

    location: Location
    store: str


Opening = Callable[[Candidate], Awaitable[IBodyProducer]]
"""Opens a copy; raises StoreError if it cannot be opened."""


class Failover:
    """Opens copies. What is learned of stores is kept for some seconds, in this process."""

    def __init__(self, clock: IReactorTime, troubles: Troubles | None = None) -> None:
        self.clock = clock
        self._troubles = troubles or Troubles()
        self.beside = 0
        self._resting: dict[str, float] = {}

    def order(self, candidates: Iterable[Candidate]) -> list[Candidate]:
        """Those in stores that did not answer a moment ago come last.

        When a store has rested long enough, who asks next tries it, and the others wait for what is found.
        """
        candidates = list(candidates)
        if not self._resting:
            return candidates
        resting = {store for store in {each.store for each in candidates} if self._rests(store)}
        return sorted(candidates, key=lambda each: each.store in resting)

    async def open(self, candidates: deque[Candidate], opening: Opening) -> tuple[Candidate, IBodyProducer]:
        """The first of *candidates* that can be opened, from the left, and its source.

        One that fails is followed by the next at once; one that takes more than `PATIENCE`, or whose store has to try
        again, has the next one beside it; what opens first wins. Those that failed and the one that won are removed;
        those that were given up for it are put at the end.

        :raises StoreError: what the last one failed with.
        """
        if len(candidates) == 1:
            return await self._open_last(candidates.popleft(), opening)
        race = _Race(self, candidates, opening)
        with self._troubles.told_to(race.trouble):
            race.begin()
            return await race.won

    async def _open_last(self, candidate: Candidate, opening: Opening) -> tuple[Candidate, IBodyProducer]:
        try:
            source = await opening(candidate)
        except StoreUnavailable:
            self.note(candidate.store)
            raise
        self.forget(candidate.store)
        return candidate, source

    def note(self, store: str) -> None:
        """It did not answer."""
        self._resting[store] = self.clock.seconds() + REST

    def forget(self, store: str) -> None:
        """It answers."""
        self._resting.pop(store, None)

    def _rests(self, store: str) -> bool:
        until = self._resting.get(store)
        if until is None:
            return False
        if self.clock.seconds() < until:
            return True
        self.note(store)
        return False


class _Race:
    """One search; *won* has what was found. Cancelling that gives up all that is being opened."""

    def __init__(self, failover: Failover, candidates: deque[Candidate], opening: Opening) -> None:
        self._failover, self._candidates, self._opening = failover, candidates, opening
        self.won: Deferred[tuple[Candidate, IBodyProducer]] = Deferred(lambda _: self._end())
        self._running: dict[Candidate, Deferred[None]] = {}
        self._failure: BaseException = StoreUnavailable("There is no other copy of the data")
        self._timer: IDelayedCall | None = None
        self._over = False
        self._beside = 0
        self._latest = ""  # the store of whom the next one is waiting for

    def begin(self) -> None:
        self._try_next()

    def trouble(self, store: str) -> None:
        """A request to that store failed: whoever waits for it need not wait any longer."""
        if store == self._latest and self._timer is not None:
            self._stop_timer()
            self._try_beside()

    def _try_next(self) -> None:
        self._stop_timer()
        if not self._candidates:
            if not self._running:
                self._end()
                self.won.errback(self._failure)
            return
        candidate = self._candidates.popleft()
        self._latest = candidate.store
        if self._candidates:
            self._timer = self._failover.clock.callLater(PATIENCE, self._try_beside)
        opening = Deferred.fromCoroutine(self._open(candidate))
        if not opening.called:
            self._running[candidate] = opening
        opening.addErrback(self._broken)

    def _try_beside(self) -> None:
        self._timer = None
        if self._failover.beside < MOST_BESIDE:
            self._failover.beside += 1
            self._beside += 1
            self._try_next()

    async def _open(self, candidate: Candidate) -> None:
        try:
            source = await self._opening(candidate)
        except StoreError as error:
            self._failed(candidate, error)
        else:
            self._opened(candidate, source)

    def _opened(self, candidate: Candidate, source: IBodyProducer) -> None:
        if self._over:
            source.stopProducing()
            return
        self._running.pop(candidate, None)
        self._failover.forget(candidate.store)
        for other in self._running:
            self._failover.note(other.store)
            self._candidates.append(other)
        self._end()
        self.won.callback((candidate, source))

    def _failed(self, candidate: Candidate, error: ImageServiceError) -> None:
        self._running.pop(candidate, None)
        if self._over:
            return
        self._failure = error
        if isinstance(error, StoreUnavailable):
            self._failover.note(candidate.store)
        self._try_next()

    def _broken(self, failure: Failure) -> None:
        """Neither opened nor failed as stores fail: a defect; or cancelled, which is the end anyway."""
        if not self._over:
            self._end()
            self.won.errback(failure)

    def _end(self) -> None:
        self._over = True
        self._stop_timer()
        self._failover.beside -= self._beside
        self._beside = 0
        running, self._running = self._running, {}
        for opening in running.values():
            opening.cancel()

    def _stop_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()
