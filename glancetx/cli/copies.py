"""``glancetx-manage copies``: what the auditor has found."""

from __future__ import annotations

import json
from typing import Final

import click

from glancetx.cli.tables import print_table
from glancetx.config.settings import DatabaseSettings
from glancetx.db.copies import count_states, load_in_state
from glancetx.db.engine import transact
from glancetx.domain.copy import CORRUPT, MISSING, SOUND, UNKNOWN, UNREADABLE, Copy
from glancetx.domain.errors import ConfigurationError, DatabaseUnavailable

STATES: Final = (CORRUPT, MISSING, UNREADABLE, SOUND, UNKNOWN)
DAMAGED: Final = (CORRUPT, MISSING, UNREADABLE)
LIMIT: Final = 10_000


@click.command()
@click.option("--state", "states", multiple=True, type=click.Choice(STATES), help="May be repeated; default: damaged.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, for programs.")
@click.pass_context
def copies(context: click.Context, states: tuple[str, ...], as_json: bool) -> None:
    """List copies of images by what the auditor found when it last read them.

    The exit status is 1 if a damaged copy is listed. Times are UTC. Locations are told by their numbers, since their
    URIs may hold passwords.
    """
    try:
        database: DatabaseSettings = context.obj().database
        counts = transact(database, count_states)
        found = transact(database, load_in_state, states or DAMAGED, LIMIT)
    except (ConfigurationError, DatabaseUnavailable) as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        for copy in found:
            click.echo(json.dumps(_facts(copy)))
    else:
        _show(counts, found)
    context.exit(any(copy.state in DAMAGED for copy in found))


def _facts(copy: Copy) -> dict[str, str | int | None]:
    """JSON types only."""
    return {
        "image": copy.image_id,
        "location": copy.location.id,
        "store": copy.location.store,
        "state": copy.state,
        "audited_at": f"{copy.audited_at:%Y-%m-%dT%H:%M:%SZ}" if copy.audited_at else None,
        "detail": copy.detail,
    }


def _show(counts: dict[str, int], found: list[Copy]) -> None:
    if found:
        rows = [["" if value is None else str(value) for value in _facts(copy).values()] for copy in found]
        print_table(("image", "location", "store", "state", "looked at", "why"), rows)
    summary = ", ".join(f"{counts[state]:,} {state}" for state in STATES if counts.get(state))
    click.echo(f"Copies: {summary or 'none'}.")
