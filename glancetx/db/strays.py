"""Data in stores that no image has: what was found, and what the database knows of whose it is."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from attrs import frozen
from sqlalchemy import Connection, and_, delete, func, insert, or_, select, update

from glancetx.db.claims import add_claim, drop_claim
from glancetx.db.dialects import alive
from glancetx.db.engine import Engine
from glancetx.db.own_schema import claims, imports, strays
from glancetx.db.reading import hold
from glancetx.db.schema import image_locations, image_properties, images
from glancetx.db.walks import Walk, advance
from glancetx.domain.claim import LOCATION, STRAY, Claim
from glancetx.domain.image import utc_now
from glancetx.domain.importing import IMPORTING_TO, LOCK
from glancetx.domain.listed import Belonging, Item, Kept, Stray, stray_id
from glancetx.domain.status import DELETED, IMPORTING, PENDING_DELETE, SAVING, UPLOADING

CHUNK: Final = 1000  # locations looked at together
_ID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@frozen(kw_only=True)
class StrayCount:
    """How much there is in one store. *first_seen* is when the oldest was found, naive UTC."""

    count: int
    size: int
    first_seen: datetime


class Strays:
    """The strays of all stores of one database."""

    def __init__(self, engine: Engine, now: Callable[[], datetime] = utc_now) -> None:
        self._engine, self._now = engine, now

    async def belongings(self, items: Sequence[Item]) -> dict[str, Belonging]:
        """What is known of the images that these items name, by the ids of these images as the items name them."""
        return await self._engine.read(_belongings, [item.image_id for item in items])

    async def mentions(self, image_ids: Collection[str]) -> list[str]:
        """The URLs of all locations, of whatever image, in which one of these ids stands. It reads all there are."""
        return await self._engine.read(_mentions, {each.lower() for each in image_ids})

    async def record(
        self, walk: Walk, items: Sequence[Item], found: Mapping[Item, Kept], marker: str | None
    ) -> list[Stray] | None:
        """Note that of a page of *items* those *found* are strays and the others are not, and where to go on.

        At the end of a walk (*marker* None), what it has not seen is forgotten. Returns those that are new; None, and
        nothing is noted, if somebody else was faster with this page.
        """
        return await self._engine.interact(_record, walk, items, found, marker, self._now())

    async def listed(self, store: str | None = None, age: float = 0.0, limit: int = 1000) -> list[Stray]:
        """Strays that were first seen *age* seconds ago or earlier, the oldest first."""
        return await self._engine.read(load_strays, store, self._now() - timedelta(seconds=age), limit)

    async def counts(self) -> dict[str, StrayCount]:
        """By store."""
        return await self._engine.read(count_strays)

    async def begin(self, claim: Claim, stray: Stray) -> bool:
        """Note that it is being removed; False, and no claim, if somebody works on that image, or it may come back."""
        return await self._engine.interact(_begin, claim, stray)

    async def is_alone(self, claim: Claim) -> bool:
        """Whether nothing else has been begun that could make the data somebody's, since *claim* was noted."""
        return await self._engine.interact(_is_alone, claim)

    async def end(self, claim: Claim, stray: Stray, *, gone: bool) -> None:
        """Let go of the image; if the stray is *gone*, forget it."""
        await self._engine.ensure(_end, claim, stray, gone)


def _belongings(connection: Connection, image_ids: Sequence[str]) -> dict[str, Belonging]:
    wanted = {*image_ids, *(each.lower() for each in image_ids)}
    busy = {each.lower() for each in _busy(connection, wanted)}
    urls: dict[str, list[str]] = {}
    table = image_locations
    there = or_(table.c.status != DELETED, alive(table))
    for image_id, url in connection.execute(
        select(table.c.image_id, table.c.value).where(table.c.image_id.in_(wanted), there)
    ):
        urls.setdefault(image_id.lower(), []).append(url)
    return {
        each: Belonging(busy=each.lower() in busy, urls=tuple(urls.get(each.lower(), ()))) for each in set(image_ids)
    }


def _busy(connection: Connection, image_ids: Collection[str]) -> Iterator[str]:
    yield from connection.execute(select(claims.c.image_id).where(claims.c.image_id.in_(image_ids))).scalars()
    yield from connection.execute(select(imports.c.image_id).where(imports.c.image_id.in_(image_ids))).scalars()
    yield from _awaited(connection, image_ids)


def _awaited(connection: Connection, image_ids: Collection[str]) -> Iterator[str]:
    """Images which are being filled, by Glance perhaps, which knows no claims, or that can be restored."""
    waiting = or_(
        and_(alive(images), images.c.status.in_((SAVING, UPLOADING, IMPORTING))), images.c.status == PENDING_DELETE
    )
    yield from connection.execute(select(images.c.id).where(images.c.id.in_(image_ids), waiting)).scalars()
    table = image_properties
    locked = (table.c.name.in_((LOCK, IMPORTING_TO)), func.coalesce(table.c.value, "") != "", alive(table))
    yield from connection.execute(select(table.c.image_id).where(table.c.image_id.in_(image_ids), *locked)).scalars()


