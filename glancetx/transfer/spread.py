"""One read of an image's data into several stores at once."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence

from attrs import frozen
from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.python.failure import Failure
from twisted.web.iweb import IBodyProducer

from glancetx.interfaces import IStore, Stored
from glancetx.streams.fan import Fan


def attempt_in(store: str, claim: str) -> str:
    """The id of the attempt that the claim *claim* makes in *store*: each store has its own."""
    return hashlib.blake2s(f"{claim} {store}".encode(), digest_size=16).hexdigest()


class SpreadFailed(Exception):
    """Not enough stores have the data. *reason* is the first error; *failed* has the stores which it concerns."""

    def __init__(self, reason: BaseException, failed: Collection[str]) -> None:
        super().__init__(str(reason))
        self.reason, self.failed = reason, tuple(failed)


@frozen
class Outcome:
    """What became of the copies, by store; the order is that of the request."""

    stored: Mapping[str, Stored]
    failed: Mapping[str, BaseException]


async def spread(
    image_id: str, source: IBodyProducer, stores: Sequence[IStore], claim: str, *, must_succeed: bool
) -> Outcome:
    """Put all bytes of *source* into every store.

    On return at least one has them, and if *must_succeed* all have. A store that fails leaves nothing, as `IStore`
    promises; but if this raises or is cancelled, others may have kept a copy: it is for the caller to discard the
    attempts in all of them.

    :raises SpreadFailed: with what the first store failed with, or the source.
    """
    return await _Spread(stores, must_succeed).run(image_id, source, claim)


class _Spread:
    def __init__(self, stores: Sequence[IStore], must_succeed: bool) -> None:
        self._stores = stores
        self._must_succeed = must_succeed
        self._fan: Fan | None = None
        self._adds: list[Deferred[None]] = []
        self._stored: dict[str, Stored] = {}
        self._failed: dict[str, BaseException] = {}
        self._reason: BaseException | None = None  # the first failure, if that ends everything

    async def run(self, image_id: str, source: IBodyProducer, claim: str) -> Outcome:
        fan = self._fan = Fan(source, len(self._stores))
        for store, outlet in zip(self._stores, fan.outlets, strict=True):
            attempt = attempt_in(store.identifier, claim)
            add: Deferred[Stored] = Deferred.fromCoroutine(store.add(image_id, outlet, attempt))
            self._adds.append(add.addCallbacks(self._keep, self._fail, (store,), {}, (store,), {}))
            if self._reason is not None:
                self._stop()
        await DeferredList(self._adds)
        return self._outcome()

    def _keep(self, stored: Stored, store: IStore) -> None:
        self._stored[store.identifier] = stored

    def _fail(self, failure: Failure, store: IStore) -> None:
        error: BaseException = failure.value or CancelledError()
        self._failed[store.identifier] = error
        if self._reason is None and (self._must_succeed or len(self._failed) == len(self._stores)):
            self._reason = error
            self._stop()

    def _stop(self) -> None:
        for add in self._adds:
            add.cancel()

    def _concerned(self) -> list[str]:
        """If it was the source that failed, that concerns all of them."""
        if self._fan is not None and self._fan.error is not None:
            return [store.identifier for store in self._stores]
        return [name for name, error in self._failed.items() if not isinstance(error, CancelledError)]

    def _outcome(self) -> Outcome:
        if self._reason is not None and not isinstance(self._reason, CancelledError):
            raise SpreadFailed(self._reason, self._concerned()) from self._reason
        if any(isinstance(error, CancelledError) for error in self._failed.values()):
            raise CancelledError
        order = [store.identifier for store in self._stores]
        return Outcome(
            {name: self._stored[name] for name in order if name in self._stored},
            {name: self._failed[name] for name in order if name in self._failed},
        )
