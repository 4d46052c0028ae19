"""SQL expressions that each database words in its own way."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import ColumnElement, Dialect, Table, bindparam, false
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.expression import FunctionElement
from sqlalchemy.types import Boolean, Enum, Text

BEGINNING: Final = 100
"""Characters of a property's value that are indexed."""


def nulls_are_smallest(dialect: Dialect) -> bool:
    """Whether NULL sorts before every value, and not behind it. Indexes have that order, so it is kept."""
    return dialect.name != "postgresql"


def enters_by_rows(dialect: Dialect) -> bool:
    """Whether an index of several columns is entered by ``(a, b) > (x, y)``, and not by its parts joined with OR."""
    return dialect.name != "mysql"


def merges_unions(dialect: Dialect) -> bool:
    """Whether the parts of a UNION that has an order are read in step, and no further than its limit wants them."""
    return dialect.name == "sqlite"


def merges_distinct(dialect: Dialect) -> bool:
    """The same of a UNION ALL whose rows are made distinct by a SELECT around it."""
    return dialect.name == "postgresql"


def stops_within(dialect: Dialect) -> bool:
    """Whether a subquery that has a limit is read no further than the query around it wants, and in its order."""
    return dialect.name != "mysql"


def counts_what_it_reads(dialect: Dialect) -> bool:
    """Whether a query may be told how many rows it looks at; it warns when it has stopped there. MySQL has no such."""
    return bool(getattr(dialect, "is_mariadb", False))


def prefers_joins(dialect: Dialect) -> bool:
    """Whether it is much dearer to ask a subquery for each row than to join the table that it asks."""
    return dialect.name == "mysql"


def folds_letters(dialect: Dialect) -> bool:
    """Whether texts that differ in case or accents only are equal in Glance's columns, and their unique keys."""
    return dialect.name == "mysql"


SHORT: Final = 512
"""Characters of a text that MariaDB still keeps in memory."""


class json_rows(FunctionElement[str]):  # noqa: N801  # SQL functions are lower case in SQLAlchemy
    """Aggregates rows into the text of a JSON array of arrays; no rows give ``[]`` or NULL, the order is any.

    Where the database cannot return so long a text, it returns what is not JSON.
    """

    type = Text()
    inherit_cache = True
    name = "json_rows"


@compiles(json_rows, "sqlite")
def _json_rows_sqlite(element: json_rows, compiler: Any, **kwargs: Any) -> str:
    return f"json_group_array(json_array({compiler.process(element.clauses, **kwargs)}))"


@compiles(json_rows, "mysql")
def _json_rows_mysql(element: json_rows, compiler: Any, **kwargs: Any) -> str:
    rows = f"JSON_ARRAYAGG(JSON_ARRAY({compiler.process(element.clauses, **kwargs)}))"
    return f"IF(COUNT(*) = 0, '[]', COALESCE({rows}, '!'))"  # NULL: longer than max_allowed_packet


class few_json_rows(json_rows):  # noqa: N801
    """As `json_rows`, for rows that are short, as nearly all are: one that is not, and it may not be JSON.

    The array may begin with the number of the rows that should follow.
    """

    inherit_cache = True
    name = "few_json_rows"


@compiles(few_json_rows, "mysql")
def _few_json_rows_mysql(element: json_rows, compiler: Any, **kwargs: Any) -> str:
    # What is aggregated has a table of its own in MariaDB: in memory if it is as short as this; else on disk, and
    # making three files takes longer than all the rest of reading an image. Who is cut off leaves a string, at a tab
    # that is none, or a bracket open; who is missing is missed by the count.
    row = f"LEFT(JSON_ARRAY({compiler.process(element.clauses, **kwargs)}), {SHORT})"
    return f"CONCAT('[', CONCAT_WS(',', COUNT(*), GROUP_CONCAT({row} SEPARATOR '\t,')), ']')"


class json_row(FunctionElement[str]):  # noqa: N801
    """The text of a JSON array of values."""

    type = Text()
    inherit_cache = True
    name = "json_row"


@compiles(json_row, "mysql")
def _json_row_mysql(element: json_row, compiler: Any, **kwargs: Any) -> str:
    return f"JSON_ARRAY({compiler.process(element.clauses, **kwargs)})"


class json_parts(FunctionElement[str]):  # noqa: N801
    """Texts of JSON in one, with commas between; one that is NULL, or too long, is missing there, or all are.

    A text that was cut off within a string goes on to a tab, so that the whole is no JSON either.
    """

    type = Text()
    inherit_cache = True
    name = "json_parts"


@compiles(json_parts, "mysql")
def _json_parts_mysql(element: json_parts, compiler: Any, **kwargs: Any) -> str:
    return f"CONCAT_WS('\t,', {compiler.process(element.clauses, **kwargs)})"


