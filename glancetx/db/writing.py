"""Writing the records of images: each function carries out what several callers want, within one transaction.

If one of them cannot have it, it raises, and nothing of the transaction must be committed: whoever was alone is told
why, of several each is then alone (`glancetx.db.engine.Engine.join`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any, Final

from attrs import evolve, frozen
from sqlalchemy import Connection, Dialect, bindparam, insert, select, update
from sqlalchemy.exc import IntegrityError

from glancetx.db.children import (
    add_location,
    ends_of_children,
    insert_children,
    reconcile_locations,
    reconcile_properties,
    reconcile_tags,
)
from glancetx.db.claims import NOBODY, add_claim, drop_claim
from glancetx.db.dialects import alive, as_kept, may_end
from glancetx.db.own_schema import claims
from glancetx.db.prepared import Prepared, Statement, any_of, end_with, padded, prepare_change, send_all
from glancetx.db.reading import hold_images
from glancetx.db.rows import COLUMNS
from glancetx.db.schema import images
from glancetx.db.telling import Tell, nobody
from glancetx.db.usage import check_create
from glancetx.domain.claim import IMPORT, LOCATION, STAGE, Claim
from glancetx.domain.errors import ImageChanged, ImageExists, StatusConflict
from glancetx.domain.image import Image, utc_now
from glancetx.domain.limits import Limits

# Made once: most of the time that SQLAlchemy needs for a statement goes into making it.
_INSERT: Final = insert(images)
_WRITTEN: Final = tuple(name for name in COLUMNS if name not in ("id", "created_at"))


@frozen
class Creation:
    """What `glancetx.db.images.Images.create` is asked for."""

    image: Image
    limits: Limits
    tell: Tell[Image]


@frozen
class Save:
    """What `glancetx.db.images.Images.save` is asked for."""

    image: Image
    was: str
    take: Claim | None
    release: Claim | None
    base: Image | None
    tell: Tell[Image]


@frozen
class Deletion:
    """What `glancetx.db.images.Images.delete` is asked for; *status* is what the image gets."""

    image: Image
    was: str
    release: Claim | None
    status: str
    tell: Tell[Image]


def create_images(connection: Connection, creations: Sequence[Creation]) -> list[Image]:
    """Insert images with all that belongs to them.

    :raises LimitExceeded, ImageExists: if it is not possible for one of them.
    """
    if len(creations) > 1 and any(each.limits.count_total is not None for each in creations):
        return [image for each in creations for image in create_images(connection, [each])]  # who is first, counts
    for each in creations:
        check_create(connection, each.image.owner, each.limits)
    created = [_new(connection, each.image) for each in creations]
    rows = [_values(image) | {"id": image.id, "created_at": image.created_at, "deleted": False} for image in created]
    try:
        connection.execute(_INSERT, rows)
    except IntegrityError as error:
        raise ImageExists(created[0].id) from error
    insert_children(connection, [(image.id, image.properties, image.tags, image.created_at) for image in created])
    created = [_place(connection, image) for image in created]
    for each, image in zip(creations, created, strict=True):
        each.tell(connection, image)
    return created


def _new(connection: Connection, image: Image) -> Image:
    now = as_kept(connection, image.created_at)
    return evolve(
        image, created_at=now, updated_at=now, tags=tuple(dict.fromkeys(image.tags)), owner=image.owner or None
    )


def _place(connection: Connection, image: Image) -> Image:
    """With its locations as they are kept."""
    if not image.locations:
        return image
    places = tuple(add_location(connection, image.id, place, image.created_at) for place in image.locations)
    return evolve(image, locations=places)


def save_image(
    connection: Connection,
    image: Image,
    was: str,
    take: Claim | None,
    release: Claim | None,
    base: Image | None = None,
    tell: Tell[Image] = nobody,
) -> Image:
    """Within a transaction: what `Images.save` does."""
    (saved,) = save_images(connection, [Save(image, was, take, release, base, tell)])
    return saved


def save_images(connection: Connection, saves: Sequence[Save]) -> list[Image]:
    """Write the records of images, and their claims.

    :raises StatusConflict, ImageChanged: if it is not possible for one of them.
    """
    last = may_end(connection)
    if len({each.image.id for each in saves}) < len(saves):  # who comes later must see what was written before
        return [saved for each in saves for saved in save_images(connection, [each])]
    _check_unchanged(connection, [each for each in saves if each.base is not None])
    now = as_kept(connection, utc_now())
    saved = [
        evolve(each.image, updated_at=now, tags=tuple(dict.fromkeys(each.image.tags)), owner=each.image.owner or None)
        for each in saves
    ]
    both = list(zip(saves, saved, strict=True))
    changes = [(image.id, each.was, _changes(each.base, image)) for each, image in both]
    if last and all(_is_row_only(each, image) for each, image in both):
        for each, image in both:
            each.tell(connection, image)
        # They are held and in the status that they were in, so each is found.
        end_with(connection, _changed_all(connection.dialect, changes))
        return saved
    update_images(connection, changes)
    return [_save_rest(connection, each, image) for each, image in both]


def _is_row_only(save: Save, image: Image) -> bool:
    """Whether nothing but the image's own row is to be written."""
    base = save.base
    return (
        base is not None
        and (image.properties, image.tags, image.locations) == (base.properties, base.tags, base.locations)
        and save.take is None
        and save.release is None
    )


def _save_rest(connection: Connection, save: Save, image: Image) -> Image:
    """All that is not in the image's own row."""
    saved = _save_children(connection, save.base, image)
    if save.take is not None:
        add_claim(connection, save.take)
    _release(connection, image.id, save.was, save.release)
    save.tell(connection, saved)
    return saved


