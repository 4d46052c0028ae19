"""Filling empty tables quickly: entries of indexes are sorted in the end, and not each found its place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Table, insert

_INDEXES = {
    "sqlite": "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL",
    "postgresql": (
        "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = current_schema()"
        " AND indexname NOT IN (SELECT conname FROM pg_constraint)"
    ),
}


@contextmanager
def in_bulk(connection: Connection) -> Iterator[None]:
    """Within a transaction: all indexes are there again when it ends."""
    name = connection.dialect.name
    if name == "mysql":  # MariaDB fills tables that were empty when the transaction began so, if it may check nothing
        connection.exec_driver_sql("SET unique_checks = 0, foreign_key_checks = 0")
        yield
        return
    indexes = connection.exec_driver_sql(_INDEXES[name]).all()
    for index, _ in indexes:
        connection.exec_driver_sql(f"DROP INDEX {index}")
    if name == "postgresql":
        connection.exec_driver_sql("SET LOCAL session_replication_role = replica")  # looks up no foreign keys
    yield
    for _, definition in indexes:
        connection.exec_driver_sql(definition)


def insert_all(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """All *rows*, which have the same columns."""
    if connection.dialect.name != "postgresql":
        connection.execute(insert(table), rows)
        return
    columns = tuple(rows[0])
    raw: Any = connection.connection.driver_connection
    with raw.cursor() as cursor, cursor.copy(f"COPY {table.name} ({', '.join(columns)}) FROM STDIN") as copy:
        for row in rows:
            copy.write_row([row[column] for column in columns])
