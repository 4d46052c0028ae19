"""What is in the caches of all nodes: Glance's tables ``node_reference`` and ``cached_images`` (database.md, D-053)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy import Connection, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from glancetx.db.engine import Engine
from glancetx.db.schema import cached_images, node_reference
from glancetx.domain.cached import CacheEntry


class CacheRows:
    """The rows of the node that is reached at *url*. Times are written as UTC, and in the interface seconds."""

    def __init__(self, engine: Engine, url: str) -> None:
        self._engine, self._url = engine, url

    async def register(self) -> None:
        """Make the node known. Idempotent."""
        await self._engine.ensure(_node, self._url)

    async def add(self, entry: CacheEntry) -> None:
        """Note the entry, in place of one of the same image."""
        await self._engine.ensure(_add, self._url, entry)

    async def hit(self, image_id: str, times: int, now: float) -> None:
        await self._engine.ensure(_hit, self._url, image_id, times, _moment(now))

    async def remove(self, image_id: str | None) -> None:
        """Remove the entry of the image; None: of all."""
        await self._engine.ensure(_remove, self._url, image_id)

    async def entries(self) -> list[CacheEntry]:
        return await self._engine.read(_entries, self._url)

    async def nodes(self, image_id: str) -> Sequence[str]:
        """The URLs of all nodes that have the image."""
        return await self._engine.read(_nodes, image_id)


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None)


def _seconds(moment: datetime) -> float:
    return moment.replace(tzinfo=UTC).timestamp()


def _node(connection: Connection, url: str) -> int:
    """The number of the node, which is made known if it is not."""
    known = select(node_reference.c.node_reference_id).where(node_reference.c.node_reference_url == url)
    found = connection.execute(known).scalar()
    if found is None:
        try:
            with connection.begin_nested():
                connection.execute(insert(node_reference).values(node_reference_url=url))
        except IntegrityError:  # another process of this node was faster
            pass
        found = connection.execute(known).scalar_one()
    return int(found)


def _add(connection: Connection, url: str, entry: CacheEntry) -> None:
    node = _node(connection, url)
    values = {
        "size": entry.size,
        "hits": entry.hits,
        "last_accessed": _moment(entry.last_accessed),
        "last_modified": _moment(entry.last_modified),
        "checksum": entry.checksum,
    }
    table = cached_images
    this = (table.c.image_id == entry.image_id, table.c.node_reference_id == node)
    if connection.execute(update(table).where(*this).values(values)).rowcount:
        return
    try:
        with connection.begin_nested():
            connection.execute(insert(table).values(image_id=entry.image_id, node_reference_id=node, **values))
    except IntegrityError:  # noted meanwhile
        connection.execute(update(table).where(*this).values(values))


def _hit(connection: Connection, url: str, image_id: str, times: int, now: datetime) -> None:
    table = cached_images
    this = (table.c.image_id == image_id, table.c.node_reference_id == _node(connection, url))
    connection.execute(update(table).where(*this).values(hits=table.c.hits + times, last_accessed=now))


def _remove(connection: Connection, url: str, image_id: str | None) -> None:
    table = cached_images
    rows = delete(table).where(table.c.node_reference_id == _node(connection, url))
    connection.execute(rows if image_id is None else rows.where(table.c.image_id == image_id))


def _entries(connection: Connection, url: str) -> list[CacheEntry]:
    table, nodes = cached_images, node_reference
    wanted = (
        select(table)
        .join(nodes, nodes.c.node_reference_id == table.c.node_reference_id)
        .where(nodes.c.node_reference_url == url)
        .order_by(table.c.image_id)
    )
    return [
        CacheEntry(
            image_id=row["image_id"],
            size=row["size"],
            hits=row["hits"],
            last_accessed=_seconds(row["last_accessed"]),
            last_modified=_seconds(row["last_modified"]),
            checksum=row["checksum"],
            row=row["id"],
        )
        for row in connection.execute(wanted).mappings()
    ]


def _nodes(connection: Connection, image_id: str) -> list[str]:
    table, nodes = cached_images, node_reference
    wanted = (
        select(nodes.c.node_reference_url)
        .join(table, nodes.c.node_reference_id == table.c.node_reference_id)
        .where(table.c.image_id == image_id)
        .order_by(nodes.c.node_reference_url)
    )
    return list(connection.execute(wanted).scalars())