def _check_unchanged(connection: Connection, saves: Sequence[Save]) -> None:
    """:raises StatusConflict, ImageChanged: if an image is not what it was."""
    current = hold_images(connection, [each.image.id for each in saves]) if saves else {}
    for each in saves:
        found = current.get(each.image.id)
        if found is None or found.status != each.was:
            raise StatusConflict(each.image.id, each.was, found.status if found else None)
        if found != each.base:
            raise ImageChanged(each.image.id)


def _changes(base: Image | None, image: Image) -> dict[str, Any]:
    """What is as it was read, and was read right now, needs not be written."""
    values = _values(image)
    if base is None:
        return values
    return {name: value for name, value in values.items() if value != getattr(base, name)} | {
        "updated_at": image.updated_at
    }


def _save_children(connection: Connection, base: Image | None, image: Image) -> Image:
    """What is as it was read needs not be looked at again, either."""
    now = image.updated_at
    if base is None or image.properties != base.properties:
        reconcile_properties(connection, image.id, image.properties, now)
    if base is None or image.tags != base.tags:
        reconcile_tags(connection, image.id, image.tags, now)
    if base is not None and image.locations == base.locations:
        return image
    return evolve(image, locations=reconcile_locations(connection, image.id, image.locations, now))


def delete_images(connection: Connection, deletions: Sequence[Deletion]) -> list[None]:
    """Mark images, and all that belongs to them, as deleted.

    :raises StatusConflict: if it is not possible for one of them.
    """
    now = as_kept(connection, utc_now())
    alike: dict[tuple[str, str], list[Deletion]] = {}
    for each in sorted(deletions, key=lambda deletion: deletion.image.id):  # everybody locks in the same order
        alike.setdefault((each.was, each.status), []).append(each)
    statements = [
        statement
        for (was, status), group in alike.items()
        for statement in _ends(connection.dialect, [each.image.id for each in group], was, status, now)
    ]
    outcomes = send_all(connection, statements)
    each_has = len(statements) // len(alike)
    for group, outcome in zip(alike.values(), outcomes[::each_has], strict=True):
        if outcome.count != len(group):
            image, was = group[0].image, group[0].was
            raise StatusConflict(image.id, was, status_of(connection, image.id))
    for each in deletions:
        _release(connection, each.image.id, each.was, each.release)
        each.tell(connection, evolve(each.image, status=each.status))
    return [None] * len(deletions)


def _ends(dialect: Dialect, image_ids: Sequence[str], was: str, status: str, now: datetime) -> Iterator[Statement]:
    """What ends some images of one status, and all that belongs to them; the images themselves come first."""
    mine = padded("wanted", image_ids)
    yield _deleted(dialect, len(mine)), {**mine, "was": was, "ended": status, "now": now}
    yield from ends_of_children(dialect, image_ids, now, status)
    # Whoever fills them meanwhile finds that it may not any more, and stops; the reaper sees to what is left.
    yield _disowned(dialect, len(mine)), mine


@cache
def _deleted(dialect: Dialect, size: int) -> Prepared:
    now: Any = bindparam("now", None)
    known = (images.c.id.in_(any_of("wanted", size)), alive(images), images.c.status == bindparam("was", None))
    values = {"status": bindparam("ended", None), "deleted": True, "deleted_at": now, "updated_at": now}
    return prepare_change(update(images).where(*known).values(values), dialect)


@cache
def _disowned(dialect: Dialect, size: int) -> Prepared:
    """The claims of those who fill images, given to nobody."""
    filling = (claims.c.image_id.in_(any_of("wanted", size)), claims.c.kind.in_((STAGE, IMPORT, LOCATION)))
    return prepare_change(update(claims).where(*filling).values(process=NOBODY), dialect)


def update_image(connection: Connection, image_id: str, was: str, values: Mapping[str, Any]) -> None:
    """:raises StatusConflict: if the image is not in the status *was*."""
    update_images(connection, [(image_id, was, values)])


def update_images(connection: Connection, changes: Sequence[tuple[str, str, Mapping[str, Any]]]) -> None:
    """Write *changes*: an id, the status that the image is in, and values.

    :raises StatusConflict: if one is in another status.
    """
    outcomes = send_all(connection, _changed_all(connection.dialect, changes))
    for (image_id, was, _), outcome in zip(changes, outcomes, strict=True):
        if outcome.count != 1:
            raise StatusConflict(image_id, was, status_of(connection, image_id))


def _changed_all(dialect: Dialect, changes: Sequence[tuple[str, str, Mapping[str, Any]]]) -> list[Statement]:
    return [
        (_changed(dialect, tuple(values)), {**values, "wanted": image_id, "was": was})
        for image_id, was, values in changes
    ]


@cache
def _changed(dialect: Dialect, names: tuple[str, ...]) -> Prepared:
    """The change of columns of an image that is in a status."""
    known = (images.c.id == bindparam("wanted", None), alive(images), images.c.status == bindparam("was", None))
    return prepare_change(update(images).where(*known).values({name: bindparam(name, None) for name in names}), dialect)


def _release(connection: Connection, image_id: str, was: str, claim: Claim | None) -> None:
    """:raises StatusConflict: if the claim is gone: we were taken for dead, and others have cleaned up after us."""
    if claim is not None and not drop_claim(connection, claim):
        raise StatusConflict(image_id, was, status_of(connection, image_id))


def status_of(connection: Connection, image_id: str) -> str | None:
    """The status of an image; None if there is none, or it is deleted."""
    found: str | None = connection.execute(
        select(images.c.status).where(images.c.id == image_id, alive(images))
    ).scalar()
    return found


def _values(image: Image) -> dict[str, Any]:
    """The columns of the image's own row that a save writes."""
    return {name: getattr(image, name) for name in _WRITTEN}
