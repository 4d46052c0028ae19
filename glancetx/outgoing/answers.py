"""What comes back for a request that we sent: bodies that are collected whole, how they end, and that none came."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http import PotentialDataLoss


class NoAnswer(Exception):
    """Nobody answered, or not in time, or with something that is not an answer. The text names no credential."""


class Collected(Protocol):
    """Gathers a body; *done* has it. Cancelling that, or more than *limit* bytes, ends the connection."""

    def __init__(self, limit: int) -> None:
        self.done: Deferred[bytes] = Deferred(lambda _: self._abort())
        self._limit, self._size = limit, 0
        self._chunks: list[bytes] = []

    def dataReceived(self, data: bytes) -> None:
        self._size += len(data)
        if self._size <= self._limit:
            self._chunks.append(data)
        elif not self.done.called:
            self._abort()
            self.done.errback(NoAnswer(f"an answer of more than {self._limit} bytes"))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self.done.called:
            return
        if whole(reason):
            self.done.callback(b"".join(self._chunks))
        else:
            self.done.errback(NoAnswer("an answer that was cut off"))

    def _abort(self) -> None:
        self._chunks = []
        end_connection(self.transport)


def end_connection(transport: Any) -> None:
    """End the connection under a body, as hard as its transport can.

    To lose it would not do: TLS would wait for the other side's farewell, which a paused connection never reads. The
    proxy that twisted.web gives to a body knows no harder way, so what is behind it is asked.
    """
    transport = getattr(transport, "_producer", None) or transport
    end = getattr(transport, "abortConnection", None) or getattr(transport, "loseConnection", None)
    if end is not None:
        end()


def whole(reason: Failure) -> bool:
    """Whether a body whose protocol lost its connection for this reason had come to its end.

    One that is delimited by the end of its connection counts: only who knows its length can tell.
    """
    return bool(reason.check(ResponseDone, PotentialDataLoss))


def root_cause(error: Any) -> BaseException:
    """The error that twisted.web has wrapped, perhaps several times."""
    while reasons := getattr(error, "reasons", None):
        error = reasons[0].value
    cause: BaseException = error
    return cause
