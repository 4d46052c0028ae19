"""``/v2/images/{id}/members``: with whom an image is shared."""

from __future__ import annotations

from typing import Final

from glancetx.domain.errors import Invalid
from glancetx.domain.member import Member
from glancetx.domain.text import is_wide
from glancetx.operations.members import Sharing
from glancetx.web.routing import Answer, Call, route
from glancetx.web.views import moment

MISSING: Final = "Image {} not found."


class MembersRoom:
    """Reads requests about members, calls `Sharing`, shows what it says."""

    def __init__(self, sharing: Sharing) -> None:
        self._sharing = sharing

    @route("GET", "/v2/images/<image_id>/members", missing=MISSING)
    async def list(self, call: Call, image_id: str) -> Answer:
        members = await self._sharing.list(call.context, image_id)
        return Answer(document={"members": [member_view(each) for each in members], "schema": "/v2/schemas/members"})

    @route("POST", "/v2/images/<image_id>/members", body=True, missing=MISSING)
    async def add(self, call: Call, image_id: str) -> Answer:
        document = await call.document()
        return Answer(document=member_view(await self._sharing.add(call.context, image_id, wanted_member(document))))

    @route("GET", "/v2/images/<image_id>/members/<member_id>", missing=MISSING)
    async def show(self, call: Call, image_id: str, member_id: str) -> Answer:
        return Answer(document=member_view(await self._sharing.get(call.context, image_id, member_id)))

    @route("PUT", "/v2/images/<image_id>/members/<member_id>", body=True, missing=MISSING)
    async def set_status(self, call: Call, image_id: str, member_id: str) -> Answer:
        document = await call.document()
        if not isinstance(document, dict):
            raise Invalid('Expected a status in the form: {"status": "status"}')
        if "status" not in document:
            raise Invalid("Status not specified")
        member = await self._sharing.set_status(call.context, image_id, member_id, document["status"])
        return Answer(document=member_view(member))

    @route("DELETE", "/v2/images/<image_id>/members/<member_id>", missing=MISSING)
    async def remove(self, call: Call, image_id: str, member_id: str) -> Answer:
        await self._sharing.remove(call.context, image_id, member_id)
        return Answer(status=204)


def wanted_member(document: object) -> str:
    """The project in a request to share. A number is taken for its digits, as Glance does (A-165).

    :raises Invalid: if there is none, or something that cannot be one.
    """
    if not isinstance(document, dict):
        raise Invalid('Expected a member in the form: {"member": "image_id"}')
    if "member" not in document:
        raise Invalid("Member to be added not specified")
    member = document["member"]
    if not member:
        raise Invalid("Member can't be empty")
    if isinstance(member, bool) or not isinstance(member, str | int):
        raise Invalid("Member must be the id of a project")
    if len(text := str(member)) > 255 or is_wide(text) or min(text) < " ":
        raise Invalid("Member must be the id of a project, of 255 characters at most")
    return text


def member_view(member: Member) -> dict[str, str]:
    """One membership (A-165)."""
    return {
        "member_id": member.member_id,
        "image_id": member.image_id,
        "status": member.status,
        "created_at": moment(member.created_at),
        "updated_at": moment(member.updated_at),
        "schema": "/v2/schemas/member",
    }
