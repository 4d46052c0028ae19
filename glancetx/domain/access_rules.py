"""Which requests a restricted credential is good for, as Keystone's access rules say it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from attrs import frozen

_PART: Final = re.compile(r"(?P<below>\*\*)|(?P<one>\*|\{[^}]*\})|(?P<literal>[^*{]+|.)", re.DOTALL)


@frozen
class AccessRule:
    """A request that is allowed to a *service* (its type): *method* on *path*.

    In *path*, ``*`` and ``{name}`` stand for one segment, ``**`` for anything.
    """

    service: str
    method: str
    path: str

    def allows(self, method: str, path: str) -> bool:
        """Whether the rule names this request; *path* begins with a slash and is not percent-encoded."""
        return method == self.method and re.fullmatch(_pattern(self.path), path) is not None


def _pattern(path: str) -> str:
    found = ""
    for part in _PART.finditer(path):
        found += ".*" if part["below"] else "[^/]+" if part["one"] else re.escape(part["literal"])
    return f"(?s:{found})"


def any_allows(rules: Iterable[AccessRule], method: str, path: str) -> bool:
    """Whether one of the rules names this request."""
    return any(rule.allows(method, path) for rule in rules)
