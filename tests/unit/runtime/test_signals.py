"""SIGHUP, SIGTERM and a second SIGTERM."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from twisted.logger import LogLevel, capturedLogs

from glancetx.runtime.signals import Hangup, Impatience, Termination


class Turns:
    """A reactor which does what was asked for when told so."""

    def __init__(self) -> None:
        self.asked: list[Callable[[], object]] = []
        self.starting: list[tuple[Callable[..., object], Any]] = []
        self.stopped = 0

    def callFromThread(self, call: Callable[[], object]) -> None:
        self.asked.append(call)

    def callWhenRunning(self, call: Callable[..., object], *arguments: Any) -> None:
        self.starting.append((call, arguments))

    def stop(self) -> None:
        self.stopped += 1

    def turn(self) -> None:
        asked, self.asked = self.asked, []
        for call in asked:
            call()


@pytest.fixture
def reactor() -> Turns:
    return Turns()


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    """The handlers are as before when a test has ended."""
    numbers = (signal.SIGHUP, signal.SIGTERM, signal.SIGINT)
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def send(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)


def test_hangup(reactor: Turns) -> None:
    """Each SIGHUP reloads once, in the reactor, between telling that it does and that it is done."""
    calls: list[str] = []
    reloads = [lambda: calls.append("one"), lambda: calls.append("two")]
    hangup = Hangup(reactor, reloads, lambda: calls.append("before"), lambda: calls.append("after"))
    hangup.startService()
    send(signal.SIGHUP)
    assert calls == []
    reactor.turn()
    assert calls == ["before", "one", "two", "after"]


def test_failed_reload(reactor: Turns) -> None:
    """A part which cannot be reloaded is logged; the others are reloaded, and it is told that all is done."""
    calls: list[str] = []

    def broken() -> None:
        raise ValueError("this is why")

    hangup = Hangup(reactor, [broken, lambda: calls.append("other")], after=lambda: calls.append("after"))
    with capturedLogs() as events:
        hangup.reload()
    assert calls == ["other", "after"]
    (failure,) = [event["log_failure"] for event in events if event["log_level"] == LogLevel.critical]
    assert "this is why" in failure.getErrorMessage()


def test_late_hangup(reactor: Turns) -> None:
    """SIGHUP while the process ends does nothing."""
    hangup = Hangup(reactor, [])
    hangup.startService()
    hangup.stopService()
    send(signal.SIGHUP)
    assert reactor.asked == []


def test_termination(reactor: Turns) -> None:
    """SIGTERM stops the reactor, once; the handler comes after the reactor's own."""
    termination = Termination(reactor)
    termination.startService()
    ((install, arguments),) = reactor.starting
    install(*arguments)
    send(signal.SIGTERM)
    assert reactor.stopped == 0
    reactor.turn()
    assert reactor.stopped == 1
    termination.stopService()
    send(signal.SIGTERM)
    reactor.turn()
    assert reactor.stopped == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_impatience(reactor: Turns, number: signal.Signals) -> None:
    """A signal in the context hurries, in the reactor; the next one of its kind would end the process."""
    hurried: list[bool] = []
    before = signal.getsignal(number)
    with Impatience(reactor, lambda: hurried.append(True)):
        send(number)
        assert hurried == []
        reactor.turn()
        assert hurried == [True]
        assert signal.getsignal(number) is signal.SIG_DFL
    assert signal.getsignal(number) is before
