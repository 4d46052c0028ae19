"""The database of each test, as the tests of the database have it."""

from tests.unit.db.conftest import count, engine, images, new_image, process

__all__ = ["count", "engine", "images", "new_image", "process"]
