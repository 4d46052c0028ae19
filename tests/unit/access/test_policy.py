"""Policy: the default rules on images, and policy files that change them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import pytest_twisted
from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs

from glancetx.access.open import OpenAuthenticator
from glancetx.access.policy import ImageTarget, Policy, image_target
from glancetx.config.settings import AccessSettings
from glancetx.domain.context import RequestContext
from glancetx.domain.errors import ConfigurationError, Forbidden, ImageNotFound
from glancetx.domain.image import Image

ADMIN = RequestContext(project_id="other", roles=frozenset({"admin"}), is_admin=True)
OWNER = RequestContext(project_id="p1", roles=frozenset({"member", "reader"}))
READER = RequestContext(project_id="p1", roles=frozenset({"reader"}))
STRANGER = RequestContext(project_id="p2", roles=frozenset({"member", "reader"}))


def image(visibility: str = "private", **values: object) -> Image:
    return Image(id="i", owner="p1", visibility=visibility, **values)  # type: ignore[arg-type]


@pytest.fixture
def policy() -> Policy:
    return Policy(AccessSettings())


class Files:
    """A configuration directory, and a policy that reads it by a clock of the test's own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.clock = folder, Clock()

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        fresh = path.with_suffix(".fresh")
        fresh.write_text(text)
        os.replace(fresh, path)

    def policy(self) -> Policy:
        return Policy(AccessSettings(config_dirs=(self.folder,)), self.clock.seconds)

    def later(self) -> None:
        self.clock.advance(1.1)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


@pytest.mark.parametrize(
    ("rule", "context", "visibility", "expected"),
    [
        ("get_image", OWNER, "private", True),
        ("get_image", READER, "private", True),
        ("get_image", STRANGER, "private", False),
        ("get_image", STRANGER, "public", True),
        ("get_image", STRANGER, "community", True),
        ("get_image", STRANGER, "shared", True),
        ("get_image", ADMIN, "private", True),
        ("download_image", READER, "private", False),
        ("download_image", STRANGER, "shared", True),
        ("delete_image", STRANGER, "public", False),
        ("delete_image", OWNER, "public", True),
        ("upload_image", READER, "private", False),
        ("publicize_image", OWNER, "private", False),
        ("publicize_image", ADMIN, "private", True),
        ("communitize_image", OWNER, "private", True),
        ("delete_image_location", OWNER, "private", False),
        ("tasks_api_access", OWNER, "private", False),
    ],
)
def test_default_rules(policy: Policy, rule: str, context: RequestContext, visibility: str, expected: bool) -> None:
    """Who may do what with whose image, if no file says otherwise."""
    assert policy.allows(rule, context, image_target(context, image(visibility))) is expected


def test_a_member_of_an_image_may_see_it(policy: Policy) -> None:
    """A project with which an image is shared, and which is therefore shown it, is the target's member."""
    assert policy.allows("get_members", STRANGER, image_target(STRANGER, image("shared")))
    assert not policy.allows("get_members", STRANGER, image_target(STRANGER, image()))


def test_nobody_creates_images_for_others(policy: Policy) -> None:
    """A member may create what its own project owns."""
    policy.check_create(OWNER, "p1", "private")
    policy.check_create(ADMIN, "p1", "private")
    with pytest.raises(Forbidden, match="not permitted to create images owned by 'p2'"):
        policy.check_create(OWNER, "p2", "private")
    with pytest.raises(Forbidden, match="not authorized to complete add_image"):
        policy.check_create(READER, "p1", "private")
    with pytest.raises(Forbidden, match="not authorized to complete publicize_image"):
        policy.check_create(OWNER, "p1", "public")


def test_no_rule_lets_others_create_for_a_project(files: Files) -> None:
    """Only administrators do, if the rule lets them."""
    files.write("policy.yaml", 'add_image: "role:member or role:admin"')
    files.policy().check_create(ADMIN, "p2", "private")
    with pytest.raises(Forbidden, match="owned by 'p2'"):
        files.policy().check_create(OWNER, "p2", "private")
    files.write("policy.yaml", 'add_image: "role:member"')
    with pytest.raises(Forbidden, match="owned by 'p2'"):
        files.policy().check_create(ADMIN, "p2", "private")


@pytest.mark.parametrize("owner", ["p2", None])
def test_no_rule_lets_others_change_an_image(files: Files, owner: str | None) -> None:
    """Files from the time when owners were not asked for in rules do not give images away (D-055)."""
    files.write("policy.yaml", 'modify_image: ""\nget_image: ""\ndelete_image: "role:member"')
    policy, foreign = files.policy(), Image(id="i", owner=owner)
    with pytest.raises(Forbidden, match="do not own"):
        policy.check_image("modify_image", OWNER, foreign)
    with pytest.raises(ImageNotFound):
        policy.check_image("delete_image", OWNER, foreign)
    policy.check_image("modify_image", ADMIN, foreign)
    policy.check_image("delete_image", OWNER, image())
    policy.check_image("get_image", OWNER, foreign)


