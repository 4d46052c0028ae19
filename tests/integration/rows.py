"""What two servers have written into Glance's tables, to be compared (database.md, chapters 2 to 5)."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, MetaData, create_engine, select

from tests.integration.replaying import CHOSEN

TIMES = "moment"


def unlike_rows(theirs: Path, ours: Path) -> list[str]:
    """The rows of Glance's tables that only one of two SQLite databases has; times are only there or not."""
    first, second = rows(theirs), rows(ours)
    left = [f"only theirs: {row}" for row in (first - second).elements()]
    return sorted(left + [f"only ours: {row}" for row in (second - first).elements()])


def rows(path: Path) -> Counter[str]:
    """All rows as text, without what the server chose; its folder is written over."""
    engine = create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        found = Counter(CHOSEN.sub("ID", text.replace(str(path.parent), "/FOLDER")) for text in _texts(connection))
    engine.dispose()
    return found


def _texts(connection: Connection) -> Iterator[str]:
    metadata = MetaData()
    metadata.reflect(connection)
    for name, table in metadata.tables.items():
        if name.startswith(("glancetx", "alembic", "task")):
            continue
        for row in connection.execute(select(table)).mappings():
            values = {each.name: _plain(each.name, row[each.name]) for each in table.columns}
            if name != "images":
                values.pop("id", None)
            yield f"{name} {json.dumps(values)}"


def _plain(name: str, value: Any) -> Any:
    return value and TIMES if name.endswith("_at") else value
