"""What is logged goes to files and to syslog as well, through Python's logging, as operators of Glance have it.

There is one log in a process, as Twisted and Python see it; so this is for programs, not for who embeds a service.
"""

from __future__ import annotations

import configparser
import logging
import logging.config
import logging.handlers
import syslog
from collections.abc import Iterator
from typing import Any, Final

from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent, globalLogPublisher
from zope.interface import implementer

from glancetx.config.settings import LogSettings
from glancetx.domain.errors import ConfigurationError
from glancetx.runtime.log import format_json, request_id

LEVELS: Final = {
    LogLevel.debug: logging.DEBUG,
    LogLevel.info: logging.INFO,
    LogLevel.warn: logging.WARNING,
    LogLevel.error: logging.ERROR,
    LogLevel.critical: logging.CRITICAL,
}
PRIORITIES: Final = (
    (logging.CRITICAL, syslog.LOG_CRIT),
    (logging.ERROR, syslog.LOG_ERR),
    (logging.WARNING, syslog.LOG_WARNING),
    (logging.INFO, syslog.LOG_INFO),
)
UNKNOWN: Final = "global_request_id user user_id user_name user_identity project project_id project_name tenant domain"
UNKNOWN_HERE: Final = {name: "-" for name in f"{UNKNOWN} system_scope user_domain project_domain".split()}
EMPTY_HERE: Final = {name: "" for name in ("instance", "resource", "color", "error_summary")}
"""What Glance's formats may name, and is not known of a line."""


def keep_logs(wanted: LogSettings) -> None:
    """From now on, what is logged goes where it is *wanted*, beside what twistd is told.

    :raises ConfigurationError: if it cannot be written there.
    """
    logging.raiseExceptions = False  # a full disk would be told to the log, which is on it
    try:
        if wanted.config is not None:
            logging.config.fileConfig(wanted.config, disable_existing_loggers=False)
        else:
            _keep(wanted)
    except (OSError, ValueError, KeyError, RuntimeError, ImportError, NameError, configparser.Error) as error:
        raise ConfigurationError(
            f"Nothing can be logged to {wanted.config or wanted.file}: {type(error).__name__}: {error}"
        ) from error
    globalLogPublisher.addObserver(Forwarder())


def _keep(wanted: LogSettings) -> None:
    lines = Lines(wanted.context_format, wanted.default_format, wanted.date_format)
    root = logging.getLogger()
    for handler in _handlers(wanted):
        handler.setFormatter(Objects() if wanted.json else lines)
        root.addHandler(handler)
    root.setLevel(logging.DEBUG if wanted.debug else logging.INFO)
    for name, level in wanted.levels:
        logging.getLogger(name).setLevel(level)


def _handlers(wanted: LogSettings) -> Iterator[logging.Handler]:
    if wanted.file is not None:
        yield logging.handlers.WatchedFileHandler(wanted.file, encoding="utf-8")
    if wanted.facility is not None:
        yield Syslog(wanted.program, wanted.facility)


@implementer(ILogObserver)
class Forwarder:
    """Gives events to Python's loggers, but for lines that are passed on for workers, who do the same."""

    def __call__(self, event: LogEvent) -> None:
        logger = logging.getLogger(event.get("log_namespace") or "twisted")
        level = LEVELS.get(event.get("log_level", LogLevel.info), logging.INFO)
        if not logger.isEnabledFor(level) or (logger.name == "glancetx.workers" and "line" in event):
            return
        text, failure = formatEvent(event), event.get("log_failure")
        if text or failure is not None:
            record = logger.makeRecord(logger.name, level, "", 0, text, (), None, extra={"event": event})
            record.exc_text = failure.getTraceback().rstrip() if failure is not None else None
            logger.handle(record)


class Lines(logging.Formatter):
    """Text: of a request by one format, of anything else by another. :raises ValueError: if there is no such format."""

    def __init__(self, of_request: str, of_others: str, date: str) -> None:
        super().__init__()
        defaults: dict[str, Any] = {"request_id": "-", **UNKNOWN_HERE, **EMPTY_HERE}
        self._of_request = logging.Formatter(of_request, date, defaults=defaults)
        self._of_others = logging.Formatter(of_others, date, defaults=defaults)
        for each in (self._of_request, self._of_others):
            each.format(logging.LogRecord("", logging.INFO, "", 0, "", (), None))

    def format(self, record: logging.LogRecord) -> str:
        if not (asked := request_id.get()):
            return self._of_others.format(record)
        record.request_id = asked
        return self._of_request.format(record)


class Objects(logging.Formatter):
    """JSON, as `format_json` has it."""

    def format(self, record: logging.LogRecord) -> str:
        event: LogEvent | None = getattr(record, "event", None)
        if event is None:
            levels = {number: level for level, number in LEVELS.items()}
            event = {
                "log_time": record.created,
                "log_level": levels.get(record.levelno, LogLevel.info),
                "log_namespace": record.name,
                "log_format": "{log_text}",
                "log_text": super().format(record),
            }
        return (format_json(event) or "").rstrip("\n")


class Syslog(logging.Handler):
    """Writes to the system's log as *program*."""

    def __init__(self, program: str, facility: int) -> None:
        super().__init__()
        syslog.openlog(program, syslog.LOG_PID, facility)

    def emit(self, record: logging.LogRecord) -> None:
        priority = next((own for level, own in PRIORITIES if record.levelno >= level), syslog.LOG_DEBUG)
        syslog.syslog(priority, self.format(record).replace("\0", " "))