def test_old_defaults(files: Files) -> None:
    """Only if they are asked for, the defaults hold for which roles did not count; and only where no file says more."""
    nobody = RequestContext(project_id="p1")
    files.write("policy.yaml", 'upload_image: "role:member"')
    old = Policy(AccessSettings(config_dirs=(files.folder,), enforce_new_defaults=False))
    assert old.allows("get_image", nobody, image_target(nobody, image()))
    assert not old.allows("upload_image", nobody, image_target(nobody, image()))
    assert not old.allows("publicize_image", nobody, image_target(nobody, image()))
    assert not files.policy().allows("get_image", nobody, image_target(nobody, image()))


def test_sharing_under_old_defaults() -> None:
    """Even if the rules ask for nothing, the owner shares and others accept."""
    old, shared = Policy(AccessSettings(enforce_new_defaults=False)), image("shared")
    for rule in ("add_member", "delete_member"):
        old.check_shared(rule, READER, shared)
        with pytest.raises(Forbidden):
            old.check_shared(rule, STRANGER, shared)
    old.check_shared("modify_member", STRANGER, shared)
    with pytest.raises(Forbidden):
        old.check_shared("modify_member", READER, shared)
    for rule in ("add_member", "modify_member", "delete_member"):
        old.check_shared(rule, ADMIN, shared)
        Policy(AccessSettings()).check_shared(rule, STRANGER, shared)


def test_the_default_rule_has_a_name(files: Files) -> None:
    """A rule that does not exist means the default rule, whichever that is."""
    files.write("policy.yaml", 'copy_image: "rule:nothing"\nlast: "role:last"')
    policy = Policy(AccessSettings(config_dirs=(files.folder,), policy_default_rule="last"))
    assert policy.allows("copy_image", RequestContext(roles=frozenset({"last"})), {})
    assert not policy.allows("copy_image", ADMIN, {})


def test_reload(files: Files, tmp_path: Path) -> None:
    """It can be told to read its files at once, and from another place; what is broken counts no more than else."""
    policy = files.policy()
    files.write("policy.yaml", 'copy_image: "role:member"')
    policy.reload(AccessSettings(config_dirs=(files.folder,)))
    assert policy.allows("copy_image", OWNER, {})
    files.write("other.yaml", 'copy_image: "!"')
    policy.reload(AccessSettings(config_dirs=(files.folder,), policy_file="other.yaml"))
    assert not policy.allows("copy_image", ADMIN, {})
    files.write("other.yaml", "a: [")
    with capturedLogs() as logs:
        policy.reload(AccessSettings(config_dirs=(files.folder,), policy_file="other.yaml"))
    assert [event["log_level"] for event in logs] == [LogLevel.error]
    assert not policy.allows("copy_image", ADMIN, {})


def test_what_may_not_be_seen_is_not_there(policy: Policy) -> None:
    """Who may not see an image is not told that it may not change it (C-112)."""
    with pytest.raises(ImageNotFound):
        policy.check_image("modify_image", STRANGER, image())
    with pytest.raises(Forbidden):
        policy.check_image("modify_image", STRANGER, image("public"))
    policy.check_image("modify_image", OWNER, image())


@pytest_twisted.ensureDeferred
async def test_the_open_authenticator_s_caller_passes(policy: Policy) -> None:
    """Without authentication everybody is an admin, also by the rules about roles (C-097)."""
    context = await OpenAuthenticator().identify(lambda name: "Basic eDp5", "req-1")
    assert (context.user_id, context.project_id, context.is_admin) == (None, None, True)
    assert policy.is_admin(context)
    assert policy.allows("upload_image", context, image_target(context, image()))


def test_an_unknown_rule_is_an_error_of_ours(policy: Policy) -> None:
    """Asking for a rule that does not exist never lets anybody pass."""
    with pytest.raises(KeyError):
        policy.allows("get_imgae", ADMIN, {})


def test_a_file_overrides_and_defines_rules(files: Files) -> None:
    """Rules in policy.yaml replace defaults and may refer to names of their own."""
    files.write("policy.yaml", 'publicize_image: "rule:trusted"\ntrusted: "role:publisher"\n')
    publisher = RequestContext(project_id="p1", roles=frozenset({"publisher"}))
    assert files.policy().allows("publicize_image", publisher, image_target(publisher, image()))
    assert not files.policy().allows("publicize_image", ADMIN, image_target(ADMIN, image()))


def test_properties_can_be_asked_for(files: Files) -> None:
    """A custom property is part of the target; an image without it does not match."""
    files.write("policy.yaml", "get_image: \"'gold':%(level)s\"")
    policy = files.policy()
    assert policy.allows("get_image", STRANGER, image_target(STRANGER, image(properties={"level": "gold"})))
    assert not policy.allows("get_image", STRANGER, image_target(STRANGER, image()))


