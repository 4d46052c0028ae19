"""Telling others what a transaction changes, within it: what is written of it then is there if the change is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from sqlalchemy import Connection

T = TypeVar("T")

Transaction = Connection
"""What a transaction runs on; rooms above hand it on, and only know that it is one."""

Tell = Callable[[Transaction, T], None]
"""Called at the end of a transaction with what came of it; if the transaction is run again, so is this."""

_AFTERWARDS: Final = "glancetx_afterwards"


def nobody(transaction: Transaction, outcome: object) -> None:
    """Is told, and does nothing."""


def on_commit(transaction: Transaction, call: Callable[[], None]) -> None:
    """Have *call*, which must not raise, called in the reactor's thread once this transaction is committed.

    It is called before whoever wants the outcome has it, and never if the transaction comes to nothing, or nobody
    knows what came of it.
    """
    transaction.info.setdefault(_AFTERWARDS, []).append(call)


def afterwards(connection: Connection) -> Sequence[Callable[[], None]]:
    """What is to be called now that the transaction is over; it is forgotten here."""
    calls: Sequence[Callable[[], None]] = connection.info.pop(_AFTERWARDS, ())
    return calls
