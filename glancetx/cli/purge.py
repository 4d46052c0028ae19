"""``glancetx-manage db purge`` and ``db purge_images_table`` (contract row P-106)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from glancetx.config.settings import DatabaseSettings
from glancetx.db.engine import transact
from glancetx.db.purge import Purge, count_held, of_children, of_images, purge_all
from glancetx.domain.errors import ConfigurationError, DatabaseUnavailable
from glancetx.domain.image import utc_now

DAY = 86400


def _check_age(context: click.Context, parameter: click.Parameter, days: int) -> int:
    if days < 0:
        raise click.ClickException("Must supply a non-negative value for age.")
    if days >= time.time() // DAY:
        raise click.ClickException("Maximal age is count of days since epoch.")
    return days


def _check_rows(context: click.Context, parameter: click.Parameter, rows: int) -> int:
    if rows < -1:
        raise click.ClickException("Minimal rows limit is -1.")
    return rows


def _options(age: int) -> Callable[[Any], Any]:
    def add(command: Any) -> Any:
        command = click.option(
            "--max_rows",
            "--max-rows",
            type=int,
            callback=_check_rows,
            default=100,
            show_default=True,
            help="How many rows to remove of each table, the oldest first; -1: all.",
        )(command)
        return click.option(
            "--age_in_days",
            "--age-in-days",
            type=int,
            callback=_check_age,
            default=age,
            show_default=True,
            help="What was deleted so many days ago, or earlier.",
        )(command)

    return add


@click.command("purge")
@_options(age=30)
@click.pass_context
def purge(context: click.Context, age_in_days: int, max_rows: int) -> None:
    """Remove what was deleted long ago: properties, tags, locations, members, tasks; not the images themselves.

    Rows that live again stay, and locations whose data waits for the scrubber.
    """
    before = utc_now() - timedelta(days=age_in_days)
    _run(context, of_children(before), max_rows)


@click.command("purge_images_table")
@_options(age=180)
@click.pass_context
def purge_images_table(context: click.Context, age_in_days: int, max_rows: int) -> None:
    """Remove images that were deleted long ago, and of which nothing is left in other tables.

    Their ids can be used again then (OSSN-0075), so this is a command of its own. First run `db purge`.
    """
    before = utc_now() - timedelta(days=age_in_days)
    database = _run(context, [of_images(before)], max_rows)
    if held := _transact(database, count_held, before):
        click.echo(f"{held:,} images stay: something of them is left; run `glancetx-manage db purge` first.")


def _run(context: click.Context, purges: Iterable[Purge], max_rows: int) -> DatabaseSettings:
    try:
        database: DatabaseSettings = context.obj().database
    except ConfigurationError as error:
        raise click.ClickException(str(error)) from error
    most = None if max_rows < 0 else max_rows
    for each, bar in _bars(purges):
        there = _transact(database, each.count)
        advance = bar(each.table.name, there if most is None else min(there, most))
        removed = purge_all(lambda work: _transact(database, work), each, most, advance)
        click.echo(f"{each.table.name}: {removed:,} of {there:,} rows removed")
    return database


def _bars(purges: Iterable[Purge]) -> Iterator[tuple[Purge, Callable[[str, int], Callable[[int], None]]]]:
    """Each purge, and what begins its bar; there are none where standard error is no terminal."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:

        def begin(name: str, total: int) -> Callable[[int], None]:
            task = progress.add_task(name, total=total)
            return lambda done: progress.advance(task, done)

        for each in purges:
            yield each, begin


def _transact(database: DatabaseSettings, function: Callable[..., int], *args: Any) -> int:
    try:
        return transact(database, function, *args)
    except (ConfigurationError, DatabaseUnavailable) as error:
        raise click.ClickException(str(error)) from error
