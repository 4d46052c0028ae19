"""A source of which somebody else told the length."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer
from twisted.web.iweb import IBodyProducer
from zope.interface import implementer


@implementer(IBodyProducer)
class Announced:
    """*source*, whose *length* is said to be this many bytes; whoever stores it finds out if that is wrong."""

    def __init__(self, source: IBodyProducer, length: int) -> None:
        self._source = source
        self.length: int | str = length

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        done: Deferred[None] = self._source.startProducing(consumer)
        return done

    def pauseProducing(self) -> None:
        self._source.pauseProducing()

    def resumeProducing(self) -> None:
        self._source.resumeProducing()

    def stopProducing(self) -> None:
        self._source.stopProducing()
