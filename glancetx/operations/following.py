"""Following imports: whoever wants to know is told when something has changed, on whatever node the import runs.

The database is asked once a second, for all images that somebody follows in this process, and not at all if there are
none.
"""

from __future__ import annotations

from typing import Final

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from glancetx.access.policy import Policy
from glancetx.db.images import Images
from glancetx.db.states import ImportStates
from glancetx.domain.context import RequestContext
from glancetx.domain.errors import TooBusy
from glancetx.domain.following import ImportState
from glancetx.domain.status import DELETED

INTERVAL: Final = 1.0  # seconds between two looks
MOST: Final = 1000  # followers in one process


class Following:
    """All followers of one process."""

    def __init__(
        self,
        reactor: IReactorTime,
        images: Images,
        policy: Policy,
        states: ImportStates,
        interval: float = INTERVAL,
        most: int = MOST,
    ) -> None:
        self._reactor, self._images, self._policy, self._states = reactor, images, policy, states
        self._interval, self._most = interval, most
        self._followers: list[Follower] = []
        self._loop = LoopingCall(self._look)
        self._loop.clock = reactor
        self._log = Logger()

    def __len__(self) -> int:
        return len(self._followers)

    async def follow(self, context: RequestContext, image_id: str) -> Follower:
        """Somebody who is told of changes from now on, beginning with what is now; it has to be closed.

        :raises ImageNotFound: if there is no such image, for this caller.
        :raises TooBusy: if too many follow already.
        """
        if len(self._followers) >= self._most:
            raise TooBusy("Too many imports are followed; try again")
        self._policy.check_image("get_image", context, await self._images.get(context, image_id))
        follower = Follower(self, self._reactor, context, image_id)
        self._followers.append(follower)
        try:
            follower.tell((await self._states.of([image_id])).get(image_id))
        except BaseException:
            follower.close()
            raise
        if not self._loop.running and self._followers:
            self._loop.start(self._interval, now=False).addErrback(
                lambda failure: self._log.failure("nobody is told of imports any more", failure)
            )
        return follower

    def close(self) -> None:
        """Tell all followers that nothing more will come from here."""
        for follower in list(self._followers):
            follower.end()

    def drop(self, follower: Follower) -> None:
        """Forget somebody."""
        if follower in self._followers:
            self._followers.remove(follower)
        if not self._followers and self._loop.running:
            self._loop.stop()

    async def _look(self) -> None:
        try:
            states = await self._states.of({each.image_id for each in self._followers})
        except Exception:
            self._log.failure("cannot look how far imports are; the next look will try again")
            return
        for follower in list(self._followers):
            follower.tell(states.get(follower.image_id))


class Follower:
    """One who follows the import to one image. What he was not told in time is replaced by what is newer."""

    def __init__(self, following: Following, reactor: IReactorTime, context: RequestContext, image_id: str) -> None:
        self.image_id = image_id
        self._following, self._reactor, self._context = following, reactor, context
        self._seen: ImportState | None = None
        self._news: ImportState | None = None
        self._waiting: Deferred[None] | None = None
        self.ended = False

    async def next(self, patience: float) -> ImportState | None:
        """What has changed, as soon as something has; None: nothing within *patience* seconds, or no more (*ended*)."""
        if self._news is None and not self.ended:
            waiting = self._waiting = Deferred()
            timer = self._reactor.callLater(patience, self._wake)
            try:
                await waiting
            finally:
                self._waiting = None
                _stop(timer)
        news, self._news = self._news, None
        return news

    def tell(self, state: ImportState | None) -> None:
        """It is like this now; None: the image is gone."""
        shown = self._shown(state or ImportState(image_id=self.image_id, status=DELETED))
        if shown != self._seen:
            self._seen = self._news = shown
            self._wake()

    def end(self) -> None:
        """Nothing more will come."""
        self.ended = True
        self._wake()

    def close(self) -> None:
        """It is over; harmless if repeated."""
        self.ended = True
        self._following.drop(self)

    def _shown(self, state: ImportState) -> ImportState:
        """Tasks of other projects are hidden, as in lists of them; that there is one is not."""
        task, context = state.task, self._context
        if task is None or context.is_admin or task.owner == (context.project_id or ""):
            return state
        return evolve(state, task=evolve(task, message="", result=None))

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.called:
            self._waiting.callback(None)


def _stop(timer: IDelayedCall) -> None:
    if timer.active():
        timer.cancel()
