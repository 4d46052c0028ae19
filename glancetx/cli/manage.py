"""``glancetx-manage``: the database and the accounts of a service, from the command line.

The database commands are named, and exit, as those of glance-manage (contract rows D-008, P-100..P-107).
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from functools import wraps
from pathlib import Path
from typing import Concatenate, Final, ParamSpec, TypeVar

import click

from glancetx.cli.accounts import token, user
from glancetx.cli.copies import copies
from glancetx.cli.metadefs import (
    export_metadefs,
    load_metadefs,
    old_export_metadefs,
    old_load_metadefs,
    unload_metadefs,
)
from glancetx.cli.options import config_files, program_version, settings_of
from glancetx.cli.purge import purge, purge_images_table
from glancetx.cli.strays import strays
from glancetx.cli.work import run
from glancetx.config.settings import DatabaseSettings
from glancetx.db.engine import transact
from glancetx.db.migrations import Need, look, mark, prepare
from glancetx.db.schema import GLANCE_HEAD
from glancetx.domain.errors import ConfigurationError, DatabaseUnavailable

P = ParamSpec("P")
T = TypeVar("T")

ADVICE: Final = {
    Need.NOTHING: "Database is up to date. No upgrades needed.",
    Need.EXPAND: "Database is not up to date. Your next step is to run `glancetx-manage db sync`.",
    Need.OLD: "Database is older than this version can use. Your next step is to run `glance-manage db sync`.",
    Need.CONTRACT: "Database is only half upgraded. Your next step is to run `glance-manage db contract`.",
}


@click.group()
@program_version
@config_files
@click.pass_context
def main(context: click.Context, files: tuple[Path, ...], folders: tuple[Path, ...]) -> None:
    """Manage a glancetx image service.

    Without --config-file and --config-dir, glance-api.conf and glance-manage.conf are looked for in
    $OS_GLANCE_CONFIG_DIR, or else in ~/.glance, ~, /etc/glance and /etc.
    """
    context.obj = lambda: settings_of("glance-manage", files, folders)


@main.group()
def db() -> None:
    """The database."""


def on_database(command: Callable[Concatenate[DatabaseSettings, P], T]) -> Callable[P, T]:
    """Give *command* the database's settings; its errors become one line on standard error and exit status 1."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return command(click.get_current_context().obj().database, *args, **kwargs)
        except (ConfigurationError, DatabaseUnavailable) as error:
            raise click.ClickException(str(error)) from error

    return run


HEADS: Final = ("heads", "head", GLANCE_HEAD)


def _check_version(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
    if value is not None and value not in HEADS:
        raise click.BadParameter(
            f"Glance's tables are used at {GLANCE_HEAD} only; glance-manage knows other revisions."
        )


def version_option(command: Callable[..., None]) -> Callable[..., None]:
    """The revision, as an option or, as scripts for glance-manage have it, as an argument."""
    asked = {"callback": _check_version, "expose_value": False}
    option = click.option("--version", help="heads; nothing else.", **asked)  # type: ignore[arg-type]
    return click.argument("revision", required=False, **asked)(option(command))  # type: ignore[arg-type]


@db.command()
@version_option
@on_database
def sync(settings: DatabaseSettings) -> None:
    """Create the tables, or bring ours up to date; Glance's own are used as they are."""
    found = transact(settings, prepare)
    click.echo("Database is up to date already." if found.current else "Database is synced successfully.")


@db.command()
@on_database
def migrate(settings: DatabaseSettings) -> None:
    """Nothing: no data needs to be changed between `db expand` and `db contract`."""
    click.echo("Database migration is up to date. No migration needed.")


@db.command()
@on_database
def contract(settings: DatabaseSettings) -> None:
    """Tell whether the database is up to date; nothing is ever taken away from it."""
    need = transact(settings, look).need
    if need is not Need.NOTHING:
        raise click.ClickException(ADVICE[need])
    click.echo(ADVICE[need])


@db.command()
@on_database
def version(settings: DatabaseSettings) -> None:
    """Print the revision of Glance's tables, and below it that of our own."""
    found = transact(settings, look)
    click.echo(", ".join(found.glance or ()) or "none")
    click.echo(f"glancetx: {', '.join(found.own or ()) or 'none'}")


@db.command("version_control")
@version_option
@on_database
def version_control(settings: DatabaseSettings) -> None:
    """Say that Glance's tables are at the revision that is used here, if they are and the database does not say so."""
    transact(settings, mark)
    click.echo(f"Placed database under migration control at revision: {GLANCE_HEAD}")


@db.command()
@click.pass_context
@on_database
def check(settings: DatabaseSettings, context: click.Context) -> None:
    """Tell whether `db sync` is needed: exit status 0 if not, 3 if so, 5 if an upgrade of Glance is half done."""
    need = transact(settings, look).need
    click.echo(ADVICE[need])
    context.exit(need.exit_status)


def add_alias(name: str, command: click.Command) -> None:
    """Another name for *command*, left out of the help; for scripts written for glance-manage."""
    alias = copy(command)
    alias.hidden = True
    main.add_command(alias, name)


for name in ("upgrade", "expand"):  # all that is ever added comes at once
    db.add_command(sync, name)
for name, command in (("db_sync", sync), ("db_upgrade", sync), ("db_expand", sync), ("db_migrate", migrate)):
    add_alias(name, command)
add_alias("db_contract", contract)
add_alias("db_version", version)
add_alias("db_version_control", version_control)
add_alias("db_check", check)
add_alias("db_unload_metadefs", unload_metadefs)
for command in (load_metadefs, unload_metadefs, export_metadefs, purge, purge_images_table):
    db.add_command(command)
for command in (old_load_metadefs, old_export_metadefs):
    main.add_command(command)
main.add_command(user)
main.add_command(token)
main.add_command(copies)
main.add_command(strays)
main.add_command(run)
