"""Options in configuration files that mean nothing to us. Like Glance we accept them (C-005, C-155), but we tell."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from oslo_config import cfg

from glancetx.config.options import GROUPS
from glancetx.domain.errors import ConfigurationError

FORMER: Final = {
    (former.group or group, former.name or option.name)
    for group, options in GROUPS.items()
    for option in options
    for former in option.deprecated_opts
}


def ignored_options(conf: Any, files: Iterable[str | Path], dirs: Iterable[str | Path]) -> tuple[str, ...]:
    """``[group] name`` of each option in these files that *conf* does not know; of an unknown group, ``[group]``.

    :raises ConfigurationError: if a file cannot be read.
    """
    return tuple(dict.fromkeys(_ignored(conf, [*files, *_in_folders(dirs)])))


def _in_folders(dirs: Iterable[str | Path]) -> Iterator[Path]:
    for folder in dirs:
        yield from sorted(Path(folder).glob("*.conf"))


def _ignored(conf: Any, files: Sequence[str | Path]) -> Iterator[str]:
    for path in files:
        for group, names in _parse(path).items():
            if group != "DEFAULT" and group not in conf:
                yield f"[{group}]"
            else:
                yield from (f"[{group}] {name}" for name in names if not _known(conf, group, name))


def _parse(path: str | Path) -> dict[str, dict[str, list[str]]]:
    found: dict[str, dict[str, list[str]]] = {}
    try:
        cfg.ConfigParser(str(path), found).parse()
    except (OSError, ValueError, cfg.ParseError) as error:
        raise ConfigurationError(str(error)) from error
    return found


def _known(conf: Any, group: str, name: str) -> bool:
    known = name in (conf if group == "DEFAULT" else conf[group])
    return known or (group if group in GROUPS else "backend_defaults", name) in FORMER