def test_policy_d_comes_after_policy_yaml_in_order(files: Files) -> None:
    """Later files win; hidden ones are not read."""
    files.write("policy.yaml", 'get_images: "!"')
    files.write("policy.d/10.yaml", 'get_images: "role:ten"')
    files.write("policy.d/20.yaml", 'get_images: "role:twenty"')
    files.write("policy.d/.30.yaml", 'get_images: "@"')
    context = RequestContext(roles=frozenset({"twenty"}))
    assert files.policy().allows("get_images", context, {})
    assert not files.policy().allows("get_images", RequestContext(roles=frozenset({"ten"})), {})


def test_a_change_takes_effect_within_a_second(files: Files) -> None:
    """Files are looked at once a second at most; added, changed and removed ones count."""
    policy = files.policy()
    assert not policy.allows("copy_image", OWNER, {})
    files.write("policy.yaml", 'copy_image: "role:member"')
    assert not policy.allows("copy_image", OWNER, {})
    files.later()
    assert policy.allows("copy_image", OWNER, {})
    files.write("policy.d/x.yaml", 'copy_image: "!"')
    files.later()
    assert not policy.allows("copy_image", OWNER, {})
    (files.folder / "policy.d/x.yaml").unlink()
    (files.folder / "policy.yaml").unlink()
    files.later()
    assert not policy.allows("copy_image", OWNER, {})
    assert policy.allows("copy_image", ADMIN, {})


@pytest.mark.parametrize("text", ["a: [", "- x", "a: 5", 'a: "rule:a"', 'a: "http://x/"', "\udcff"])
def test_a_broken_change_keeps_the_rules(files: Files, text: str) -> None:
    """A file that cannot be used is reported, once, and changes nothing; repaired, it counts."""
    files.write("policy.yaml", 'copy_image: "role:member"')
    policy = files.policy()
    (files.folder / "policy.yaml").write_bytes(text.encode(errors="surrogateescape"))
    with capturedLogs() as logs:
        for _ in range(3):
            files.later()
            assert policy.allows("copy_image", OWNER, {})
    assert [event["log_level"] for event in logs] == [LogLevel.error]
    files.write("policy.yaml", 'copy_image: "!"')
    files.later()
    assert not policy.allows("copy_image", OWNER, {})


def test_a_broken_file_prevents_the_start(files: Files) -> None:
    """A service does not start with rules it cannot read."""
    files.write("policy.yaml", "a: [")
    with pytest.raises(ConfigurationError, match=r"policy\.yaml"):
        files.policy()


def test_an_absolute_name_needs_no_directory(tmp_path: Path) -> None:
    """``policy_file`` may say exactly where the file is."""
    (tmp_path / "mine.yaml").write_text('copy_image: "@"')
    policy = Policy(AccessSettings(policy_file=str(tmp_path / "mine.yaml")))
    assert policy.allows("copy_image", RequestContext(), {})


def test_the_target_is_a_mapping_of_all_there_is() -> None:
    """The target names the owner twice, as Glance does, and never the locations."""
    target = ImageTarget(image(properties={"level": "gold"}), "p9")
    assert target["project_id"] == target["owner"] == "p1"
    assert target["image_id"] == target["id"] == "i"
    assert (target["member_id"], target["level"]) == ("p9", "gold")
    assert "locations" not in target
    assert len(dict(target)) == len(target)


@pytest.mark.parametrize("scope", [{"system_scope": "all"}, {"domain_id": "d"}])
def test_other_scopes_may_nothing(files: Files, scope: dict[str, str]) -> None:
    """Whoever does not act for a project may nothing of the API, whatever the rules; but is who he is."""
    files.write("policy.yaml", 'get_images: "@"')
    policy = files.policy()
    cloud = RequestContext(roles=frozenset({"admin", "reader"}), is_admin=True, **scope)  # type: ignore[arg-type]
    assert policy.allows("get_images", RequestContext(), {})
    assert not policy.allows("get_images", cloud, {})
    with pytest.raises(Forbidden):
        policy.check_create(cloud, None, "shared")
    with pytest.raises(ImageNotFound):
        policy.check_image("delete_image", cloud, image("public"))
    assert policy.is_admin(cloud)


@pytest.mark.parametrize(("name", "told"), [("policy.yaml", 0), ("polcy.yaml", 1)])
def test_a_file_that_is_not_there(tmp_path: Path, name: str, told: int) -> None:
    """Who names a file that is not there is told; nobody needs to have the usual one."""
    with capturedLogs() as logs:
        Policy(AccessSettings(config_dirs=(tmp_path,), policy_file=name))
    assert [entry["file"] for entry in logs if entry["log_level"] is LogLevel.warn] == [name] * told
