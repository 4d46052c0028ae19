"""Statements that the server parses once for each connection that sends them again and again.

PyMySQL knows nothing of prepared statements, so they are prepared and executed in SQL. What comes back is the same as
without: rows as text.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import Connection, Dialect

TOO_MANY: Final = 1461
"""The server keeps no more of them, of all its clients together (``max_prepared_stmt_count``)."""
FORGOTTEN: Final = 1243
"""It does not know the statement: perhaps a proxy has put another connection in the place of the first."""

_KNOWN: Final = "glancetx_parsed"
_PLACE: Final = re.compile(r"%\((\w+)\)s")


def parses_once(dialect: Dialect) -> bool:
    """Whether there is `execute_parsed`. MySQL would need a variable for each value."""
    return bool(getattr(dialect, "is_mariadb", False))


def execute_parsed(connection: Connection, cursor: Any, text: str, values: Mapping[str, Any]) -> None:
    """Have *cursor* execute *text*, whose parameters are named, on the *connection* that it is of."""
    try:
        _execute(connection.info.setdefault(_KNOWN, {}), cursor, text, values)
    except Exception as error:
        if error.args[:1] == (FORGOTTEN,):
            known = connection.info[_KNOWN] = {}
            _execute(known, cursor, text, values)
        elif error.args[:1] == (TOO_MANY,):
            cursor.execute(text, values)
        else:
            raise


def _execute(known: dict[str, tuple[str, list[str]]], cursor: Any, text: str, values: Mapping[str, Any]) -> None:
    if text not in known:
        # Named by what it is: where a proxy has changed the server's connection, a name finds this statement or none.
        name, order = f"glancetx_{hashlib.sha256(text.encode()).hexdigest()[:24]}", _PLACE.findall(text)
        cursor.execute(f"PREPARE {name} FROM %s", (_PLACE.sub("?", text).replace("%%", "%"),))
        known[text] = f"EXECUTE {name} USING {', '.join(['%s'] * len(order))}", order
    execute, order = known[text]
    cursor.execute(execute, [values[each] for each in order])
