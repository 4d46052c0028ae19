"""Changes of one image that wait for each other."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
import pytest_twisted
from attrs import evolve
from sqlalchemy import Connection, insert, text, update
from twisted.internet.defer import ensureDeferred
from twisted.internet.threads import deferToThread

from glancetx.db.engine import Engine
from glancetx.db.images import Images
from glancetx.db.schema import image_properties, image_tags
from glancetx.db.telling import nobody
from glancetx.db.writing import Save, save_images
from glancetx.domain.context import service_context
from glancetx.domain.errors import ImageChanged
from glancetx.domain.image import Image, utc_now
from tests.integration.db.test_outages import wait
from tests.running import PATIENCE
from tests.services.databases import DatabaseServer
from tests.services.mariadb import MariaDb


def waiting(server: DatabaseServer) -> int:
    """How many transactions wait for a lock."""
    if isinstance(server, MariaDb):
        # Not from innodb_trx, which stays what it was for whoever asks more often than ten times a second.
        status = "information_schema.global_status WHERE variable_name = 'Innodb_row_lock_current_waits'"
        asked = f"SELECT variable_value FROM {status}"
    else:
        asked = "SELECT COUNT(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    return int(server.run(asked)[0][0])


def change_property(connection: Connection, image_id: str) -> None:
    mine = image_properties.c.image_id == image_id
    connection.execute(update(image_properties).where(mine).values(value="theirs"))


def add_tag(connection: Connection, image_id: str) -> None:
    row = {"image_id": image_id, "value": "theirs", "created_at": utc_now(), "deleted": False}
    connection.execute(insert(image_tags).values(row))


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("change", [change_property, add_tag])
@pytest_twisted.ensureDeferred
async def test_save_sees_what_it_waited_for(
    images: Images,
    engine: Engine,
    new_image: Callable[..., Image],
    server: DatabaseServer,
    change: Callable[[Connection, str], None],
    several: bool,
) -> None:
    """Whoever waits for a change that others make finds it, if it is one of what belongs to the image only.

    Also if *several* are saved at once, and it waits for the second, when it has locked the first.
    """
    made = [await images.create(new_image(properties={"a": "ours"})) for _ in range(2)]
    beside, read = sorted(made, key=lambda image: image.id)
    held, enough = threading.Event(), threading.Event()

    def other(connection: Connection) -> None:
        connection.execute(text("UPDATE images SET min_ram = 0 WHERE id = :id"), {"id": read.id})
        change(connection, read.id)
        held.set()
        assert enough.wait(PATIENCE)

    holding = ensureDeferred(engine.interact(other))
    await deferToThread(held.wait, PATIENCE)
    saves = [Save(evolve(each, name="ours"), each.status, None, None, each, nobody) for each in (beside, read)]
    saving = ensureDeferred(engine.interact(save_images, saves if several else saves[1:]))
    await wait(lambda: waiting(server) == 1)
    enough.set()
    with pytest.raises(ImageChanged):
        await saving
    await holding
    assert (await images.get(service_context(), beside.id)).name is None
    left = await images.get(service_context(), read.id)
    assert left.name is None
    assert "theirs" in (left.properties["a"], *left.tags)
