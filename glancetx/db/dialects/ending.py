"""The last statements of a transaction, which may go to the database together with COMMIT.

For each answer that is waited for, threads on both sides are put to sleep and woken. So nothing that comes of these
statements may decide whether to commit, but that one of them fails.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import Any, Final

from sqlalchemy import Connection, Dialect

_MAY_END: Final = "glancetx_may_end"
_LEFT: Final = "glancetx_left"


def permit_ending(connection: Connection, permitted: bool) -> None:
    """Whether what is run next on *connection* comes last in its transaction; what an earlier one has left is dropped.

    Only MariaDB and MySQL take several at once; they stop at one that fails.
    """
    connection.info.pop(_LEFT, None)
    connection.info[_MAY_END] = permitted and connection.dialect.name == "mysql"


def may_end(connection: Connection) -> bool:
    """Whether whoever asks may leave the last statements to the commit. Only the first who asks may."""
    return bool(connection.info.pop(_MAY_END, False))


def leave(connection: Connection, texts: Sequence[str]) -> None:
    """Have *texts* sent with the commit: one that fails is the last, and nothing is committed."""
    connection.info[_LEFT] = texts


def commit_what_is_left(dialect: Dialect) -> None:
    """Let COMMIT of *dialect* go with what was left to it."""
    commit = dialect.do_commit

    def do_commit(connection: Any) -> None:
        left = connection.info.pop(_LEFT, None)
        if left is None:
            commit(connection)
            return
        with closing(connection.cursor()) as cursor:
            try:
                cursor.execute(";\n".join((*left, "COMMIT")))
                while cursor.nextset():
                    pass
            except Exception:
                connection.rollback()  # SQLAlchemy takes a transaction for over whose commit has failed
                raise

    dialect.do_commit = do_commit  # type: ignore[assignment,method-assign]
