"""The options of oslo.log: where the log goes beside what twistd's own options say, in which form, how much of it."""

from __future__ import annotations

import logging
import syslog
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from oslo_config import cfg

from glancetx.config.settings import LogSettings
from glancetx.domain.errors import ConfigurationError

PROGRAM: Final = "glance-api"
LINE: Final = "%(asctime)s.%(msecs)03d %(process)d %(levelname)s %(name)s "

LOGS: Final = [
    cfg.BoolOpt("debug", default=False, help="Log what is of debug level, too. (twistd's own log always has it.)"),
    cfg.StrOpt(
        "log_config_append",
        deprecated_name="log_config",
        help="A configuration file of Python's logging, in place of all other options of logs.",
    ),
    cfg.StrOpt("log_file", deprecated_name="logfile", help="File that has the log too; moved away, it is made again."),
    cfg.StrOpt(
        "log_dir", deprecated_name="logdir", help=f"Folder of log_file; without that, the file is {PROGRAM}.log in it."
    ),
    cfg.StrOpt("log_date_format", default="%Y-%m-%d %H:%M:%S", help="How strftime writes the time of a line."),
    cfg.BoolOpt("use_syslog", default=False, help=f"Syslog has the log too, as that of {PROGRAM}."),
    cfg.StrOpt("syslog_log_facility", default="LOG_USER", help="Its facility, such as LOG_LOCAL0."),
    cfg.BoolOpt("use_json", default=False, help="One JSON object a line, as docs/running.md tells."),
    cfg.StrOpt(
        "logging_context_format_string",
        default=f"{LINE}[%(global_request_id)s %(request_id)s %(user_identity)s] %(instance)s%(message)s",
        help="A line on behalf of a request, in the words of Python's logging.",
    ),
    cfg.StrOpt("logging_default_format_string", default=f"{LINE}[-] %(instance)s%(message)s", help="Any other line."),
    cfg.ListOpt(
        "default_log_levels",
        default=["sqlalchemy=WARN", "pika=WARN", "urllib3=WARN"],
        help="The least level of loggers and of those below them: NAME=LEVEL,...",
    ),
    cfg.BoolOpt("use_stderr", default=False, help="Read for compatibility: twistd's options say what its output has."),
    cfg.BoolOpt("use_journal", default=False, help="Read for compatibility: below systemd, the output goes there."),
]


def log_settings(conf: Any) -> LogSettings | None:
    """None: it goes nowhere else. :raises ConfigurationError: if a level or the facility is none."""
    facility, levels = _facility(conf.syslog_log_facility), tuple(_levels(conf.default_log_levels))
    folder, file = conf.log_dir or "", conf.log_file or (f"{PROGRAM}.log" if conf.log_dir else "")
    if not (conf.log_config_append or file or conf.use_syslog):
        return None
    return LogSettings(
        program=PROGRAM,
        config=Path(conf.log_config_append) if conf.log_config_append else None,
        file=Path(folder, file) if file else None,
        facility=facility if conf.use_syslog else None,
        levels=levels,
        debug=conf.debug,
        json=conf.use_json,
        date_format=conf.log_date_format,
        context_format=conf.logging_context_format_string,
        default_format=conf.logging_default_format_string,
    )


def _facility(name: str) -> int:
    name = name.upper()
    found = getattr(syslog, name if name.startswith("LOG_") else f"LOG_{name}", None)
    if not isinstance(found, int):
        raise ConfigurationError(f"syslog_log_facility = {name}: there is no such facility")
    return found


def _levels(pairs: list[str]) -> Iterator[tuple[str, int]]:
    for pair in pairs:
        name, _, text = pair.partition("=")
        level = int(text) if text.isdecimal() else logging.getLevelNamesMapping().get(text.upper())
        if level is None:
            raise ConfigurationError(f"default_log_levels: {pair}: not NAME=LEVEL, with a level such as INFO or WARN")
        yield name, level
