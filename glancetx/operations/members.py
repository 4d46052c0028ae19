"""Sharing an image with projects, and what these say to it (api.md, A-160..A-165)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from glancetx.access.policy import Policy, image_target
from glancetx.db.images import Images
from glancetx.db.members import Members
from glancetx.domain.context import RequestContext
from glancetx.domain.errors import Forbidden, Invalid, MemberNotFound, NotFound
from glancetx.domain.image import Image
from glancetx.domain.member import MEMBER_STATUSES, Member
from glancetx.notifications.events import Events

MemberList = list[Member]
ONLY_SHARED = "Only shared images have members."


class Sharing:
    """The members of images. *quota* is how many an image may have; negative: any number.

    *tell* is called with the image and the caller's token when the members of an image that has data have changed.
    """

    def __init__(
        self,
        images: Images,
        members: Members,
        policy: Policy,
        events: Events,
        tell: Callable[[Image, str | None], Awaitable[None]],
        quota: int,
    ) -> None:
        self._images = images
        self._members = members
        self._policy = policy
        self._events = events
        self._tell = tell
        self._quota = quota

    async def add(self, context: RequestContext, image_id: str, member_id: str) -> Member:
        """Share the image with a project, which has yet to accept.

        :raises ImageNotFound, Forbidden, MemberExists, LimitExceeded: as A-160 lists them.
        :raises StoreError: if the image is shared, but its store cannot be told.
        """
        image = await self._shared_image(context, image_id, "create", "add_member")
        self._policy.check_members("add_member", context, image)
        member = await self._members.add(image_id, member_id, self._quota, self._events.member_created)
        await self._tell(image, context.token)
        return member

    async def list(self, context: RequestContext, image_id: str) -> MemberList:
        """All members for who owns the image; its own membership for a project with which it is shared."""
        image = await self._images.get(context, image_id)
        if image.visibility != "shared":
            raise Forbidden(f"Not allowed to list members for image {image_id}: {ONLY_SHARED}")
        self._policy.check_members("get_members", context, image)
        if not self._policy.allows("get_member", context, image_target(context, image)):
            return []
        return shown(context, image, await self._members.list(image_id))

    async def get(self, context: RequestContext, image_id: str, member_id: str) -> Member:
        """:raises NotFound: if there is no such member for this caller, or no such image."""
        image = await self._images.get(context, image_id)
        if image.visibility != "shared":
            raise NotFound(ONLY_SHARED)
        try:
            return await self._find(context, image, member_id)
        except Forbidden as error:
            raise NotFound(str(error)) from error

    async def set_status(self, context: RequestContext, image_id: str, member_id: str, status: object) -> Member:
        """Accept or reject; for the project itself, not for the owner.

        :raises ImageNotFound, MemberNotFound, Forbidden, Invalid: as A-163 lists them.
        """
        image = await self._shared_image(context, image_id, "update", "modify_member")
        await self._find(context, image, member_id)
        self._policy.check_members("modify_member", context, image)
        if status not in MEMBER_STATUSES:
            raise Invalid('Incorrect request: Status must be "pending", "accepted" or "rejected".')
        return await self._members.set_status(image_id, member_id, str(status), self._events.member_updated)

    async def remove(self, context: RequestContext, image_id: str, member_id: str) -> None:
        """End it.

        :raises ImageNotFound, MemberNotFound, Forbidden: as A-164 lists them.
        :raises StoreError: if it has ended, but the store of the image cannot be told.
        """
        image = await self._shared_image(context, image_id, "delete", "delete_member")
        await self._find(context, image, member_id)
        self._policy.check_members("delete_member", context, image)
        await self._members.remove(image_id, member_id, self._events.member_deleted)
        await self._tell(image, context.token)

    async def _shared_image(self, context: RequestContext, image_id: str, verb: str, rule: str) -> Image:
        """:raises Forbidden: if the image is private, public or a community image: those have no members."""
        image = await self._images.get(context, image_id)
        if image.visibility != "shared":
            raise Forbidden(f"Not allowed to {verb} members for image {image_id}.")
        self._policy.check_shared(rule, context, image)
        return image

    async def _find(self, context: RequestContext, image: Image, member_id: str) -> Member:
        """:raises MemberNotFound: if there is none that the caller is shown."""
        self._policy.check_members("get_member", context, image)
        for member in shown(context, image, await self._members.list(image.id)):
            if member.member_id == member_id:
                return member
        raise MemberNotFound(image.id, member_id)


def shown(context: RequestContext, image: Image, members: MemberList) -> MemberList:
    """Those of *members* that the caller may know of: all, if it owns the image or is an admin; else itself."""
    if context.is_admin or (image.owner is not None and image.owner == context.project_id):
        return members
    return [member for member in members if member.member_id == context.project_id]
