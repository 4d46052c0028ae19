"""``glancetx-manage strays``: data in the stores that no image has."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import click

from glancetx.cli.tables import print_table
from glancetx.cli.work import load, with_service
from glancetx.config.settings import DatabaseSettings
from glancetx.db.engine import transact
from glancetx.db.strays import load_strays
from glancetx.domain.errors import ConfigurationError, DatabaseUnavailable
from glancetx.domain.image import utc_now
from glancetx.domain.listed import Stray

if TYPE_CHECKING:
    from glancetx.app import ImageService

LIMIT: Final = 10_000
store_option = click.option("--store", help="Only what is in this store.")
age_option = click.option(
    "--days", type=click.FloatRange(min=0), default=0.0, help="Only what was found so many days ago or earlier."
)


@click.group()
def strays() -> None:
    """Data in the stores that no image has, as the surveyor has found it."""


@strays.command("list")
@store_option
@age_option
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, for programs.")
@click.pass_context
def list_strays(context: click.Context, store: str | None, days: float, as_json: bool) -> None:
    """Show them, those that were found first before the others. Times are UTC.

    The exit status is 1 if there are any.
    """
    found = _load(load(context).database, store, days)
    if as_json:
        for stray in found:
            click.echo(json.dumps(_facts(stray)))
    else:
        _show(found)
    context.exit(bool(found))


@strays.command()
@store_option
@age_option
@click.option("--all", "everything", is_flag=True, help="All of them; else name those that are to be removed.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.argument("ids", nargs=-1)
@click.pass_context
def delete(
    context: click.Context, store: str | None, days: float, everything: bool, yes: bool, ids: tuple[str, ...]
) -> None:
    """Remove strays by their ids, or all. Each is looked at once more before: what an image has by now stays.

    Nothing is left of what is removed. Make sure that no other service, with another database, uses the same store. The
    exit status is 1 if some stay; the log tells why.
    """
    if everything == bool(ids):
        raise click.UsageError("Name strays, or say --all.")
    settings = load(context)
    found = [stray for stray in _load(settings.database, store, days) if everything or stray.id in ids]
    if unknown := set(ids) - {stray.id for stray in found}:
        raise click.ClickException(f"There are no such strays: {', '.join(sorted(unknown))}")
    if not yes:
        _show(found)
        click.confirm(f"Remove {len(found)} of {sum(stray.size for stray in found):,} bytes for good?", abort=True)

    async def remove(service: ImageService) -> None:
        removed = 0
        for stray in found:
            removed += await service.background.stray_removal.remove(stray)
        click.echo(f"{removed} removed" + (f", {len(found) - removed} stay" if removed < len(found) else ""))
        if removed < len(found):
            sys.exit(1)

    with_service(settings, remove)


def _load(database: DatabaseSettings, store: str | None, days: float) -> list[Stray]:
    try:
        return transact(database, load_strays, store, utc_now() - timedelta(days=days), LIMIT)
    except (ConfigurationError, DatabaseUnavailable) as error:
        raise click.ClickException(str(error)) from error


def _facts(stray: Stray) -> dict[str, str | int | bool]:
    """JSON types only."""
    return {
        "id": stray.id,
        "store": stray.store,
        "name": stray.item.name,
        "image": stray.item.image_id,
        "size": stray.size,
        "piece": stray.item.piece,
        "written_at": f"{stray.changed:%Y-%m-%dT%H:%M:%SZ}",
        "first_seen": f"{stray.first_seen:%Y-%m-%dT%H:%M:%SZ}",
    }


def _show(found: Sequence[Stray]) -> None:
    if not found:
        click.echo("None.")
        return
    shown = ("id", "store", "name", "size", "written_at", "first_seen")
    rows = [[str(facts[name]) for name in shown] for facts in map(_facts, found)]
    print_table(("id", "store", "name", "bytes", "written", "first seen"), rows)
