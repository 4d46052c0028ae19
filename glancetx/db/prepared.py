"""Statements that are sent so often that they are made once, and sent in the driver's own words.

That takes a third of SQLAlchemy's time for a row, and less for a page.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from typing import Any, Final

from attrs import field, frozen
from sqlalchemy import BindParameter, Connection, Dialect, Select, Update, bindparam

from glancetx.db.dialects import execute_parsed, is_stop, leave, parses_once, stopped, takes_several


@frozen
class Prepared:
    """A statement as text. *order* names its parameters as they come in it; None if the driver takes names.

    *fixed* are values that are always the same; *convert* makes others what the driver takes, where it must.
    """

    text: str
    fixed: Mapping[str, Any]
    order: tuple[str, ...] | None
    convert: Mapping[str, Callable[[Any], Any]] = field(factory=dict)

    def all(self, connection: Connection, values: Mapping[str, Any]) -> Sequence[Any]:
        """On a connection that only reads: its rows, for these *values* of its named parameters.

        A single statement is a transaction of its own if none has begun. Neither values nor rows are converted.
        Raises the driver's errors, which the engine knows as well.
        """
        with closing(connection.connection.cursor()) as cursor:
            cursor.execute(self.text, self._parameters(values))
            rows: Sequence[Any] = cursor.fetchall()
            return rows

    def again(self, connection: Connection, values: Mapping[str, Any]) -> Sequence[Any]:
        """As `all`, for one that a connection sends again and again: the server parses it once, if that can be."""
        if not parses_once(connection.dialect):
            return self.all(connection, values)
        with closing(connection.connection.cursor()) as cursor:
            execute_parsed(connection, cursor, self.text, self._parameters(values))
            rows: Sequence[Any] = cursor.fetchall()
            return rows

    def bounded(self, connection: Connection, values: Mapping[str, Any]) -> Sequence[Any] | None:
        """As `all`; None if the database has stopped before the end."""
        with closing(connection.connection.cursor()) as cursor:
            try:
                cursor.execute(self.text, self._parameters(values))
            except Exception as error:
                if is_stop(error):
                    return None
                raise
            rows: Sequence[Any] = cursor.fetchall()
            return None if stopped(connection, cursor) else rows

    def first(self, connection: Connection, values: Mapping[str, Any]) -> Any:
        """The first of its rows, or None."""
        rows = self.all(connection, values)
        return rows[0] if rows else None

    def within(self, connection: Connection, values: Mapping[str, Any]) -> Sequence[Any]:
        """As `all`, within a transaction: it begins now if it has not begun."""
        _begin(connection)
        return self.all(connection, values)

    def change(self, connection: Connection, values: Mapping[str, Any]) -> int:
        """Within a transaction, as `within`: tells how many rows it found."""
        _begin(connection)
        with closing(connection.connection.cursor()) as cursor:
            cursor.execute(self.text, self._converted(values))
            return int(cursor.rowcount)

    def _converted(self, values: Mapping[str, Any]) -> Any:
        converted = {name: convert(values[name]) for name, convert in self.convert.items() if name in values}
        return self._parameters({**values, **converted})

    def _parameters(self, values: Mapping[str, Any]) -> Any:
        given = {**values, **self.fixed}
        return given if self.order is None else tuple([given[name] for name in self.order])


@frozen
class Outcome:
    """What came of a statement: the *count* of rows that it found or changed, and what *rows* it returned."""

    count: int
    rows: Sequence[Any]


Statement = tuple[Prepared, Mapping[str, Any]]


def send_all(connection: Connection, statements: Sequence[Statement]) -> list[Outcome]:
    """Within a transaction: each of *statements* with its values, one after the other.

    In one go where the database takes that: for each of them alone, threads on both sides are put to sleep and woken.
    """
    _begin(connection)
    with closing(connection.connection.cursor()) as cursor:
        if not takes_several(connection.dialect):
            return [_outcome(cursor, each.text, each._converted(values)) for each, values in statements]
        outcomes = [_outcome(cursor, ";\n".join(_in_words(cursor, each) for each in statements))]
        while cursor.nextset():
            outcomes.append(_outcome(cursor))
        return outcomes


def end_with(connection: Connection, statements: Sequence[Statement]) -> None:
    """Within a transaction that `may_end`: send *statements* with the commit."""
    _begin(connection)
    with closing(connection.connection.cursor()) as cursor:
        leave(connection, [_in_words(cursor, each) for each in statements])


def _in_words(cursor: Any, statement: Statement) -> str:
    prepared, values = statement
    text: str = cursor.mogrify(prepared.text, prepared._converted(values))
    return text


def _outcome(cursor: Any, *statement: Any) -> Outcome:
    if statement:
        cursor.execute(*statement)
    return Outcome(int(cursor.rowcount), cursor.fetchall() if cursor.description else ())


def _begin(connection: Connection) -> None:
    """SQLAlchemy does so for what it sends itself, and commits only what it knows of."""
    if not connection.in_transaction():
        connection.begin()


def prepare_query(query: Select[Any], dialect: Dialect) -> Prepared:
    """*query* with its named parameters; those without a name keep the values that they have."""
    compiled = query.compile(dialect=dialect, compile_kwargs=_WHOLE)
    return Prepared(str(compiled), _fixed(compiled), _order(compiled))


def prepare_change(change: Update, dialect: Dialect) -> Prepared:
    """*change*, likewise."""
    compiled = change.compile(dialect=dialect, compile_kwargs=_WHOLE)
    fixed = _fixed(compiled)
    found = {name: bind.type.dialect_impl(dialect).bind_processor(dialect) for name, bind in compiled.binds.items()}
    convert = {name: process for name, process in found.items() if process is not None and name not in fixed}
    return Prepared(str(compiled), fixed, _order(compiled), convert)


SIZES: Final = (1, 2, 4, 8, 16, 32)
"""How many values a statement asks for by `any_of`: the last one several times, so that there are few statements."""


def padded(name: str, values: Sequence[Any]) -> dict[str, Any]:
    """*values*, 32 at most, for the parameters of an `any_of` of the next greater size."""
    size = next(size for size in SIZES if size >= len(values))
    given = [*values, *[values[-1]] * (size - len(values))]
    return {f"{name}_{number}": each for number, each in enumerate(given)}


def any_of(name: str, size: int) -> list[BindParameter[Any]]:
    """Parameters for the values of an IN."""
    return [bindparam(f"{name}_{number}", None) for number in range(size)]


_WHOLE: Final = {"render_postcompile": True}


def _fixed(compiled: Any) -> Mapping[str, Any]:
    return {name: value for name, value in compiled.params.items() if value is not None}


def _order(compiled: Any) -> tuple[str, ...] | None:
    return None if compiled.positiontup is None else tuple(compiled.positiontup)
