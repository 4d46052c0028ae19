"""Bytes pass as they are granted."""

from __future__ import annotations

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import Clock

from glancetx.domain.errors import LimitExceeded
from glancetx.streams import Tap
from glancetx.streams.allowance import FIRST_STEP, PATIENCE, PAUSE, Allowance
from glancetx.testing.fakes import Recorder, ScriptedSource, turns


class Bank:
    """Grants what is wanted as long as *left* lasts; keeps what was asked. *answer* delays it.

    While *busy*, who can wait is told to.
    """

    def __init__(self, left: int, answer: Deferred[None] | None = None) -> None:
        self.left, self.answer = left, answer
        self.granted = 0
        self.busy = False
        self.asked: list[tuple[int, int]] = []

    async def grant(self, needed: int, wanted: int, wait: bool) -> int:
        self.asked.append((needed, wanted))
        if self.busy and wait:
            return 0
        if self.answer is not None:
            await self.answer
        if needed > self.left:
            raise LimitExceeded("none left")
        granted = min(wanted, self.left)
        self.left -= granted
        self.granted += granted
        return granted


@pytest_twisted.ensureDeferred
async def test_enough() -> None:
    """Everything passes; what is granted in vain is at most a quarter, and it is asked rarely."""
    bank = Bank(2**40)
    pieces = [bytes(256 * 1024)] * 400
    data = await Recorder().receive(Tap(ScriptedSource(*pieces), Allowance(Clock(), bank.grant)))
    assert len(data) == 100 * 1024 * 1024
    assert len(data) <= bank.granted <= len(data) * 1.25
    assert len(bank.asked) < 25


@pytest_twisted.ensureDeferred
async def test_exactly() -> None:
    """The last byte that is left may be used."""
    bank = Bank(1000)
    data = await Recorder().receive(Tap(ScriptedSource(bytes(600), bytes(400)), Allowance(Clock(), bank.grant)))
    assert len(data) == 1000
    assert bank.asked == [(600, 600 + FIRST_STEP)]


@pytest_twisted.ensureDeferred
async def test_too_much() -> None:
    """One byte more fails the transfer, and stops the source."""
    source = ScriptedSource(bytes(600), bytes(401), held=True)
    with pytest.raises(LimitExceeded):
        await Recorder().receive(Tap(source, Allowance(Clock(), Bank(1000).grant)))
    assert source.stopped


@pytest_twisted.ensureDeferred
async def test_held_until_granted(clock: IReactorTime) -> None:
    """While nobody has answered, the source is paused, and what came in between is asked for before more comes."""
    answer: Deferred[None] = Deferred()
    bank = Bank(2**40, answer)
    source = ScriptedSource(bytes(10), bytes(3 * FIRST_STEP), bytes(1))
    recorder = Recorder()
    allowance = Allowance(Clock(), bank.grant)
    done = Deferred.fromCoroutine(recorder.receive(Tap(source, allowance)))
    await turns(clock)
    assert source.paused
    assert allowance.observe(bytes(2 * FIRST_STEP)) is None  # was on its way already
    bank.answer = None
    answer.callback(None)
    assert len(await done) == 3 * FIRST_STEP + 11
    assert bank.granted >= 5 * FIRST_STEP


@pytest_twisted.ensureDeferred
async def test_refused_at_the_end(clock: IReactorTime) -> None:
    """A refusal that comes when the source has ended already fails the transfer as well."""
    answer: Deferred[None] = Deferred()
    done = Deferred.fromCoroutine(
        Recorder().receive(Tap(ScriptedSource(bytes(10)), Allowance(Clock(), Bank(9, answer).grant)))
    )
    await turns(clock)
    assert not done.called
    answer.callback(None)
    with pytest.raises(LimitExceeded):
        await done


@pytest_twisted.ensureDeferred
async def test_cancelled_while_asking(clock: IReactorTime) -> None:
    """A transfer that ends while it waits for an answer does not care for it any more."""
    answer: Deferred[None] = Deferred()
    source = ScriptedSource(bytes(10), held=True)
    done = Recorder()
    transfer = Deferred.fromCoroutine(done.receive(Tap(source, Allowance(Clock(), Bank(0, answer).grant))))
    await turns(clock)
    transfer.addErrback(lambda failure: None)
    transfer.cancel()
    answer.callback(None)  # an error nobody handles would fail the test
    await turns(clock)
    assert source.stopped


@pytest_twisted.ensureDeferred
async def test_wait(clock: IReactorTime) -> None:
    """Who is told to wait asks again until there is some."""
    bank, time = Bank(2**40), Clock()
    bank.busy = True
    done = Deferred.fromCoroutine(Recorder().receive(Tap(ScriptedSource(bytes(10)), Allowance(time, bank.grant))))
    time.pump([PAUSE] * 5)
    assert not done.called
    assert len(bank.asked) == 6
    bank.busy = False
    time.advance(PAUSE)
    assert len(await done) == 10


@pytest_twisted.ensureDeferred
async def test_wait_in_vain() -> None:
    """At last it cannot wait any more."""
    bank, time = Bank(0), Clock()
    bank.busy = True
    done = Deferred.fromCoroutine(Recorder().receive(Tap(ScriptedSource(bytes(10)), Allowance(time, bank.grant))))
    time.pump([PAUSE] * int(PATIENCE / PAUSE - 1))
    assert not done.called
    time.pump([PAUSE] * 2)
    with pytest.raises(LimitExceeded):
        await done


@pytest_twisted.ensureDeferred
async def test_last_bytes_on_release() -> None:
    """What comes as soon as the source is released, and is all that was left to come, waits for its own answer."""
    answers: list[Deferred[int]] = []

    async def grant(needed: int, wanted: int, wait: bool) -> int:
        answers.append(Deferred())
        return await answers[-1]

    receiving = Deferred.fromCoroutine(
        Recorder().receive(Tap(ScriptedSource(bytes(600), bytes(401)), Allowance(Clock(), grant)))
    )
    answers[0].callback(1000)
    assert len(answers) == 2
    assert not receiving.called
    answers[1].errback(LimitExceeded("none left"))
    with pytest.raises(LimitExceeded):
        await receiving
