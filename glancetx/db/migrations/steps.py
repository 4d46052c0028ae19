"""What our revisions are made of: each step passes over what is there already.

MariaDB and MySQL commit at every change of a table, so a process that dies within a revision leaves a part of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from alembic import op
from sqlalchemy import Column, Index, inspect, text


def add_table(name: str, *columns: Column[Any] | Index) -> None:
    """A new table with its indexes. Names are kept as bytes are: `a` is not `A`, unlike in Glance's tables."""
    if not inspect(op.get_bind()).has_table(name):
        op.create_table(name, *columns, mysql_engine="InnoDB", mysql_charset="utf8mb4", mysql_collate="utf8mb4_bin")


def add_column(table: str, column: Column[Any]) -> None:
    """A new column of a table that is there."""
    present = {found["name"] for found in inspect(op.get_bind()).get_columns(table)}
    if column.name not in present:
        op.add_column(table, column)


def add_index(name: str, table: str, *columns: Any, prefix: Mapping[str, int] | None = None) -> None:
    """A new index on a table that is there. *prefix*: of which columns only so many characters, since there is no
    limit to what is in them; SQLite has none either.
    """
    connection = op.get_bind()
    if name in {found["name"] for found in inspect(connection).get_indexes(table)}:
        return
    lengths = dict(prefix or {})
    words = list(columns)
    if connection.dialect.name == "postgresql":
        words = [text(f"left({each}, {lengths[each]})") if each in lengths else each for each in columns]
    op.create_index(name, table, words, mysql_length=lengths)


def drop_index(name: str, table: str) -> None:
    """An index that is not needed any more; no database copies the table for that."""
    if name in {found["name"] for found in inspect(op.get_bind()).get_indexes(table)}:
        op.drop_index(name, table)
