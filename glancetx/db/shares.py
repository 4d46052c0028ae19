"""Whose images a list shows: the public ones, those of a project, those shared with it (api.md, section 2.6)."""

from __future__ import annotations

from typing import Final

from attrs import frozen
from sqlalchemy import and_, true

from glancetx.db.clues import Clue, Given, shared_with
from glancetx.db.dialects import exactly, unindexed
from glancetx.db.paging import Condition
from glancetx.db.schema import images
from glancetx.domain.context import RequestContext
from glancetx.domain.errors import Invalid

EVERY: Final = ("public", "private", "shared", "community")


@frozen
class Sight:
    """What decides which images a caller is shown."""

    is_admin: bool
    project_id: str | None

    @classmethod
    def of(cls, context: RequestContext) -> Sight:
        return cls(context.is_admin, context.project_id)


ALL: Final = Sight(is_admin=True, project_id=None)


@frozen(eq=False, kw_only=True)
class Share:
    """Images that are listed: those of a *visibility*, of an *owner*, and that a *clue* leads to, as far as given."""

    visibility: str | None = None
    owner: Given | None = None
    clue: Clue | None = None

    @property
    def first(self) -> str:
        """What the indexes begin with that lead through it."""
        return "visibility" if self.owner is None else "owner"

    def conditions(self) -> list[Condition]:
        """By the indexes: on the owner, or else on the visibility."""
        found: list[Condition] = []
        if self.owner is not None:
            found.append(exactly(images.c.owner, self.owner))
        if self.visibility is not None:
            column = images.c.visibility if self.owner is None else unindexed(images.c.visibility)
            found.append(column == self.visibility)
        return found

    def holds(self, *, followed: Clue | None = None) -> Condition:
        """Whether an image belongs to it, by no index; where *followed* has led to it."""
        clue = [self.clue.holds()] if self.clue and self.clue is not followed else []
        owner = [exactly(images.c.owner, self.owner)] if self.owner is not None else []
        visibility = [unindexed(images.c.visibility) == self.visibility] if self.visibility else []
        return and_(true(), *owner, *visibility, *clue)


def check_visibility(wanted: str | None) -> None:
    """:raises Invalid: if there is no such visibility to ask for."""
    if wanted not in (None, "all", *EVERY):
        raise Invalid(f"There is no visibility {wanted}")


def shares(is_admin: bool, project: Given | None, wanted: str | None, status: Given) -> list[Share]:
    """What a list shows of all images that match (A-047, A-048, A-059): those that belong to any of these.

    *project* is the caller's; *wanted* the visibility that is asked for, *status* what the caller answered to those
    who share images with him.

    :raises Invalid: if there is no such visibility.
    """
    if wanted not in (None, "all", *EVERY):
        raise Invalid(f"There is no visibility {wanted}")
    if is_admin:
        return _shown_to_admin(project, wanted)
    if wanted in ("public", "community"):
        return [Share(visibility=wanted)]
    for_all = [Share(visibility=each) for each in ("public", "community") if wanted == "all" or each == "public"]
    if project is None:
        return [] if wanted in ("private", "shared") else for_all
    to_us = Share(visibility="shared", clue=shared_with(project, status))
    if wanted == "private":
        return [Share(owner=project, visibility=wanted)]
    if wanted == "shared":
        return [Share(owner=project, visibility=wanted), to_us]
    return [Share(owner=project), *for_all, to_us]


def _shown_to_admin(project: Given | None, wanted: str | None) -> list[Share]:
    if wanted is None:
        mine = [] if project is None else [Share(owner=project)]
        return [*(Share(visibility=each) for each in EVERY if each != "community"), *mine]
    return [Share(visibility=each) for each in (EVERY if wanted == "all" else (wanted,))]
