"""Statements that MariaDB parses once for a connection, and what may become of them there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Connection

from glancetx.config.settings import DatabaseSettings
from glancetx.db.dialects import make_pools
from glancetx.db.reading import load_images
from glancetx.db.shares import ALL
from tests.services.databases import DatabaseServer

pytestmark = pytest.mark.parametrize("server", ["mariadb"], indirect=True)


@pytest.fixture
def reader(settings: DatabaseSettings) -> Iterator[Connection]:
    with make_pools(settings).readers.engine.connect() as connection:
        yield connection


def asked(reader: Connection, what: str) -> int:
    """How often this connection has asked its server to do *what*."""
    found: Any = reader.exec_driver_sql(f"SHOW SESSION STATUS LIKE 'Com_{what}_sql'").one()
    return int(found[1])


def names(reader: Connection) -> list[str]:
    """Of the statements that its server has parsed, in the order in which they came."""
    return [execute.split()[1] for execute, _ in reader.info["glancetx_parsed"].values()]


def test_a_statement_is_parsed_once(reader: Connection) -> None:
    """As long as as many images are asked for."""
    for wanted in (["a"], ["b"], ["a", "b"], ["c"]):
        assert load_images(reader, ALL, wanted) == {}
    assert (asked(reader, "prepare"), asked(reader, "execute")) == (2, 4)


def test_a_statement_that_is_forgotten(reader: Connection) -> None:
    """A proxy may have put another connection in the place of the one that knew it."""
    load_images(reader, ALL, ["a"])
    (name,) = names(reader)
    reader.exec_driver_sql(f"DEALLOCATE PREPARE {name}")
    assert load_images(reader, ALL, ["a"]) == {}
    assert asked(reader, "prepare") == 2


def test_a_name_is_of_one_statement(settings: DatabaseSettings) -> None:
    """On whichever connection, so that a proxy that changes them finds no other statement by it."""
    found = []
    for order in ((["a"], ["a", "b"]), (["a", "b"], ["a"])):
        with make_pools(settings).readers.engine.connect() as reader:
            for wanted in order:
                load_images(reader, ALL, wanted)
            found.append(names(reader))
    assert found[0] == found[1][::-1] != found[1]


def test_a_server_that_keeps_none(server: DatabaseServer, reader: Connection) -> None:
    """It is asked as any other."""
    server.run("SET GLOBAL max_prepared_stmt_count = 0")
    try:
        assert load_images(reader, ALL, ["a"]) == {}
    finally:
        server.run("SET GLOBAL max_prepared_stmt_count = 16382")
    assert asked(reader, "execute") == 0
