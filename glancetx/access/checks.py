"""From the check trees that oslo.policy parses to plain functions that answer in a microsecond or two.

oslo.policy evaluates its own trees by inspecting the signature of every node each time, which costs more than a
whole request may. So each tree is turned into closures once, when policy files are read. The meaning is
oslo.policy's, except that what it would only notice at a request (a cycle, a bad template) is refused at once.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping
from functools import cache
from operator import attrgetter
from typing import Any, Final

from oslo_policy import _checks as parsed
from oslo_policy.policy import Rules

from glancetx.domain.context import RequestContext
from glancetx.domain.errors import ConfigurationError

Target = Mapping[str, Any]
Check = Callable[[Target, RequestContext], bool]
Text = Callable[[Target], str]

# What `kind` in a check `kind:match` may name: the credentials oslo.context offers, and is_admin (C-113).
CREDENTIALS: Final[Mapping[str, Callable[[RequestContext], Any]]] = {
    name: attrgetter(name)
    for name in (
        "user_id",
        "user_domain_id",
        "project_id",
        "project_domain_id",
        "domain_id",
        "system_scope",
        "is_admin",
        "is_admin_project",
        "service_user_id",
        "service_user_domain_id",
        "service_project_id",
        "service_project_domain_id",
    )
}
# A kind that is a literal is nobody's: what is installed need not be asked, which takes longer than all else here.
_LITERAL: Final = re.compile(r"""'.*'|".*"|True|False""")
_PLACE: Final = re.compile(r"%\(([^()]+)\)s")


class _Refused(parsed.Check):
    """A check of a kind that something installed adds to oslo.policy, such as ``http:``."""

    def __call__(self, *args: Any, **kwargs: Any) -> bool:
        return False


class _AddedKinds(dict[str, Callable[..., parsed.Check]]):
    """The kinds of checks that are added to oslo.policy by what is installed: known, refused, and never loaded.

    oslo.policy loads them all before it parses the first rule: requests, urllib3 and more, 4.5 MB for nothing.
    """

    def __contains__(self, kind: object) -> bool:
        known = kind in parsed.registered_checks or kind in CREDENTIALS or _LITERAL.fullmatch(str(kind))
        return not known and kind in _added_kinds()

    def __getitem__(self, kind: str) -> Callable[..., parsed.Check]:
        return _Refused


@cache
def _added_kinds() -> frozenset[str]:
    from importlib.metadata import entry_points  # which few policies need

    return frozenset(point.name for point in entry_points(group="oslo.policy.rule_checks"))


parsed.extension_checks = _AddedKinds()


def compile_rules(rules: Rules) -> dict[str, Check]:
    """A function for each rule.

    :raises ConfigurationError: if a rule refers to itself, asks another server, or cannot be understood.
    """
    compiler = _Compiler(rules)
    return {name: compiler.rule(name) for name in rules}


class _Compiler:
    """Remembers what is done already, and what is being done, to notice rules that go in circles."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._done: dict[str, Check] = {}
        self._open: list[str] = []

    def rule(self, name: str) -> Check:
        if name not in self._done:
            if name in self._open:
                raise ConfigurationError(f"Policy rules refer to each other in a circle: {self._open}")
            try:
                tree = self._rules[name]  # an unknown name means the rule `default`, as oslo.policy has it
            except KeyError:
                return _never
            self._open.append(name)
            self._done[name] = self._tree(tree)
            self._open.pop()
        return self._done[name]

    def _tree(self, tree: Any) -> Check:
        kind = type(tree)
        if kind is parsed.AndCheck:
            return _all([self._tree(branch) for branch in tree.rules])
        if kind is parsed.OrCheck:
            return _any([self._tree(branch) for branch in tree.rules])
        if kind is parsed.NotCheck:
            return _not(self._tree(tree.rule))
        if kind is parsed.RuleCheck:
            return self.rule(tree.match)
        if kind in _LEAVES:
            return _LEAVES[kind](tree)
        raise ConfigurationError(
            f"Policy rule {self._open[-1]}: the check {tree} is not supported (it would wait for another server)"
        )


def _never(target: Target, context: RequestContext) -> bool:
    return False


def _always(target: Target, context: RequestContext) -> bool:
    return True


def _all(checks: list[Check]) -> Check:
    def every(target: Target, context: RequestContext) -> bool:
        for check in checks:  # noqa: SIM110 - all() with a generator costs twice as much here
            if not check(target, context):
                return False
        return True

    return every


def _any(checks: list[Check]) -> Check:
    def some(target: Target, context: RequestContext) -> bool:
        for check in checks:  # noqa: SIM110 - as above
            if check(target, context):
                return True
        return False

    return some


def _not(check: Check) -> Check:
    return lambda target, context: not check(target, context)


def _role(tree: parsed.RoleCheck) -> Check:
    wanted = _text(tree.match)
    if "%" not in tree.match:
        name = tree.match.lower()
        return lambda target, context: name in context.roles
    return _found(lambda target, context: wanted(target).lower() in context.roles)


def _generic(tree: parsed.GenericCheck) -> Check:
    wanted = _text(tree.match)
    try:
        literal = str(ast.literal_eval(tree.kind))
    except ValueError:
        return _credential(tree.kind, wanted)
    except SyntaxError as error:
        raise ConfigurationError(f"Policy check {tree}: {tree.kind} is neither a name nor a literal") from error
    return _found(lambda target, context: wanted(target) == literal)


def _credential(name: str, wanted: Text) -> Check:
    if name == "roles":
        return _found(lambda target, context: wanted(target) in context.roles)
    if name == "service_roles":
        return _found(lambda target, context: wanted(target) in context.service_roles)
    if name == "system":  # only of callers who have it
        return _found(
            lambda target, context: context.system_scope is not None and wanted(target) == context.system_scope
        )
    if name not in CREDENTIALS:
        return _never
    credential = CREDENTIALS[name]
    return _found(lambda target, context: wanted(target) == str(credential(context)))


def _found(check: Check) -> Check:
    """*check*, or no if the target lacks what the check asks for."""

    def answer(target: Target, context: RequestContext) -> bool:
        try:
            return check(target, context)
        except KeyError:
            return False

    return answer


def _text(template: str) -> Text:
    """What *template* says with the target's values in it."""
    if place := _PLACE.fullmatch(template):
        name = place[1]
        return lambda target: str(target[name])
    if "%" in _PLACE.sub("", template).replace("%%", ""):
        raise ConfigurationError(f"Policy check with a template that cannot be filled: {template}")
    return lambda target: template % target


_LEAVES: Final[dict[type, Callable[[Any], Check]]] = {
    parsed.TrueCheck: lambda tree: _always,
    parsed.FalseCheck: lambda tree: _never,
    parsed.RoleCheck: _role,
    parsed.GenericCheck: _generic,
}
