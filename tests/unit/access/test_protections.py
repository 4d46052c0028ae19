"""The file that says who may touch which custom properties (C-100..C-104)."""

from __future__ import annotations

from pathlib import Path

import pytest

from glancetx.access.policy import Policy
from glancetx.access.protections import OPERATIONS, Protections
from glancetx.config.settings import AccessSettings
from glancetx.domain.context import RequestContext
from glancetx.domain.errors import ConfigurationError

MEMBER = RequestContext(project_id="p", roles=frozenset({"member", "reader"}))
ADMIN = RequestContext(project_id="p", roles=frozenset({"admin"}), is_admin=True)
VOUCHED = RequestContext(project_id="p", roles=frozenset({"reader"}), service_roles=frozenset({"service"}))


def section(pattern: str, **changes: str) -> str:
    values = dict.fromkeys(OPERATIONS, "member") | changes
    return f"[{pattern}]\n" + "".join(f"{name} = {value}\n" for name, value in values.items())


def protections(folder: Path, text: str, form: str = "roles", rules: str = "") -> Protections:
    (folder / "protections.conf").write_text(text)
    (folder / "policy.yaml").write_text(rules)
    settings = AccessSettings(
        config_dirs=(folder,), property_protection_file="protections.conf", property_protection_rule_format=form
    )
    return Protections(settings, Policy(settings))


def test_no_file() -> None:
    """Without a file everybody may do anything."""
    settings = AccessSettings()
    everything = Protections(settings, Policy(settings))
    assert not everything.active
    assert all(everything.allows(operation, "x", MEMBER) for operation in OPERATIONS)


def test_operations(tmp_path: Path) -> None:
    """Each operation has its own roles; roles have no case; a service that vouches lends its own."""
    some = protections(tmp_path, section("^x_", create="Admin, MEMBER", read="@", update="service", delete=""))
    assert [some.allows(operation, "x_1", MEMBER) for operation in OPERATIONS] == [True, True, False, False]
    assert [some.allows(operation, "x_1", ADMIN) for operation in OPERATIONS] == [True, True, False, False]
    assert [some.allows(operation, "x_1", VOUCHED) for operation in OPERATIONS] == [False, True, True, False]


def test_first_section_decides(tmp_path: Path) -> None:
    """The pattern may be found anywhere in a name; what matches nothing is nobody's, not even an administrator's."""
    some = protections(tmp_path, section("part", read="!") + section("^a", read="@") + section("%[0-9]+$"))
    assert not some.allows("read", "a_part_of", ADMIN)
    assert some.allows("read", "another", MEMBER)
    assert some.allows("read", "100%7", MEMBER)
    assert not some.allows("read", "b", ADMIN)


def test_own_properties(tmp_path: Path) -> None:
    """What the service notes itself is for everybody to see, whatever the file says."""
    some = protections(tmp_path, section("os_glance", read="!") + section(".*", read="!"))
    assert some.allows("read", "os_glance_importing_to_stores", MEMBER)
    assert not some.allows("read", "x", MEMBER)


def test_policies(tmp_path: Path) -> None:
    """Rules of the policy, asked about nothing in particular."""
    rules = 'mine: "role:member"\nowners: "project_id:%(owner)s"\n'
    text = section("^x", create="mine", read="@", update="owners", delete="!")
    some = protections(tmp_path, text, "policies", rules)
    assert [some.allows(operation, "x", MEMBER) for operation in OPERATIONS] == [True, True, False, False]
    assert not some.allows("create", "x", ADMIN)


@pytest.mark.parametrize(
    ("text", "form", "why"),
    [
        ("[x]\ncreate = a\nread = a\nupdate = a\n", "roles", "delete"),
        (section("x", read="@,!"), "roles", "exclude"),
        (section("(", read="a"), "roles", "cannot be used"),
        ("no section", "roles", "cannot be used"),
        (section("x") * 2, "roles", "already exists"),
        (section("x", read="nothing"), "policies", "no policy rule"),
        (section("x", read="context_is_admin, default"), "policies", "no policy rule"),
    ],
)
def test_unusable(tmp_path: Path, text: str, form: str, why: str) -> None:
    """What cannot be understood prevents the start."""
    with pytest.raises(ConfigurationError, match=why):
        protections(tmp_path, text, form, 'member: "role:member"')


def test_missing(tmp_path: Path) -> None:
    """So does a file that is not there."""
    settings = AccessSettings(config_dirs=(tmp_path,), property_protection_file="nothing.conf")
    with pytest.raises(ConfigurationError, match="no such file"):
        Protections(settings, Policy(settings))
