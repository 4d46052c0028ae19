"""What streams are made of, beyond Twisted's own IBodyProducer and IConsumer.

How a body producer behaves here, in addition to Twisted's words: it is a push producer; it copes with being paused,
resumed or stopped from inside a `write` of its own, even before `startProducing` has returned; after `stopProducing`
its Deferred never fires; cancelling that Deferred stops it, and CancelledError comes out. Stopping one that was never
started releases what it holds. Whoever calls `startProducing` is the one who pauses, resumes and stops.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred
from zope.interface import Attribute, Interface


class IFileSource(Interface):
    """A body producer whose bytes lie in an open file, so that sendfile may deliver them instead.

    Who uses the descriptor that way never starts the producer, and calls its `stopProducing` when done: that closes
    the descriptor.
    """

    descriptor: int = Attribute("An open, readable file descriptor.")
    offset: int = Attribute("Where the first byte is in the file.")
    length: int = Attribute("How many bytes are to be delivered.")


class IObserver(Interface):
    """Sees the bytes of a transfer as they pass through a `Tap`."""

    def observe(chunk: bytes) -> Deferred[None] | None:
        """Look at the next bytes. Raising ends the transfer with that error.

        Returns None, or, if too many bytes wait for this observer, a Deferred: until it fires no more come (but for
        what is already on its way), and if it fails the transfer ends.
        """

    async def finish() -> None:
        """All bytes were shown: come to a result. Raising fails the transfer. Not called when it failed before."""