def likes_one_column(dialect: Dialect) -> bool:
    """Whether a `json_row` comes cheaper than as many columns, and `json_parts` than a few.

    PyMySQL is slow for each column of each row, and for each column of each result.
    """
    return dialect.name == "mysql"


@compiles(json_rows, "postgresql")
def _json_rows_postgresql(element: json_rows, compiler: Any, **kwargs: Any) -> str:
    return f"CAST(json_agg(json_build_array({compiler.process(element.clauses, **kwargs)})) AS TEXT)"


class beginning(FunctionElement[str]):  # noqa: N801
    """As much of a text as is in an index, where a database cannot have all of it there (`BEGINNING` characters)."""

    inherit_cache = True
    name = "beginning"


@compiles(beginning)
def _beginning(element: beginning, compiler: Any, **kwargs: Any) -> str:
    return str(compiler.process(element.clauses, **kwargs))  # others find it by the whole text


@compiles(beginning, "postgresql")
def _beginning_postgresql(element: beginning, compiler: Any, **kwargs: Any) -> str:
    return f"left({compiler.process(element.clauses, **kwargs)}, {BEGINNING})"


class unindexed(FunctionElement[Any]):  # noqa: N801
    """A column, in such words that no index on it is used.

    Nearly all rows are alive, most images are not hidden, and so on; SQLite takes an index that finds half of the
    table to be as good as one that finds an image's few rows.
    """

    inherit_cache = True
    name = "unindexed"

    def __init__(self, column: ColumnElement[Any]) -> None:
        super().__init__(column)
        self.type = column.type


@compiles(unindexed)
def _unindexed(element: unindexed, compiler: Any, **kwargs: Any) -> str:
    return str(compiler.process(element.clauses, **kwargs))  # others know how many rows have a value


@compiles(unindexed, "sqlite")
def _unindexed_sqlite(element: unindexed, compiler: Any, **kwargs: Any) -> str:
    return f"+{compiler.process(element.clauses, **kwargs)}"


@compiles(unindexed, "postgresql")
def _unindexed_postgresql(element: unindexed, compiler: Any, **kwargs: Any) -> str:
    # It would read all images that are shared, by a filter that there is an index for, to find the few of somebody.
    column = compiler.process(element.clauses, **kwargs)
    return f"CAST(CAST({column} AS TEXT) AS {element.type.name})" if isinstance(element.type, Enum) else str(column)


class exactly(FunctionElement[bool]):  # noqa: N801
    """Whether a text column holds just this text.

    MySQL's ``=`` sees no difference between ``ops``, ``Ops`` and ``óps``. That may do for names of images; it must not
    for the names of projects. An index on the column is used all the same.
    """

    type = Boolean()
    inherit_cache = True
    name = "exactly"

    def __init__(self, column: ColumnElement[Any], value: ColumnElement[Any] | str | None) -> None:
        wanted = value if isinstance(value, ColumnElement) else bindparam(None, value, type_=column.type, unique=True)
        super().__init__(column, wanted)

    def self_group(self, against: Any = None) -> exactly:
        """It is a condition already; made one by SQLAlchemy, with ``= 1`` behind it, it would use no index."""
        return self


@compiles(exactly)
def _exactly(element: exactly, compiler: Any, **kwargs: Any) -> str:
    left, right = (compiler.process(side, **kwargs) for side in element.clauses)
    return f"{left} = {right}"


@compiles(exactly, "mysql")
def _exactly_mysql(element: exactly, compiler: Any, **kwargs: Any) -> str:
    left, right = (compiler.process(side, **kwargs) for side in element.clauses)
    return f"({left} = {right} AND CAST({left} AS BINARY) = CAST({right} AS BINARY))"


def alive(table: Table) -> ColumnElement[bool]:
    """The condition that a row is not deleted."""
    return unindexed(table.c.deleted) == false()


def alive_by_key(table: Table) -> ColumnElement[bool]:
    """As `alive`, of rows that are found by a key."""
    return _alive_by_key(table.c.deleted)


class _alive_by_key(FunctionElement[bool]):  # noqa: N801
    type = Boolean()
    inherit_cache = True
    name = "alive_by_key"

    def self_group(self, against: Any = None) -> _alive_by_key:
        """It is a condition already, as `exactly`."""
        return self


@compiles(_alive_by_key)
def _alive_by_key_anywhere(element: _alive_by_key, compiler: Any, **kwargs: Any) -> str:
    (deleted,) = element.clauses
    return str(compiler.process(unindexed(deleted) == false(), **kwargs))


@compiles(_alive_by_key, "mysql")
def _alive_by_key_mysql(element: _alive_by_key, compiler: Any, **kwargs: Any) -> str:
    # In words that no index is used for: it would look how many rows are not deleted.
    return f"{compiler.process(element.clauses, **kwargs)} IS FALSE"
