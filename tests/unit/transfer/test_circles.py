"""What a transfer leaves behind: nothing that only the garbage collector would free, which looks at all seldom."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import pytest_twisted
from attrs import define, field
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IConsumer
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer
from zope.interface import implementer

from glancetx.outgoing.bodies import Chunks
from glancetx.outgoing.client import Answer, HttpClient
from glancetx.outgoing.download import Download
from glancetx.outgoing.retries import Retries
from glancetx.streams import BytesSource, HeldBack, Tap
from glancetx.transfer.relay import Relay

DATA = b"some data"


@implementer(IConsumer)
class Client:
    """Holds what it has its bytes from, to pause it."""

    def __init__(self, source: IBodyProducer) -> None:
        self.source = source
        self.data = b""

    def write(self, data: bytes) -> None:
        self.data += data

    def registerProducer(self, producer: object, streaming: bool) -> None:
        """Nothing."""

    def unregisterProducer(self) -> None:
        """Nothing."""


@define
class Response:
    """`DATA`, at once."""

    code: int = 200
    length: int = len(DATA)
    headers: Headers = field(factory=Headers)

    def deliverBody(self, receiver: Any) -> None:
        receiver.makeConnection(StringTransport())
        receiver.dataReceived(DATA)
        receiver.connectionLost(Failure(ResponseDone()))


@implementer(IAgent)
class Agent:
    """Answers at once."""

    def request(self, method: bytes, uri: bytes, headers: Any = None, bodyProducer: Any = None) -> Deferred[Any]:
        return succeed(Response())


async def never(delivered: int) -> Any:
    raise AssertionError("the source did not break")


def download() -> Download:
    clock: Any = Clock()
    response: Any = Response()
    return Download(Answer(response, clock, 60), len(DATA), never, Retries(clock))


@pytest.fixture
def left() -> Iterator[Callable[[], set[str]]]:
    """Tells of what kinds of ours there is garbage."""

    def look() -> set[str]:
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        gc.set_debug(0)
        found = {type(each).__name__ for each in gc.garbage if type(each).__module__.startswith(("glancetx", __name__))}
        gc.garbage.clear()
        return found

    gc.collect()
    gc.disable()
    yield look
    gc.enable()


@pytest.mark.parametrize(
    "source",
    [
        lambda: HeldBack(BytesSource(DATA)),
        lambda: Relay(BytesSource(DATA), never),
        lambda: Chunks([DATA]),
        lambda: HeldBack(Tap(Relay(download(), never))),
    ],
)
@pytest.mark.parametrize("broken_off", [False, True])
@pytest_twisted.ensureDeferred
async def test_of_a_source(left: Callable[[], set[str]], source: Callable[[], IBodyProducer], broken_off: bool) -> None:
    client = Client(source())
    if broken_off:
        client.source.startProducing(client)
        client.source.stopProducing()
    else:
        await client.source.startProducing(client)
        assert client.data == DATA
    del client
    assert left() == set()


@pytest_twisted.ensureDeferred
async def test_of_a_request(left: Callable[[], set[str]]) -> None:
    """One that is cancelled has a traceback, with which Twisted makes a circle of its own."""
    await HttpClient(Clock(), agent=Agent()).request("PUT", "http://x/", body=[DATA])
    assert left() == set()
