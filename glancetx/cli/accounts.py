"""``glancetx-manage user`` and ``token``: the built-in accounts on the command line.

Passwords come from a prompt or from standard input, never from an argument, which others could read. A running
server takes changes over by itself, within seconds.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import wraps
from pathlib import Path
from typing import Any, Final, ParamSpec

import click

from glancetx.access.account_files import SHORT_DIGEST, AccountFiles
from glancetx.access.accounts import DEFAULT_DOMAIN, DEFAULT_ROLES
from glancetx.cli.tables import print_table
from glancetx.config.loading import load_settings
from glancetx.domain.errors import ConfigurationError

P = ParamSpec("P")
UNITS: Final = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def reporting(command: Callable[P, None]) -> Callable[P, None]:
    """*command*, whose ConfigurationErrors and OSErrors become one line on standard error and exit status 1."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except (ConfigurationError, OSError) as error:
            raise click.ClickException(str(error)) from error

    return run


def on_accounts(command: Callable[..., None]) -> Callable[..., None]:
    """Give *command* the option ``--data-dir``, and as its first argument the account files there."""

    @click.option(
        "--data-dir",
        type=click.Path(path_type=Path, file_okay=False),
        help="The service's data directory, if it is not the usual one.",
    )
    @wraps(command)
    def run(data_dir: Path | None, **kwargs: Any) -> None:
        reporting(lambda: command(AccountFiles(accounts_folder(data_dir)), **kwargs))()

    return run


def accounts_folder(data_dir: Path | None) -> Path:
    """The folder of the accounts below *data_dir*, or else where the configured service has them.

    :raises ConfigurationError: if the configuration cannot be read.
    """
    if data_dir is not None:
        return data_dir / "accounts"
    load = click.get_current_context().obj or load_settings  # glancetx-manage passes what --config-file says
    settings = load()
    if settings.access.accounts is None and settings.data_dir is None:
        raise ConfigurationError("The configuration names no data directory; give --data-dir")
    return settings.access.accounts or Path(settings.data_dir or "", "accounts")


def ask_password() -> str:
    """The first line of standard input, or at a terminal what is typed there twice, unseen."""
    if sys.stdin.isatty():
        return str(click.prompt("Password", hide_input=True, confirmation_prompt=True))
    return sys.stdin.readline().rstrip("\r\n")


@click.group()
def user() -> None:
    """Users of the built-in accounts."""


@user.command("add")
@click.argument("name")
@click.option("--project", help="Id of the project that owns the user's images.  [default: the user's name]")
@click.option(
    "--role",
    "roles",
    multiple=True,
    help=f"A role; may be repeated.  [default: {', '.join(sorted(DEFAULT_ROLES))}]",
)
@click.option("--domain", default=DEFAULT_DOMAIN, show_default=True, help="Id of the user's domain.")
@on_accounts
def add_user(accounts: AccountFiles, name: str, project: str | None, roles: tuple[str, ...], domain: str) -> None:
    """Add the user NAME; the password is asked for, or read from standard input."""
    accounts.add_user(name, ask_password(), project, roles or DEFAULT_ROLES, domain)
    click.echo(f"Added {name}")


@user.command("set-password")
@click.argument("name")
@on_accounts
def set_password(accounts: AccountFiles, name: str) -> None:
    """Give the user NAME a new password, asked for or read from standard input."""
    accounts.set_password(name, ask_password())
    click.echo(f"Changed the password of {name}")


@user.command("remove")
@click.argument("name")
@on_accounts
def remove_user(accounts: AccountFiles, name: str) -> None:
    """Remove the user NAME and all its tokens; its images stay."""
    accounts.remove_user(name)
    click.echo(f"Removed {name}")


@user.command("list")
@on_accounts
def list_users(accounts: AccountFiles) -> None:
    """Show all users."""
    found = accounts.read()
    rows = [
        (
            each.name,
            each.project,
            ", ".join(sorted(each.roles)),
            each.domain,
            "yes" if name in found.passwords else "no",
        )
        for name, each in sorted(found.users.items())
    ]
    print_table(("Name", "Project", "Roles", "Domain", "Password"), rows, "Users")


@click.group()
def token() -> None:
    """Static tokens, sent as X-Auth-Token."""


def expiry(context: click.Context, parameter: click.Parameter, value: str | None) -> float | None:
    """Seconds since the epoch of a time like ``2027-01-31``, or of now and a span like ``90d``."""
    if value is None:
        return None
    if span := re.fullmatch(r"([0-9]{1,5})([mhdw])", value):
        moment = datetime.now(UTC) + timedelta(**{UNITS[span[2]]: int(span[1])})
        return moment.replace(microsecond=0).timestamp()
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise click.BadParameter("neither a span like 90d, 12h or 30m nor a time like 2027-01-31") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


@token.command("add")
@click.argument("name")
@click.option("--expires", callback=expiry, help="When it ends: a span (90d, 12h, 30m, 4w) or a time in UTC.")
@click.option("--comment", default="", help="What it is for.")
@on_accounts
def add_token(accounts: AccountFiles, name: str, expires: float | None, comment: str) -> None:
    """Make a token for the user NAME and print it, once."""
    click.echo(accounts.add_token(name, expires, comment))


@token.command("remove")
@click.argument("identifier", metavar="ID")
@on_accounts
def remove_token(accounts: AccountFiles, identifier: str) -> None:
    """Remove the token called ID by `token list`."""
    removed = accounts.remove_token(identifier)
    click.echo(f"Removed a token of {removed.user}")


@token.command("list")
@on_accounts
def list_tokens(accounts: AccountFiles) -> None:
    """Show all tokens, but not what they are."""
    now = datetime.now(UTC).timestamp()
    rows = []
    for each in sorted(accounts.read().tokens.values(), key=lambda found: (found.user, found.digest)):
        ends = "never" if each.expires_at is None else f"{datetime.fromtimestamp(each.expires_at, UTC):%Y-%m-%d %H:%M}"
        state = ends if each.valid_at(now) else f"{ends} (expired)"
        rows.append((each.digest[:SHORT_DIGEST], each.user, state, each.comment))
    print_table(("Id", "User", "Expires (UTC)", "Comment"), rows, "Tokens")