def _mentions(connection: Connection, image_ids: set[str]) -> list[str]:
    """URLs may be encrypted, so they are looked at here; a chunk at a time, however many there are."""
    table, last, found = image_locations, 0, list[str]()
    there = or_(table.c.status != DELETED, alive(table))
    while True:
        query = select(table.c.id, table.c.value).where(table.c.id > last, there).order_by(table.c.id).limit(CHUNK)
        rows = connection.execute(query).all()
        found += [url for _, url in rows if not image_ids.isdisjoint(_ID.findall(url.lower()))]
        if len(rows) < CHUNK:
            return found
        last = rows[-1].id


def _record(
    connection: Connection,
    walk: Walk,
    items: Sequence[Item],
    found: Mapping[Item, Kept],
    marker: str | None,
    now: datetime,
) -> list[Stray] | None:
    if not advance(connection, walk, marker, len(items), now):
        return None
    others = [stray_id(walk.store, item.name) for item in items if item not in found]
    connection.execute(delete(strays).where(strays.c.id.in_(others)))
    new = [stray for item, kept in found.items() if (stray := _note(connection, walk, item, kept, now))]
    if marker is None:
        unseen = (strays.c.store == walk.store, strays.c.walk != walk.number)
        connection.execute(delete(strays).where(*unseen))
    return new


def _note(connection: Connection, walk: Walk, item: Item, kept: Kept, now: datetime) -> Stray | None:
    """Write what was found; the stray if it is new."""
    changed = now - timedelta(seconds=kept.age)
    stray = Stray(store=walk.store, item=item, size=kept.size, changed=changed, first_seen=now)
    values = {"size": kept.size, "changed_at": changed, "walk": walk.number}
    if connection.execute(update(strays).where(strays.c.id == stray.id).values(values)).rowcount:
        return None
    of_item = {"name": item.name, "image_id": item.image_id, "url": item.url, "piece": item.piece}
    connection.execute(insert(strays).values(id=stray.id, store=walk.store, first_seen=now, **of_item, **values))
    return stray


def load_strays(connection: Connection, store: str | None, before: datetime, limit: int) -> list[Stray]:
    """Within a transaction: as `Strays.listed`."""
    query = select(strays).where(strays.c.first_seen <= before).order_by(strays.c.first_seen, strays.c.id).limit(limit)
    if store is not None:
        query = query.where(strays.c.store == store)
    return [_stray(row) for row in connection.execute(query).mappings()]


def _stray(row: Mapping[Any, Any]) -> Stray:
    item = Item(name=row["name"], image_id=row["image_id"], url=row["url"], piece=row["piece"])
    times = {"changed": row["changed_at"], "first_seen": row["first_seen"]}
    return Stray(store=row["store"], item=item, size=row["size"], **times)


def count_strays(connection: Connection) -> dict[str, StrayCount]:
    """Within a transaction: as `Strays.counts`."""
    facts = func.count(), func.sum(strays.c.size), func.min(strays.c.first_seen)
    rows = connection.execute(select(strays.c.store, *facts).group_by(strays.c.store).order_by(strays.c.store))
    return {store: StrayCount(count=count, size=int(size), first_seen=first) for store, count, size, first in rows}


def _begin(connection: Connection, claim: Claim, stray: Stray) -> bool:
    hold(connection, claim.image_id)  # nobody restores the image, nor begins to fill it, until this is noted
    if _belongings(connection, [claim.image_id])[claim.image_id].busy:
        return False
    add_claim(connection, claim)
    return True


def _is_alone(connection: Connection, claim: Claim) -> bool:
    hold(connection, claim.image_id)
    mine = select(claims.c.id).where(claims.c.id == claim.id, claims.c.process == claim.process)
    others = select(claims.c.id).where(
        claims.c.id != claim.id,
        or_(claims.c.image_id.in_((claim.image_id, claim.image_id.lower())), claims.c.kind == LOCATION),
    )
    if connection.execute(mine).first() is None or connection.execute(others).first() is not None:
        return False
    return not any(_awaited(connection, {claim.image_id, claim.image_id.lower()}))


def _end(connection: Connection, claim: Claim, stray: Stray, gone: bool) -> None:
    drop_claim(connection, claim)
    if gone:
        connection.execute(delete(strays).where(strays.c.id == stray.id))


def is_going(connection: Connection, url: str) -> bool:
    """Within a transaction: whether what a location names may be a stray that is just being removed."""
    going = connection.execute(select(claims.c.image_id).where(claims.c.kind == STRAY)).scalars()
    return any(image_id.lower() in url.lower() for image_id in going)
