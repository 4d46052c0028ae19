"""Reading images: some by their ids, or a page of a list, for callers who see the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Final

from sqlalchemy import Connection, Dialect, bindparam, select

from glancetx.db.dialects import alive, exactly, reads_what_it_locked
from glancetx.db.filters import visible_by_id
from glancetx.db.pages import read_page
from glancetx.db.prepared import Prepared, any_of, padded, prepare_query, send_all
from glancetx.db.rows import read_images, select_images
from glancetx.db.schema import images
from glancetx.db.shares import Sight
from glancetx.domain.image import Image
from glancetx.domain.query import ImageQuery

_ROW: Final = select(images.c.id).where(images.c.id == bindparam("wanted"), alive(images)).with_for_update()


def load_images(connection: Connection, sight: Sight, image_ids: Sequence[str]) -> Mapping[str, Image]:
    """Those of *image_ids* that may be seen, and perhaps others."""
    wanted = padded("wanted", image_ids)
    values = {"project": sight.project_id, **wanted}

    def find(few: bool) -> Sequence[Any]:
        return _some(connection.dialect, len(wanted), is_admin=sight.is_admin, few=few).again(connection, values)

    return {image.id: image for image in read_images(connection, find)}


@cache
def _some(dialect: Dialect, size: int, *, is_admin: bool, few: bool) -> Prepared:
    wanted = images.c.id.in_(any_of("wanted", size))
    statement = select_images(dialect, few=few).where(wanted, alive(images))
    # Without that MariaDB looks at each index that a condition could be met by, and takes that of what is not deleted.
    statement = statement.with_hint(images, "FORCE INDEX (PRIMARY)", "mysql")
    if not is_admin:
        statement = statement.where(visible_by_id(bindparam("project", None)))
    return prepare_query(statement, dialect)


def load_page(
    connection: Connection, asked: tuple[Sight, ImageQuery], _: Sequence[None]
) -> Mapping[None, Sequence[Image]]:
    sight, query = asked
    return {None: read_images(connection, lambda few: read_page(connection, sight, query, few=few))}


def find_image(connection: Connection, image_id: str) -> Image | None:
    """Within a transaction: an image, whoever may see it."""
    return _find(connection, image_id, held=False)


def hold(connection: Connection, image_id: str) -> bool:
    """Within a transaction: let nobody else on this server change the image until it ends; False if it is gone.

    On a cluster the other servers do not wait. There whoever commits second fails, and is run again, if both have
    changed the same row.
    """
    return connection.execute(_ROW, {"wanted": image_id}).first() is not None


def hold_image(connection: Connection, image_id: str) -> Image | None:
    """Within a transaction: both `hold` and `find_image`."""
    together = reads_what_it_locked(connection.dialect)
    if not together and not hold(connection, image_id):
        return None
    return _find(connection, image_id, held=together)


def hold_images(connection: Connection, image_ids: Sequence[str]) -> Mapping[str, Image]:
    """As `hold_image`, for several, 32 at most; those that are gone are left out.

    Not with one statement: what belongs to the second image would be read as it was when the first was locked.
    """
    if len(image_ids) == 1:
        found = hold_image(connection, image_ids[0])
        return {found.id: found} if found is not None else {}
    wanted = padded("wanted", sorted(image_ids))
    dialect, size = connection.dialect, len(wanted)

    def find(few: bool) -> Sequence[Any]:
        read = _some(dialect, size, is_admin=True, few=few)
        *_, outcome = send_all(connection, [(_rows(dialect, size), wanted), (read, wanted)])
        return outcome.rows

    return {image.id: image for image in read_images(connection, find)}


@cache
def _rows(dialect: Dialect, size: int) -> Prepared:
    """Locks images, whoever wants some of them in the same order."""
    wanted = select(images.c.id).where(images.c.id.in_(any_of("wanted", size)), alive(images))
    return prepare_query(wanted.order_by(images.c.id).with_for_update(), dialect)


def _find(connection: Connection, image_id: str, *, held: bool) -> Image | None:
    def find(few: bool) -> Sequence[Any]:
        return _one(connection.dialect, held=held, few=few).within(connection, {"wanted": image_id})

    found = read_images(connection, find)
    return found[0] if found else None


@cache
def _one(dialect: Dialect, *, held: bool, few: bool) -> Prepared:
    found = select_images(dialect, few=few).where(exactly(images.c.id, bindparam("wanted", None)), alive(images))
    return prepare_query(found.with_for_update() if held else found, dialect)
