"""Compiled checks mean what oslo.policy's own evaluation means."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from oslo_config import cfg
from oslo_policy import policy

from glancetx.access.checks import CREDENTIALS, compile_rules
from glancetx.domain.context import RequestContext
from glancetx.domain.errors import ConfigurationError

LEAVES = (
    "role:admin",
    "role:Member",
    "role:%(wanted_role)s",
    "project_id:%(project_id)s",
    "project_id:%(absent)s",
    "project_id:p1",
    "user_id:%(owner)s-%(visibility)s",
    "'public':%(visibility)s",
    "True:%(protected)s",
    "None:%(member_id)s",
    "roles:member",
    "unknown:%(owner)s",
    "system_scope:None",
    "system_scope:all",
    "system:all",
    "system:None",
    "domain_id:d1",
    "is_admin_project:True",
    "service_roles:service",
    "service_user_id:nova",
    "service_project_domain_id:None",
    "rule:other",
    "rule:undefined",
    "@",
    "!",
)
EXPRESSIONS = st.recursive(
    st.sampled_from(LEAVES),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(("and", "or")), inner).map(" ".join),
        inner.map("({})".format),
        st.sampled_from(LEAVES).map("not {}".format),
    ),
    max_leaves=8,
)
CONTEXTS = st.builds(
    RequestContext,
    project_id=st.sampled_from((None, "p1", "p2")),
    user_id=st.sampled_from((None, "u", "u-public")),
    roles=st.frozensets(st.sampled_from(("admin", "member", "reader"))),
    domain_id=st.sampled_from((None, "d1")),
    system_scope=st.sampled_from((None, "all")),
    is_admin_project=st.booleans(),
    service_user_id=st.sampled_from((None, "nova")),
    service_roles=st.frozensets(st.sampled_from(("service", "admin"))),
)
TARGETS = st.fixed_dictionaries(
    {"visibility": st.sampled_from(("public", "shared")), "protected": st.booleans(), "member_id": st.none()},
    optional={
        "project_id": st.sampled_from((None, "p1", "p2")),
        "owner": st.just("u"),
        "wanted_role": st.sampled_from(("READER", "nobody")),
    },
)


def credentials(context: RequestContext) -> dict[str, Any]:
    """What oslo.policy is given by oslo.context."""
    asked = set(CREDENTIALS) - {"is_admin"}
    values = {name: getattr(context, name) for name in asked}
    return {**values, "roles": sorted(context.roles), "service_roles": sorted(context.service_roles)}


def rules_of(**texts: str) -> policy.Rules:
    return policy.Rules.from_dict(texts, "default")


@given(EXPRESSIONS, CONTEXTS, TARGETS)
def test_answers_are_those_of_oslo_policy(text: str, context: RequestContext, target: dict[str, Any]) -> None:
    """For any expression, caller and target, both give the same answer."""
    conf = cfg.ConfigOpts()
    conf([], default_config_files=[], default_config_dirs=[])
    rules = rules_of(asked=text, other="role:reader or 'shared':%(visibility)s", default="")
    enforcer = policy.Enforcer(conf, rules=rules, default_rule="default", use_conf=False)
    expected = bool(enforcer.enforce("asked", target, credentials(context)))
    assert compile_rules(rules)["asked"](target, context) is expected


def test_a_circle_of_rules_is_refused() -> None:
    """Rules that refer to each other would never give an answer."""
    with pytest.raises(ConfigurationError, match="circle"):
        compile_rules(rules_of(a="rule:b", b="role:x or rule:a"))


def test_a_rule_that_asks_another_server_is_refused() -> None:
    """A remote check would make the reactor wait."""
    with pytest.raises(ConfigurationError, match="another server"):
        compile_rules(rules_of(a="http://127.0.0.1/%(owner)s"))


@pytest.mark.parametrize("text", ["role:%(x)d", "role:100%", "project_id:%(a", "a&:x"])
def test_a_template_that_could_fail_is_refused(text: str) -> None:
    """What oslo.policy would stumble over at a request is noticed when the file is read."""
    with pytest.raises(ConfigurationError):
        compile_rules(rules_of(a=text))


def test_is_admin_can_be_asked_for() -> None:
    """``is_admin:True`` means the context's own flag (C-113)."""
    check = compile_rules(rules_of(a="is_admin:True"))["a"]
    assert check({}, RequestContext(is_admin=True))
    assert not check({}, RequestContext())


def test_a_rule_without_a_default_to_fall_back_on_says_no() -> None:
    """An unknown rule is closed if there is no rule ``default``."""
    assert not compile_rules(rules_of(a="rule:b"))["a"]({}, RequestContext())
