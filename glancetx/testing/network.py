"""Another service without a network: its resource is asked in memory, by the client that would use a socket."""

from __future__ import annotations

from typing import Any

from treq.testing import StubTreq
from twisted.web.resource import Resource

from glancetx.outgoing.exchange import Send


def in_memory(resource: Resource) -> Send:
    """What an `Exchange` sends through; every request, whatever its URL, is answered by *resource*, and at once."""
    stub: Any = StubTreq(resource)
    send: Send = stub.request
    return send
