"""What of a Glance's paste file has a meaning here: compression, the image cache, and how the health check is set up
(config.md, 4).

Which filters ask who is calling is told by ``flavor``; the other filters are what every service of ours does.
"""

from __future__ import annotations

import configparser
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from attrs import field, frozen

from glancetx.domain.errors import ConfigurationError

CACHE: Final = "glance.api.middleware.cache:"
CACHE_MANAGE: Final = "glance.api.middleware.cache_manage:"
GZIP: Final = "glance.api.middleware.gzip:"
HEALTHCHECK: Final = "oslo_middleware:Healthcheck."


@frozen(kw_only=True)
class Pipeline:
    """*health* are the options of the health check, None if there is no file that says anything of one.

    *cache*: downloads go through the image cache; *cache_manage*: there is the old API of its management.
    """

    gzip: bool = False
    cache: bool = False
    cache_manage: bool = False
    health: Mapping[str, str] | None = field(default=None)


def read_pipeline(path: Path | None, flavor: str | None) -> Pipeline:
    """What the file at *path* says of the pipeline *flavor*. :raises ConfigurationError: if it cannot be read."""
    named = (flavor or "").rpartition("+")[2]
    if path is None:
        return Pipeline(cache=named in ("caching", "cachemanagement"), cache_manage=named == "cachemanagement")
    parser = configparser.RawConfigParser(strict=False)
    try:
        parser.read_string(path.read_text(encoding="utf-8"), source=str(path))
    except (OSError, ValueError, configparser.Error) as error:
        raise ConfigurationError(f"The paste file {path} cannot be read: {error}") from error
    sections = {name: dict(parser[name]) for name in parser.sections()}
    name = f"glance-api-{flavor}" if flavor else "glance-api"
    routes = sections.get(f"composite:{name}", {})
    chosen = sections.get(f"composite:{routes.get('/', '')}", {}).get(flavor or "default")
    if chosen is None:
        chosen = sections.get(f"pipeline:{name}", {}).get("pipeline", "")
    filters = [sections.get(f"filter:{each}", {}) for each in chosen.split()]
    health = [sections.get(f"app:{routes.get('/healthcheck', '')}", {}), *filters]
    factories = [each.get("paste.filter_factory", "") for each in filters]
    return Pipeline(
        gzip=any(each.startswith(GZIP) for each in factories),
        cache=any(each.startswith(CACHE) for each in factories),
        cache_manage=any(each.startswith(CACHE_MANAGE) for each in factories),
        health=next((_options(each, path) for each in health if _is_health(each)), None),
    )


def find_paste_file(named: str | None, files: Iterable[str | Path], folders: Iterable[Path]) -> Path | None:
    """The file that Glance would read (C-003): the one that is *named*, or the one beside the last of *files*.

    :raises ConfigurationError: if the one that is named is not there.
    """
    last = [Path(path) for path in files][-1:]
    names = [named] if named else [f"{path.stem}-paste.ini" for path in last]
    path = next((path for name in names for folder in folders if (path := folder / name).is_file()), None)
    if named and path is None:
        raise ConfigurationError(f"[paste_deploy] config_file = {named}: there is no such file")
    return path


def _is_health(section: Mapping[str, str]) -> bool:
    return any(section.get(key, "").startswith(HEALTHCHECK) for key in ("paste.app_factory", "paste.filter_factory"))


def _options(section: Mapping[str, str], path: Path) -> Mapping[str, str]:
    here = str(path.absolute().parent)
    return {name: value.replace("%(here)s", here) for name, value in section.items() if not name.startswith("paste.")}
