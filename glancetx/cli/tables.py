"""Tables for people. Programs read JSON."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]], title: str | None = None) -> None:
    """One of which no cell is cut: as wide as it must be in a file or a pipe, folded on a terminal, but for the first
    column, which holds what somebody will want to copy.
    """
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column == columns[0])
    for row in rows:
        table.add_row(*row)
    console = Console(markup=False, emoji=False)
    if not console.is_terminal:
        console.width = 10_000
    console.print(table)
