"""The digests of one stream: those somebody wants to know, and those that are compared with what was announced."""

from __future__ import annotations

from collections.abc import Iterable

from zope.interface import implementer

from glancetx.domain.digests import ANYTHING, Expectation
from glancetx.runtime.threads import Threads
from glancetx.streams.interfaces import IObserver
from glancetx.streams.observers import Hashes


class Digests:
    """*observers* compute *algorithms* and what *expected* needs, each once; at the end they compare.

    DigestMismatch fails the transfer when all bytes were seen, so nothing of it is kept.
    """

    def __init__(self, threads: Threads, algorithms: Iterable[str] = (), expected: Expectation = ANYTHING) -> None:
        self._hashes = Hashes(threads, dict.fromkeys([*algorithms, *expected.algorithms]))
        self._expected = expected

    @property
    def observers(self) -> tuple[IObserver, ...]:
        """In the order in which they have to finish."""
        return (self._hashes, _Verdict(self))

    def __getitem__(self, algorithm: str) -> str:
        """In hex, when the transfer has ended."""
        return self._hashes.hexdigests[algorithm]

    def check(self) -> None:
        """:raises DigestMismatch: if a digest is not the announced one."""
        self._expected.check(self._hashes.hexdigests)


@implementer(IObserver)
class _Verdict:
    """Comes last."""

    def __init__(self, digests: Digests) -> None:
        self._digests = digests

    def observe(self, chunk: bytes) -> None:
        """Nothing: the digests look at it."""

    async def finish(self) -> None:
        self._digests.check()
