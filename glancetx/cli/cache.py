"""``glancetx-cache-manage``: what is in the image cache of a node, asked over HTTP, as glance-cache-manage (P-082).

Commands, options and exit statuses are those of Glance's program. It uses the old paths, as that does, and `/v2/cache`
where a service has only these.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

import click
from attrs import frozen
from rich.console import Console
from rich.table import Table

from glancetx.cli.cache_client import CacheClient, Login, Refused, Unreachable, choose_login
from glancetx.cli.options import program_version

FORCE: Final = "Do not ask."


@frozen
class Session:
    """One call of the program."""

    client: CacheClient
    image_id: str | None
    force: bool
    verbose: bool

    def agreed(self, question: str) -> bool:
        return self.force or click.confirm(question, default=False)

    def tell(self, text: str) -> None:
        if self.verbose:
            click.echo(text)


def list_cached(session: Session) -> None:
    """List the images that are cached."""
    images = session.client.cached()
    if not images:
        click.echo("No cached images.")
        return
    click.echo(f"Found {len(images)} cached images...")
    table = Table("ID", "Last Accessed (UTC)", "Last Modified (UTC)")
    for name in ("Size", "Hits"):
        table.add_column(name, justify="right")
    for image in images:
        times = [moment(image[name]) for name in ("last_accessed", "last_modified")]
        table.add_row(image["image_id"], *times, str(image["size"]), str(image["hits"]))
    show(table)


def list_queued(session: Session) -> None:
    """List the images that are to be cached."""
    queued = session.client.queued()
    if not queued:
        click.echo("No queued images.")
        return
    click.echo(f"Found {len(queued)} queued images...")
    table = Table("ID")
    for image_id in queued:
        table.add_row(image_id)
    show(table)


def queue_image(session: Session) -> None:
    """Have an image cached."""
    if session.agreed(f"Queue image {session.image_id} for caching?"):
        session.client.queue(str(session.image_id))
        session.tell(f"Queued image {session.image_id} for caching")


def delete_cached_image(session: Session) -> None:
    """Take an image out of the cache."""
    if session.agreed(f"Delete cached image {session.image_id}?"):
        session.client.delete("cached", str(session.image_id))
        session.tell(f"Deleted cached image {session.image_id}")


def delete_queued_image(session: Session) -> None:
    """Take an image off the queue."""
    if session.agreed(f"Delete queued image {session.image_id}?"):
        session.client.delete("queued", str(session.image_id))
        session.tell(f"Deleted queued image {session.image_id}")


def delete_all_cached_images(session: Session) -> None:
    """Empty the cache."""
    if session.agreed("Delete all cached images?"):
        session.tell(f"Deleted {counted(session.client.clear('cached'))} cached images")


def delete_all_queued_images(session: Session) -> None:
    """Empty the queue."""
    if session.agreed("Delete all queued images?"):
        session.tell(f"Deleted {counted(session.client.clear('queued'))} queued images")


def prune(session: Session) -> None:
    """Shrink the cache to its limit, now."""
    pruned = session.client.maintain("prune")
    click.echo(f"Pruned {pruned['total_files_pruned']} files of {pruned['total_bytes_pruned']} bytes.")


def clean(session: Session) -> None:
    """Remove what is invalid, stale, or of images that are gone, now."""
    session.client.maintain("clean")


OF_ONE: Final = (queue_image, delete_cached_image, delete_queued_image)
COMMANDS: Final[dict[str, Callable[[Session], None]]] = {
    command.__name__.replace("_", "-"): command
    for command in (
        list_cached,
        list_queued,
        *OF_ONE,
        delete_all_cached_images,
        delete_all_queued_images,
        prune,
        clean,
    )
}
EPILOG: Final = "\b\nCommands:\n" + "\n".join(f"  {name:<26}{each.__doc__}" for name, each in COMMANDS.items())


@click.command(epilog=EPILOG)
@click.argument("command", default="help")
@click.argument("image_id", required=False)
@click.option("-v", "--verbose", is_flag=True, help="Say what was done.")
@click.option("-d", "--debug", is_flag=True, help="Show where an error comes from.")
@click.option("-H", "--host", default="0.0.0.0", show_default=True, help="Host of the service.")  # noqa: S104
@click.option("-p", "--port", default=9292, show_default=True, help="Its port.")
@click.option("--url", help="Its URL, in place of both: https://images.example:9292.")
@click.option("-k", "--insecure", is_flag=True, help="Do not verify its certificate.")
@click.option("--os-cacert", envvar="OS_CACERT", help="Authorities of its certificate, a PEM file.")
@click.option("-f", "--force", is_flag=True, help=FORCE)
@click.option("-A", "--os-auth-token", "--os_auth_token", "--auth_token", envvar="OS_AUTH_TOKEN", help="A token.")
@click.option("-I", "--os-username", "--os_username", envvar="OS_USERNAME", help="Who asks.")
@click.option("-K", "--os-password", "--os_password", envvar="OS_PASSWORD", help="Better in the environment.")
@click.option("-T", "--os-project-name", "--os_project_name", envvar="OS_PROJECT_NAME", help="For which project.")
@click.option("--os-project-id", "--os_project_id", envvar="OS_PROJECT_ID", help="The same by its id.")
@click.option("--os-user-domain-id", envvar="OS_USER_DOMAIN_ID", help="The user's domain.")
@click.option("--os-project-domain-id", envvar="OS_PROJECT_DOMAIN_ID", help="The project's.")
@click.option("--os-domain-id", envvar="OS_DOMAIN_ID", default="default", help="Both.")
@click.option("-N", "--os-auth-url", "--os_auth_url", envvar="OS_AUTH_URL", help="Keystone's URL.")
@click.option("-R", "--os-region-name", "--os_region_name", help="Without effect: the host is given.")
@click.option("-S", "--os-auth-strategy", "--os_auth_strategy", help="keystone or noauth.")
@program_version
@click.pass_context
def main(context: click.Context, /, command: str, image_id: str | None, **options: Any) -> None:
    """Look after the image cache of a node.

    Without --os-auth-url, user and password are those of built-in accounts.
    """
    if command == "help":
        click.echo(COMMANDS[image_id].__doc__ if image_id in COMMANDS else context.get_help())
        return
    if command not in COMMANDS:
        raise click.ClickException(f'"{command}" is not a valid command.')
    check_id(command, image_id)
    try:
        client = CacheClient(place(options), login(options), options["insecure"], options["os_cacert"])
        COMMANDS[command](Session(client, image_id, options["force"], options["verbose"]))
    except (Refused, Unreachable) as error:
        if options["debug"]:
            raise
        raise click.ClickException(str(error)) from error


def check_id(command: str, image_id: str | None) -> None:
    """:raises ClickException: if the command needs an id and has none, or the other way round."""
    if (COMMANDS[command] in OF_ONE) != (image_id is not None):
        needs = "the id of one image" if COMMANDS[command] in OF_ONE else "no argument"
        raise click.ClickException(f"{command} takes {needs}.")
    try:
        uuid.UUID(image_id or "0" * 32)
    except ValueError:
        raise click.ClickException(f"Image ID '{image_id}' is not a valid UUID.") from None


def place(options: dict[str, Any]) -> str:
    return str(options["url"] or f"http://{options['host']}:{options['port']}").rstrip("/")


def login(options: dict[str, Any]) -> Login:
    domain = options["os_domain_id"]
    return choose_login(
        token=options["os_auth_token"],
        auth_url=None if options["os_auth_strategy"] == "noauth" else options["os_auth_url"],
        user=options["os_username"] or os.environ.get("OS_AUTH_USER"),
        password=options["os_password"] or os.environ.get("OS_AUTH_KEY"),
        project_id=options["os_project_id"],
        project_name=options["os_project_name"],
        user_domain=options["os_user_domain_id"] or domain,
        project_domain=options["os_project_domain_id"] or domain,
    )


def moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None).isoformat() if seconds else "N/A"


def counted(number: int | None) -> str:
    return "all" if number is None else str(number)


def show(table: Table) -> None:
    """As wide as it is: ids are copied from here."""
    Console(width=max(120, Console().width)).print(table)
