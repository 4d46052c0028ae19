"""A catalogue as large as a cloud's, written straight into an empty database: the same images each time.

For a hundred times as many images there are ten times as many projects, but two of them (`US` and `THEM`) have the
same in each catalogue. Of the images 12 % are public, 4 % community, 24 % shared with four projects each, the rest
private; a fifth is deleted, one of fifty hidden. Each has a location, four properties and a tag.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, Table, text

from glancetx.db.schema import image_locations, image_members, image_properties, image_tags, images
from tests.bench.bulk import in_bulk, insert_all

US: Final = f"{1:032x}"
"""The project of who asks: it has `OURS` images, and `OURS` of others are shared with it."""
THEM: Final = f"{2:032x}"
"""A project with `THEIRS` images."""
OURS: Final = 25
THEIRS: Final = 40
RARE: Final = 40
"""How many images have the property ``rare``, the tag and the name ``rare``, however many there are."""
BATCH: Final = 2000

_BEGINNING: Final = datetime(2024, 1, 1)
_VISIBILITIES: Final = ("public",) * 3 + ("community",) + ("shared",) * 6 + ("private",) * 15
_DISTRIBUTIONS: Final = ("ubuntu", "debian", "rocky", "windows", "fedora")
_FORMATS: Final = ("raw", "qcow2", "iso", "vmdk")

TABLES: Final = (images, image_properties, image_tags, image_locations, image_members)
Rows = Mapping[Table, list[dict[str, Any]]]


def projects(count: int) -> tuple[str, ...]:
    """Those that have *count* images: 40 for 1,000."""
    return tuple(f"{number:032x}" for number in range(1, int(1.265 * count**0.5) + 1))


def fill(connection: Connection, count: int) -> None:
    """Insert *count* images with all that belongs to them, and let the database look at what it has."""
    with in_bulk(connection):
        for rows in _Catalogue(count).batches():
            for table, values in rows.items():
                if values:
                    insert_all(connection, table, values)
    if connection.dialect.name == "postgresql":
        connection.execute(text("ANALYZE"))
    elif connection.dialect.name == "mysql":
        connection.execute(text(f"ANALYZE TABLE {', '.join(table.name for table in TABLES)}"))


class _Catalogue:
    """The rows of *count* images; the same ones each time."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._chance = random.Random(count)
        self._projects = projects(count)[2:]  # the others
        self._rare = set(self._chance.sample(range(count), min(RARE, count)))
        known = self._chance.sample(range(count), 2 * OURS + THEIRS)
        self._owners = dict.fromkeys(known[:OURS], US) | dict.fromkeys(known[2 * OURS :], THEM)
        self._to_us = set(known[OURS : 2 * OURS])
        self._rows: Rows = {}

    def batches(self) -> Iterator[Rows]:
        for start in range(0, self._count, BATCH):
            self._rows = {table: [] for table in TABLES}
            for number in range(start, min(self._count, start + BATCH)):
                self._add(number)
            yield self._rows

    def _add(self, number: int) -> None:
        chance, rare = self._chance, number in self._rare
        created = _BEGINNING + timedelta(minutes=number, microseconds=chance.randrange(10**6))
        ended = not rare and chance.random() < 0.2
        life = {"created_at": created, "updated_at": created, "deleted": ended}
        life["deleted_at"] = created + timedelta(days=1) if ended else None
        image = (
            self._image(number) | life | ({"status": "deleted"} if ended else {}) | ({"name": "rare"} if rare else {})
        )
        members = chance.sample(self._projects, 4) if image["visibility"] == "shared" else []
        if number in self._to_us:
            image["visibility"], members = "shared", [US, *members[1:]]
        self._rows[images].append(image)
        mine = {"image_id": image["id"], **life}
        for name, value in self._properties(number, rare).items():
            self._rows[image_properties].append(mine | {"name": name, "value": value})
        self._rows[image_tags].append(mine | {"value": "rare" if rare else f"team{number % 10}"})
        place = {"value": f"file:///images/{image['id']}", "meta_data": '{"store": "file"}'}
        self._rows[image_locations].append(mine | place | {"status": "deleted" if ended else "active"})
        for member in members:
            status = chance.choice(("accepted", "accepted", "pending", "rejected"))
            self._rows[image_members].append(mine | {"member": member, "can_share": False, "status": status})

    def _properties(self, number: int, rare: bool) -> dict[str, str]:
        same = {"os_distro": self._chance.choice(_DISTRIBUTIONS), "architecture": "x86_64", "hw_disk_bus": "virtio"}
        return same | ({"rare": "yes"} if rare else {"build": str(number)})

    def _image(self, number: int) -> dict[str, Any]:
        chance = self._chance
        queued = chance.random() < 0.05
        return {
            "id": str(uuid.UUID(int=chance.getrandbits(128), version=4)),
            "name": None if queued else f"image {chance.randrange(10**6)}",
            "size": None if queued else chance.randrange(1, 2**35),
            "status": "queued" if queued else "active",
            "disk_format": chance.choice(_FORMATS),
            "container_format": "bare",
            "checksum": f"{number:032x}",
            "os_hash_algo": "sha512",
            "os_hash_value": f"{number:0128x}",
            "owner": self._owners.get(number) or chance.choice(self._projects),
            "visibility": chance.choice(_VISIBILITIES),
            "min_disk": 0,
            "min_ram": 0,
            "protected": False,
            "os_hidden": chance.random() < 0.02,
            "virtual_size": None,
        }
