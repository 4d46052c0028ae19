"""Lines, objects and levels, as Python's logging has them; what cannot be logged to is refused."""

from __future__ import annotations

import io
import json
import logging
import re
import syslog
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import evolve
from twisted.logger import Logger, LogPublisher
from twisted.python.failure import Failure

from glancetx.assembly.logs import Forwarder, Lines, Objects, Syslog, keep_logs
from glancetx.config.loading import read_files
from glancetx.config.logs import log_settings
from glancetx.config.settings import LogSettings
from glancetx.domain.errors import ConfigurationError
from glancetx.runtime.log import request_id

HERE = "tests.of.logs"


@pytest.fixture
def wanted(tmp_path: Path) -> LogSettings:
    """What there is with a file."""
    return settings_of(tmp_path, "log_file = /a/b.log")


def settings_of(folder: Path, text: str) -> LogSettings:
    (folder / "glance-api.conf").write_text(f"[DEFAULT]\n{text}\n")
    settings = log_settings(read_files([folder / "glance-api.conf"], []))
    assert settings is not None
    return settings


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """What a handler of Python's logger `HERE` writes."""
    output = io.StringIO()
    handler, logger = logging.StreamHandler(output), logging.getLogger(HERE)
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    yield output
    logger.removeHandler(handler)


def use(formatter: logging.Formatter) -> None:
    for handler in logging.getLogger(HERE).handlers:
        handler.setFormatter(formatter)


@pytest.fixture
def log() -> Logger:
    """Of Twisted, whose events go to Python's logger."""
    return Logger(namespace=HERE, observer=LogPublisher(Forwarder()))


def test_lines(wanted: LogSettings, written: io.StringIO, log: Logger) -> None:
    """Time, process, level, name, the request if there is one, text; then the traceback. Not what is of debug level."""
    use(Lines(wanted.context_format, wanted.default_format, wanted.date_format))
    log.debug("unseen")
    log.warn("{what} seen", what="is")
    request_id.set("req-1")
    log.failure("broken", Failure(ValueError("why")))
    logging.getLogger(HERE).info("by %s", "a library")
    request_id.set("")
    first, second, *rest = written.getvalue().splitlines()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} \d+ WARNING tests\.of\.logs \[-\] is seen", first)
    assert second.endswith(" CRITICAL tests.of.logs [- req-1 -] broken")
    assert "Failure: builtins.ValueError: why" in rest
    assert rest[-1].endswith(" INFO tests.of.logs [- req-1 -] by a library")


def test_objects(written: io.StringIO, log: Logger) -> None:
    """JSON, also of what Python's own loggers get."""
    use(Objects())
    log.error("{what} seen", what="is")
    logging.getLogger(HERE).warning("by %s", "a library")
    found = [json.loads(line) for line in written.getvalue().splitlines()]
    assert [(each["level"], each["logger"], each["message"]) for each in found] == [
        ("error", HERE, "is seen"),
        ("warn", HERE, "by a library"),
    ]
    assert found[0]["what"] == "is"


def test_syslog(log: Logger, written: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each event has its priority there."""
    sent: list[tuple[int, str]] = []
    monkeypatch.setattr(syslog, "syslog", lambda priority, text: sent.append((priority, text)))
    logger, handler = logging.getLogger(HERE), Syslog("glance-api", syslog.LOG_LOCAL0)
    logger.addHandler(handler)
    log.warn("one\0line")
    log.info("another")
    logger.removeHandler(handler)
    assert sent == [(syslog.LOG_WARNING, "one line"), (syslog.LOG_INFO, "another")]


def test_files_and_folders(tmp_path: Path) -> None:
    """A file by itself, in a folder, or by the program's name in a folder."""
    texts = ("log_file = /a/b.log", "log_dir = /c", "log_file = d.log\nlog_dir = /c", "logfile = /former")
    found = [str(settings_of(tmp_path, text).file) for text in texts]
    assert found == ["/a/b.log", "/c/glance-api.log", "/c/d.log", "/former"]


def test_refused(wanted: LogSettings, tmp_path: Path) -> None:
    """A file that cannot be written, a format with names nobody knows, a configuration that is none."""
    (tmp_path / "no.ini").write_text("[loggers]\n")
    for wrong in (
        evolve(wanted, file=tmp_path / "nowhere" / "x.log"),
        evolve(wanted, file=tmp_path / "x.log", context_format="%(nothing)s"),
        evolve(wanted, config=tmp_path / "no.ini"),
        evolve(wanted, config=tmp_path / "missing.ini"),
    ):
        with pytest.raises(ConfigurationError, match="logged"):
            keep_logs(wrong)
