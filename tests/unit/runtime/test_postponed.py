"""Modules that are loaded when something of them is used."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from types import ModuleType

import pytest

from glancetx.runtime.postponed import postpone

NAME = "postponed_by_a_test"
TEXT = """
from tests.unit.runtime.test_postponed import meanwhile
first = 1
meanwhile()
last = 2
"""
seen: list[int] = []
others: list[Thread] = []


def meanwhile() -> None:
    """Another thread uses the module as well."""
    other = Thread(target=lambda: seen.append(sys.modules[NAME].last))
    others.append(other)
    other.start()
    other.join(0.2)  # who does not wait has ended by then


@pytest.fixture
def postponed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    (tmp_path / f"{NAME}.py").write_text(TEXT)
    monkeypatch.syspath_prepend(tmp_path)
    postpone(NAME)
    yield __import__(NAME)
    others.pop().join()
    del sys.modules[NAME]
    seen.clear()


def test_threads_wait_for_the_first(postponed: ModuleType) -> None:
    """Nobody sees a module half loaded, but what it loads itself."""
    assert "first" not in vars(postponed)
    assert postponed.first == 1
    others[0].join()
    assert seen == [2]


def test_what_is_not_there(postponed: ModuleType) -> None:
    with pytest.raises(AttributeError, match=f"'{NAME}' has no attribute 'another'"):
        _ = postponed.another
    assert postponed.last == 2
