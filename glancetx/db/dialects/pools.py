"""Bounded numbers of connections, and what their errors mean."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

from attrs import frozen
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError


class Fault(Enum):
    """What an error of a database driver says of the transaction it ended."""

    COLLISION = "rolled back in favour of another transaction: the same again may well succeed"
    LOST = "the connection is gone: what was not committed is rolled back"
    UNAVAILABLE = "the database cannot do it at the moment"
    VALUE = "a value that the column cannot hold"


@frozen(kw_only=True)
class Pool:
    """At most *size* connections through one SQLAlchemy engine.

    *classify* looks at an error of the driver; None means that it is no fault but an answer, such as a duplicate key,
    or a defect of ours. *recycle* is the age in seconds at which an unused connection is replaced; 0: never.
    *together* is how many short transactions may be made one, since to commit takes longer than all else.
    """

    engine: Engine
    size: int
    classify: Callable[[Exception], Fault | None]
    recycle: float = 0
    together: int = 1

    def fault(self, error: BaseException) -> Fault | None:
        """What *error* means, whether it is the driver's or SQLAlchemy's."""
        cause = error.orig if isinstance(error, DBAPIError) else error
        driver = self.engine.dialect.loaded_dbapi
        return self.classify(cause) if isinstance(cause, driver.Error) else None


@frozen(kw_only=True)
class Pools:
    """The connections that write, and those that only read."""

    writers: Pool
    readers: Pool


def share(size: int) -> tuple[int, int]:
    """How *size* connections are divided among writers and readers; each has one at least."""
    readers = max(1, size // 2)
    return max(1, size - readers), readers
