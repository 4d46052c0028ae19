"""The tests of this name, on a MariaDB and a PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable

import pytest_twisted

from glancetx.db.images import Images
from glancetx.domain.image import Image
from tests.services.databases import DatabaseServer
from tests.services.mariadb import MariaDb
from tests.unit.db import test_listing
from tests.unit.db.test_listing import *

del test_null_is_smallest, test_equal_is_exact


@pytest_twisted.ensureDeferred
async def test_equal_is_what_the_column_says(
    images: Images, new_image: Callable[..., Image], server: DatabaseServer
) -> None:
    """Glance's columns in MariaDB do not tell cases apart, and so its filters never did."""
    await test_listing.make(images, new_image, {}, {}, {"name": "B"})
    found = await test_listing.names(images, equal={"name": "b"})
    assert sorted(map(str, found)) == (["B", "b"] if isinstance(server, MariaDb) else ["b"])
