"""The table of policy rules."""

from __future__ import annotations

from importlib.metadata import entry_points

from oslo_policy.policy import DocumentedRuleDefault

from glancetx.access.rules import list_rules


def test_every_rule_is_there_once() -> None:
    """Glance 33 has 67 rules; so have we, each once."""
    names = [rule.name for rule in list_rules()]
    assert len(names) == len(set(names)) == 67


def test_api_rules_name_their_requests() -> None:
    """A documented rule tells method and path, and is for project-scoped callers."""
    rules = {rule.name: rule for rule in list_rules()}
    upload = rules["upload_image"]
    assert isinstance(upload, DocumentedRuleDefault)
    assert upload.operations == [{"method": "PUT", "path": "/v2/images/{image_id}/file"}]
    assert upload.scope_types == ["project"]
    assert upload.check_str == "rule:context_is_admin or (role:member and project_id:%(project_id)s)"


def test_the_tools_of_oslo_policy_find_the_rules() -> None:
    """The entry point that ``oslopolicy-*`` tools use leads here."""
    (found,) = (point for point in entry_points(group="oslo.policy.policies") if point.name == "glancetx")
    assert found.load() is list_rules


def test_old_defaults() -> None:
    """Rules that had other defaults once tell them."""
    old = {rule.name: rule.deprecated_rule.check_str for rule in list_rules() if rule.deprecated_rule}
    assert old["get_image"] == "rule:default"
    assert old["get_metadef_tags"] == "rule:metadef_default"
    assert old["cache_list"] == "rule:manage_image_cache"
    assert len(old) == 1 + 18 + 3 + 10 + 3
    assert "publicize_image" not in old
