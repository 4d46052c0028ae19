"""Lists of a large catalogue and of a small one: SQLite runs as many instructions for both."""

from __future__ import annotations

from pathlib import Path

from glancetx.config.settings import DatabaseSettings
from glancetx.db.engine import transact
from glancetx.db.migrations import prepare
from tests.bench.catalogue import fill
from tests.bench.list_scale import SMALL, begun, count, questions

LARGE = 4 * SMALL
MORE = 1.2


def filled(folder: Path, images: int) -> DatabaseSettings:
    settings = DatabaseSettings(connection=f"sqlite:///{folder}/{images}.sqlite")
    transact(settings, prepare)
    transact(settings, fill, images)
    return settings


def test_growth(tmp_path: Path) -> None:
    """Every list without a filter costs the same, whoever asks, on the first page and on a later one."""
    small, large = filled(tmp_path, SMALL), filled(tmp_path, LARGE)
    for question in questions():
        if question.bound > MORE:  # what a filter finds differs
            continue
        few, many = (count(each, question, begun(each, question)) for each in (small, large))
        assert many <= MORE * few, (question.name, few, many)
