"""Expressions as each database is told them."""

from __future__ import annotations

import pytest
from sqlalchemy import Connection, Dialect, or_, select
from sqlalchemy.dialects import mysql, postgresql, sqlite

from glancetx.config.settings import DatabaseSettings
from glancetx.db.dialects import exactly
from glancetx.db.engine import transact
from glancetx.db.rows import select_images
from glancetx.db.schema import images


@pytest.mark.parametrize("dialect", [sqlite.dialect(), mysql.dialect(), postgresql.dialect()], ids=lambda d: d.name)
def test_exactly_is_a_condition_as_it_is(dialect: Dialect) -> None:
    """Nothing is compared with its outcome: ``a = b = 1`` would read the whole table for one row."""
    either = or_(exactly(images.c.owner, "o"), images.c.visibility == "public")
    query = str(select(images.c.id).where(exactly(images.c.id, "x"), either).compile(dialect=dialect))
    condition = query.partition("WHERE")[2]
    assert "= 1" not in condition
    assert "true" not in condition.lower()
    assert condition.count("=") == (5 if dialect.name == "mysql" else 3)


def test_one_image_is_found_by_its_key(settings: DatabaseSettings) -> None:
    """Not by reading all of them."""

    def plan(connection: Connection) -> list[str]:
        query = select_images(connection.dialect, few=True).where(exactly(images.c.id, "x"))
        compiled = query.compile(connection, compile_kwargs={"literal_binds": True})
        return [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {compiled}")]

    steps = transact(settings, plan)
    assert any(step.startswith("SEARCH images USING INDEX") for step in steps), steps
    assert not any(step.startswith("SCAN") for step in steps), steps
