"""With whom images are shared, in the database: each method is one transaction (database.md, D-047)."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Select, func, insert, select, update

from glancetx.db.dialects import alive, exactly
from glancetx.db.engine import Engine
from glancetx.db.reading import hold
from glancetx.db.schema import image_members as table
from glancetx.db.schema import images
from glancetx.db.telling import Tell, nobody
from glancetx.db.usage import take_turn
from glancetx.domain.errors import ImageNotFound, LimitExceeded, MemberExists, MemberNotFound
from glancetx.domain.image import utc_now
from glancetx.domain.limits import check_quota
from glancetx.domain.member import PENDING, Member
from glancetx.domain.text import is_wide

MemberList = list[Member]


class Members:
    """The members of all images of one database. Who may see them is not asked here.

    *tell* is called at the end of the transaction with what became of the membership.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def list(self, image_id: str) -> MemberList:
        """In the order in which they were added."""
        return await self._engine.read(_list, image_id)

    async def add(self, image_id: str, member_id: str, quota: int, tell: Tell[Member] = nobody) -> Member:
        """Share the image; a membership that was ended begins anew. A negative *quota* is none.

        :raises MemberExists, LimitExceeded: if it is shared with the project already, or with too many.
        :raises ImageNotFound: if the image was deleted meanwhile.
        """
        return await self._engine.interact(_add, image_id, member_id, quota, tell)

    async def set_status(self, image_id: str, member_id: str, status: str, tell: Tell[Member] = nobody) -> Member:
        """:raises MemberNotFound: if the image is not shared with the project."""
        return await self._engine.interact(_set_status, image_id, member_id, status, tell)

    async def remove(self, image_id: str, member_id: str, tell: Tell[Member] = nobody) -> Member:
        """Returns what it was. :raises MemberNotFound: if the image is not shared with the project."""
        return await self._engine.interact(_remove, image_id, member_id, tell)


def _list(connection: Connection, image_id: str) -> MemberList:
    return [_member(row) for row in connection.execute(_live(image_id).order_by(table.c.id))]


def _add(connection: Connection, image_id: str, member_id: str, quota: int, tell: Tell[Member]) -> Member:
    owner = connection.execute(select(images.c.owner).where(images.c.id == image_id)).scalar()
    take_turn(connection, owner)  # also on a cluster, whose servers do not wait for each other's locks
    if not hold(connection, image_id):
        raise ImageNotFound(image_id)
    present = {row.member for row in connection.execute(_live(image_id))}
    try:
        check_quota("members for this image", len(present) + 1, quota)
    except LimitExceeded as error:
        raise LimitExceeded(f"Image member limit exceeded for image {image_id}: {error}:") from error
    if member_id in present:
        raise MemberExists(image_id, member_id)
    now = utc_now()
    values = {"status": PENDING, "updated_at": now, "deleted": False, "deleted_at": None}
    ended = select(func.min(table.c.id)).where(table.c.image_id == image_id, exactly(table.c.member, member_id))
    if (row_id := connection.execute(ended).scalar()) is not None:
        connection.execute(update(table).where(table.c.id == row_id).values(values))
    else:
        row = {"image_id": image_id, "member": member_id, "can_share": False, "created_at": now}
        connection.execute(insert(table).values(values | row))
    added = _find(connection, image_id, member_id)
    tell(connection, added)
    return added


def _set_status(connection: Connection, image_id: str, member_id: str, status: str, tell: Tell[Member]) -> Member:
    _change(connection, image_id, member_id, {"status": status, "updated_at": utc_now()})
    changed = _find(connection, image_id, member_id)
    tell(connection, changed)
    return changed


def _remove(connection: Connection, image_id: str, member_id: str, tell: Tell[Member]) -> Member:
    found = _find(connection, image_id, member_id)
    _change(connection, image_id, member_id, {"deleted": True, "deleted_at": utc_now()})
    tell(connection, found)
    return found


def _change(connection: Connection, image_id: str, member_id: str, values: dict[str, Any]) -> None:
    mine = (table.c.image_id == image_id, exactly(table.c.member, member_id), alive(table))
    if is_wide(member_id) or connection.execute(update(table).where(*mine).values(values)).rowcount == 0:
        raise MemberNotFound(image_id, member_id)


def _find(connection: Connection, image_id: str, member_id: str) -> Member:
    wanted = _live(image_id).where(exactly(table.c.member, member_id))
    row = None if is_wide(member_id) else connection.execute(wanted).first()
    if row is None:
        raise MemberNotFound(image_id, member_id)
    return _member(row)


def _live(image_id: str) -> Select[Any]:
    columns = (table.c.image_id, table.c.member, table.c.status, table.c.created_at, table.c.updated_at)
    return select(*columns).where(table.c.image_id == image_id, alive(table))


def _member(row: Any) -> Member:
    return Member(
        image_id=row.image_id,
        member_id=row.member,
        status=row.status,
        created_at=row.created_at,
        updated_at=row.updated_at or row.created_at,
    )
