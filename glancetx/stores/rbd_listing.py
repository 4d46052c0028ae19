"""What RBD images a pool has, ours or not. Everything here blocks: call it with a connection, in a thread.

Ceph's own list of a pool comes all at once. So the directory it is made of is read, an object whose keys are sorted.
A marker is such a key.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any, Final

from glancetx.domain.cached import is_image_id
from glancetx.domain.errors import DataNotFound
from glancetx.domain.listed import Item, Kept, Page
from glancetx.stores.rbd_cluster import Connection
from glancetx.stores.rbd_draft import SNAPSHOT, opened
from glancetx.stores.uri import rbd_place, rbd_url

DIRECTORY: Final = "rbd_directory"
_NAME: Final = "name_"
_PART: Final = re.compile(r"([^.]+)\.[0-9a-f]{32}\.part")


def page(connection: Connection, pool_name: str, marker: str, limit: int) -> Page:
    """As `IListing.page`."""
    rados = connection.rados
    with opened(connection, pool_name) as pool:
        try:
            with rados.ReadOpCtx() as operation:
                found, _ = pool.get_omap_vals(operation, marker, _NAME, limit)
                pool.operate_read_op(operation, DIRECTORY)
                keys = [key for key, _ in found]
        except rados.ObjectNotFound:  # there never was an image
            keys = []
    items = [_item(connection.fsid, pool_name, key.removeprefix(_NAME)) for key in keys]
    return Page(items=tuple(item for item in items if item is not None), marker=keys[-1] if keys else None)


def look(connection: Connection, pool_name: str, item: Item) -> Kept | None:
    """As `IListing.look`. One that somebody has open for writing was written to just now."""
    rbd = connection.rbd
    with opened(connection, pool_name) as pool:
        try:
            with rbd.Image(pool, item.name, read_only=True) as image:
                written = max(_utc(image.create_timestamp()), _utc(image.modify_timestamp()))
                age = 0.0 if list(image.watchers_list()) else (datetime.now(UTC) - written).total_seconds()
                size = image.size()
        except rbd.ImageNotFound:
            return None
        return Kept(size=size, age=age, superseded=item.piece and _exists(rbd, pool, item.image_id))


def is_same(pool_name: str, item: Item, url: str) -> bool:
    """Whichever cluster and snapshot the location names: the store has but one cluster, and old ones name neither."""
    try:
        place = rbd_place(url)
    except DataNotFound:
        return False
    return place.image == item.image_id and (place.pool or pool_name) == pool_name


def _item(fsid: str, pool_name: str, name: str) -> Item | None:
    part = _PART.fullmatch(name)
    image_id = name if part is None else part[1]
    if not is_image_id(image_id):
        return None
    url = rbd_url(fsid, pool_name, image_id, SNAPSHOT)
    return Item(name=name, image_id=image_id, url=url, piece=part is not None)


def _exists(rbd: Any, pool: Any, name: str) -> bool:
    try:
        rbd.Image(pool, name, read_only=True).close()
    except rbd.ImageNotFound:
        return False
    return True


def _utc(time: datetime) -> datetime:
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)
