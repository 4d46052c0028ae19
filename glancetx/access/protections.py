"""Which custom properties a caller may create, read, update and delete (config.md, section 5; api.md, section 12).

The rules stand in a file of the operator's: sections named by a regular expression, of which the first that is found
in a property's name decides. A name that none is found in is nobody's; administrators are no exception.
"""

from __future__ import annotations

import configparser
import os
import re
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Final

from attrs import frozen

from glancetx.access.policy import Policy
from glancetx.config.settings import AccessSettings
from glancetx.domain.context import RequestContext
from glancetx.domain.errors import ConfigurationError

CREATE: Final = "create"
READ: Final = "read"
UPDATE: Final = "update"
DELETE: Final = "delete"
OPERATIONS: Final = (CREATE, READ, UPDATE, DELETE)
EVERYBODY: Final = "@"
NOBODY: Final = "!"
REMEMBERED: Final = 4096  # names whose section is known

Check = Callable[[RequestContext], bool]


@frozen
class Section:
    """Who may do what with the properties in whose names *pattern* is found."""

    pattern: re.Pattern[str]
    checks: Mapping[str, Check]


class Protections:
    """Answers whether a context may do something with a custom property; everybody may do anything without a file.

    :raises ConfigurationError: if the file cannot be used.
    """

    def __init__(self, settings: AccessSettings, policy: Policy) -> None:
        self._policy = policy
        path = _find(settings)
        self.active = path is not None
        """Whether there are any rules."""
        self._sections: list[Section] = []
        if path is not None:
            read = {"roles": self._of_roles, "policies": self._of_policy}[settings.property_protection_rule_format]
            self._sections = [*_service_section(), *_sections(path, read)]
        self._section = lru_cache(REMEMBERED)(self._find)

    def allows(self, operation: str, name: str, context: RequestContext) -> bool:
        """Whether *context* may do *operation* with the property *name*."""
        if not self.active:
            return True
        section = self._section(name)
        return section is not None and section.checks[operation](context)

    def _find(self, name: str) -> Section | None:
        return next((section for section in self._sections if section.pattern.search(name)), None)

    def _of_roles(self, text: str) -> Check:
        """Of a list of roles; what a service that vouches for the caller has counts as well."""
        roles = frozenset(role.strip().lower() for role in text.split(",")) - {""}
        if {EVERYBODY, NOBODY} <= roles:
            raise ValueError(f"{EVERYBODY} and {NOBODY} exclude each other")
        if EVERYBODY in roles:
            return _everybody
        wanted = roles - {NOBODY}
        return lambda context: not wanted.isdisjoint(context.roles) or not wanted.isdisjoint(context.service_roles)

    def _of_policy(self, text: str) -> Check:
        """Of the name of a policy rule, which is asked about no image in particular."""
        rule = text.strip()
        if rule == EVERYBODY:
            return _everybody
        if rule == NOBODY:
            return lambda context: False
        if not self._policy.knows(rule):
            raise ValueError(f"there is no policy rule {rule!r}")
        return lambda context: self._policy.knows(rule) and self._policy.allows(rule, context, {})


def _everybody(context: RequestContext) -> bool:
    return True


def _service_section() -> Iterator[Section]:
    """The service's own properties are for everybody to see; that nobody writes them is told elsewhere (A-262)."""
    yield Section(re.compile("os_glance.*"), dict.fromkeys(OPERATIONS, _everybody))


def _sections(path: Path, read: Callable[[str], Check]) -> Iterator[Section]:
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(path.read_text(encoding="utf-8"), source=str(path))
        for name in parser.sections():
            if name.startswith("os_glance"):
                continue
            missing = [operation for operation in OPERATIONS if operation not in parser[name]]
            if missing:
                raise ValueError(f"[{name}] does not say who may {', '.join(missing)}")
            yield Section(re.compile(name), {operation: read(parser[name][operation]) for operation in OPERATIONS})
    except (OSError, ValueError, configparser.Error, re.error) as error:
        raise ConfigurationError(f"The property protection file {path} cannot be used: {error}") from error


def _find(settings: AccessSettings) -> Path | None:
    """Where the file is. :raises ConfigurationError: if one is named, and not there."""
    name = settings.property_protection_file
    if not name:
        return None
    places = [Path(name)] if os.path.isabs(name) else [folder / name for folder in settings.config_dirs]
    for path in places:
        if path.is_file():
            return path
    raise ConfigurationError(f"property_protection_file = {name}: there is no such file")
