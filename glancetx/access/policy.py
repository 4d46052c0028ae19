"""May they? Rules from `glancetx.access.rules`, changed by the operator's policy files, asked about a target."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from oslo_policy.policy import OrCheck, RuleDefault, Rules
from twisted.logger import Logger

from glancetx.access.checks import Check, Target, compile_rules
from glancetx.access.rules import list_rules
from glancetx.config.settings import AccessSettings
from glancetx.domain.context import RequestContext
from glancetx.domain.errors import AttributeForbidden, ConfigurationError, Forbidden, ImageNotFound
from glancetx.domain.image import Image

USUAL_FILE: Final = "policy.yaml"
"""Nobody is surprised if it is not there."""
LOOK_EVERY: Final = 1.0  # seconds between two looks at the policy files

_log = Logger()
_RENAMED: Final = {"project_id": "owner", "image_id": "id"}
# Whatever the policy files say, nobody but its owner and administrators changes an image (D-055).
_CHANGES: Final = frozenset(
    [
        *("modify_image", "delete_image", "upload_image", "deactivate", "reactivate"),
        *("set_image_location", "delete_image_location"),
    ]
)
_OWNERS: Final = {"add_member": True, "modify_member": False, "delete_member": True}
_FIELDS: Final = frozenset(Image.__slots__) - {"locations", "properties", "__weakref__"}  # type: ignore[attr-defined]


class ImageTarget(Mapping[str, Any]):
    """An image as checks see it: its fields, its properties, and `project_id` for its owner (config.md, section 6).

    *member_id* is the project that is asking, if the image is another's and shared.
    """

    def __init__(self, image: Image, member_id: str | None = None) -> None:
        self._image, self._member_id = image, member_id

    def __getitem__(self, key: str) -> Any:
        if key == "member_id":
            return self._member_id
        name = _RENAMED.get(key, key)
        return getattr(self._image, name) if name in _FIELDS else self._image.properties[key]

    def __iter__(self) -> Iterator[str]:
        yield from _RENAMED
        yield "member_id"
        yield from _FIELDS
        yield from self._image.properties

    def __len__(self) -> int:
        return sum(1 for _ in self)


def not_authorized(rule: str) -> Forbidden:
    """What somebody is told who may not do what *rule* names."""
    return Forbidden(f"You are not authorized to complete {rule} action.")


def image_target(context: RequestContext, image: Image) -> Target:
    """The target of a check about an image that exists, which *context* was shown."""
    foreign = image.visibility == "shared" and image.owner != context.project_id
    return ImageTarget(image, context.project_id if foreign else None)


def proposed_target(owner: str | None, visibility: str) -> Target:
    """The target of a check about an image that is yet to be made, or about no image in particular."""
    return {"project_id": owner, "owner": owner, "visibility": visibility}


class Policy:
    """Answers whether a context may do what a rule names, by the rules in force now.

    *settings* tell where policy files lie: each name is looked up in the configuration directories, the first
    one found counts. Changed files take effect within a second, or at `reload`; files that cannot be used are
    reported in the log and the rules stay as they were. Answers cost a few microseconds and need no thread.

    :raises ConfigurationError: if the policy files cannot be used at the start.
    """

    def __init__(self, settings: AccessSettings, seconds: Callable[[], float] = time.monotonic) -> None:
        self._settings, self._seconds = settings, seconds
        rules = list_rules()
        self._of_projects = frozenset(rule.name for rule in rules if rule.scope_types)
        self._defaults = {rule.name: _default_check(rule, settings.enforce_new_defaults) for rule in rules}
        self._seen = self._fingerprint()
        self._checks = self._load()
        self._look_at = seconds() + LOOK_EVERY

    def check(self, rule: str, context: RequestContext, target: Target) -> None:
        """Return if *context* may do to *target* what *rule* names. :raises Forbidden: if not."""
        if not self.allows(rule, context, target):
            raise not_authorized(rule)

    def check_create(self, context: RequestContext, owner: str | None, visibility: str) -> None:
        """May *context* make an image of this owner and visibility (A-030)? :raises Forbidden: if not.

        Whatever the policy files say, only administrators make images for other projects.
        """
        target = proposed_target(owner, visibility)
        allowed = self.allows("add_image", context, target)
        if owner != context.project_id and not (allowed and context.is_admin):
            raise AttributeForbidden(f"You are not permitted to create images owned by '{owner}'")
        if not allowed:
            raise not_authorized("add_image")
        self.check_visibility(context, visibility, target)

    def check_visibility(self, context: RequestContext, visibility: str, target: Target) -> None:
        """May *context* give this visibility to the image that *target* tells of (A-067)? :raises Forbidden: if not."""
        rule = {"public": "publicize_image", "community": "communitize_image"}.get(visibility)
        if rule is not None:
            self.check(rule, context, target)

    def check_image(self, rule: str, context: RequestContext, image: Image) -> None:
        """As `check`, for an image that exists: who may not even see it is told that it is not there (C-112).

        :raises ImageNotFound: if the context may not `get_image`.
        :raises Forbidden: if it may do that, and not this; or would change what belongs to another project.
        """
        target = image_target(context, image)
        if self.allows(rule, context, target):
            if rule in _CHANGES and not _may_change(context, image):
                raise self._not_owned(rule, image)
            return
        if rule == "get_image" or not self.allows("get_image", context, target):
            raise ImageNotFound(image.id)
        raise not_authorized(rule)

    def allows(self, rule: str, context: RequestContext, target: Target) -> bool:
        """Whether *context* may do to *target* what *rule* names. :raises KeyError: if there is no such rule.

        Who acts for a domain or for the whole cloud may nothing of what the API asks for: it is all about projects.
        """
        if self._seconds() >= self._look_at:
            self._look()
        if (context.system_scope is not None or context.domain_id is not None) and rule in self._of_projects:
            return False
        return self._checks[rule](target, context)

    def _not_owned(self, rule: str, image: Image) -> Exception:
        if rule == "delete_image" and self._settings.enforce_new_defaults:
            return ImageNotFound(image.id)  # an accident of Glance's
        return Forbidden("You do not own this image")

    def check_shared(self, rule: str, context: RequestContext, image: Image) -> None:
        """Under the old defaults, which let everybody do *rule*: the owner shares, others accept (C-111).

        :raises Forbidden: if it is not the one who may.
        """
        old = not (self._settings.enforce_new_defaults or context.is_admin)
        if old and _may_change(context, image) is not _OWNERS[rule]:
            raise not_authorized(rule)

    def check_members(self, rule: str, context: RequestContext, image: Image) -> None:
        """As `check_image`, for the members of an image.

        :raises ImageNotFound: if the context may not `get_image`.
        :raises Forbidden: if it may do that, and not this.
        """
        self.check_image("get_image", context, image)
        self.check(rule, context, image_target(context, image))

    def knows(self, rule: str) -> bool:
        """Whether there is a rule of that name."""
        return rule in self._checks

    def is_admin(self, context: RequestContext) -> bool:
        """Whether the rule ``context_is_admin`` holds for this context."""
        return self.allows("context_is_admin", context, {})

    def reload(self, settings: AccessSettings) -> None:
        """Read the files that *settings* name now, changed or not."""
        self._settings = settings
        self._look(always=True)

    def _look(self, *, always: bool = False) -> None:
        self._look_at = self._seconds() + LOOK_EVERY
        try:
            found = self._fingerprint()
            if found == self._seen and not always:
                return
            self._seen = found
            self._checks = self._load()
        except ConfigurationError as error:
            _log.error("The changed policy files are not used: {error}", error=str(error))
        else:
            _log.info("The policy files were read again")

    def _load(self) -> dict[str, Check]:
        settings = self._settings
        if settings.policy_file != USUAL_FILE and self._find(settings.policy_file) is None:
            _log.warn("There is no policy file {file}: the rules have their defaults", file=settings.policy_file)
        rules = Rules(self._defaults, settings.policy_default_rule)
        for path in self._files():
            try:
                rules.update(Rules.load(path.read_text()))
            except (OSError, ValueError, TypeError, AttributeError) as error:  # as oslo.policy's parser fails
                raise ConfigurationError(f"The policy file {path} cannot be read: {error}") from error
        return compile_rules(rules)

    def _fingerprint(self) -> list[tuple[Path, int, int, int]]:
        """Differs from the last one if any policy file was added, removed or written."""
        try:
            found = [(path, path.stat()) for path in self._files()]
        except OSError as error:
            raise ConfigurationError(f"The policy files cannot be looked up: {error}") from error
        return [(path, stat.st_mtime_ns, stat.st_ino, stat.st_size) for path, stat in found]

    def _files(self) -> Iterator[Path]:
        """The policy files that exist, in the order in which later ones override earlier ones."""
        if (path := self._find(self._settings.policy_file)) is not None:
            yield path
        for name in self._settings.policy_dirs:
            if (folder := self._find(name)) is not None and folder.is_dir():
                yield from sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))

    def _find(self, name: str) -> Path | None:
        places = (folder / name for folder in self._settings.config_dirs)  # an absolute name stays itself
        candidates = [Path(name)] if os.path.isabs(name) else places
        return next((path for path in candidates if path.exists()), None)


def _default_check(rule: RuleDefault, only_new: bool) -> Any:
    """What holds if no file says otherwise (C-111)."""
    old = rule.deprecated_rule
    return rule.check if only_new or old is None else OrCheck([rule.check, old.check])


def _may_change(context: RequestContext, image: Image) -> bool:
    return context.is_admin or (context.project_id is not None and image.owner == context.project_id)
