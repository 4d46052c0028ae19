"""``glancetx-replicator``: images from one image service to another, or to a folder and back (P-120..P-126)."""

from __future__ import annotations

import sys
from base64 import b64encode
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, Final

import click
from attrs import frozen
from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from twisted.internet.defer import ensureDeferred
from twisted.internet.task import deferLater, react

from glancetx.cli.options import program_version
from glancetx.config.settings import ClientTlsSettings
from glancetx.domain.errors import ConfigurationError, ImageServiceError
from glancetx.outgoing.client import HttpClient
from glancetx.outgoing.retries import Retries
from glancetx.outgoing.tls import TlsPolicy
from glancetx.replication.copying import Outcome, Replication, Tell, compare, extent
from glancetx.replication.dumps import Dump, load
from glancetx.replication.records import DONT_REPLICATE
from glancetx.replication.server import ImageServer
from glancetx.runtime.threads import Threads

TOKEN: Final = "GLANCETX_REPLICATOR_TOKEN"  # noqa: S105 - a variable's name


@frozen
class Choices:
    """What the options say, for every command."""

    source_token: str | None
    target_token: str | None
    source_login: str | None
    target_login: str | None
    but: tuple[str, ...]
    metadata_only: bool
    tls: ClientTlsSettings


class Sides:
    """The two services, and the pools of threads; made where the reactor runs."""

    def __init__(self, reactor: Any, choices: Choices) -> None:
        self.reactor, self._choices = reactor, choices
        self.files, self.hashing = Threads(reactor, "files", 4), Threads(reactor, "hashing", 2)
        self._client = HttpClient(reactor, TlsPolicy(choices.tls))
        self._retries = Retries(reactor)

    def source(self, place: str) -> ImageServer:
        return self._server(place, self._choices.source_token, self._choices.source_login)

    def target(self, place: str) -> ImageServer:
        return self._server(place, self._choices.target_token, self._choices.target_login)

    def replication(self, target: str, tell: Tell) -> Replication:
        choices = self._choices
        server = self.target(target)
        return Replication(server, self.hashing, tell, but=choices.but, metadata_only=choices.metadata_only)

    def _server(self, place: str, token: str | None, login: str | None) -> ImageServer:
        headers = {"X-Auth-Token": token} if token else {}
        if login:
            headers["Authorization"] = f"Basic {b64encode(login.encode()).decode()}"
        return ImageServer(place, self._client, self._retries, headers)

    async def close(self) -> None:
        await self._client.close()
        for pool in (self.files, self.hashing):
            await pool.stop()


class AnyOrder(click.Group):
    """The options of all commands may stand behind the command as well, as glance-replicator's do."""

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        options = {name: each for each in self.params if isinstance(each, click.Option) for name in each.opts}
        first: list[str] = []
        rest: list[str] = []
        words = iter(args)
        for word in words:
            option = options.get(word.partition("=")[0])
            (rest if option is None else first).append(word)
            if option is not None and not option.is_flag and "=" not in word:
                first.extend(islice(words, 1))
        return super().parse_args(context, first + rest)


@click.group(cls=AnyOrder)
@click.option("-t", "--token", envvar=TOKEN, help=f"Token for both sides; or in ${TOKEN}.")
@click.option("--source-token", "--sourcetoken", envvar=f"{TOKEN}_SOURCE", help="Token for the side images come from.")
@click.option("--target-token", "--targettoken", envvar=f"{TOKEN}_TARGET", help="Token for the side they go to.")
@click.option("--source-login", envvar="GLANCETX_REPLICATOR_SOURCE", help="USER:PASSWORD of HTTP basic, instead.")
@click.option("--target-login", envvar="GLANCETX_REPLICATOR_TARGET", help="USER:PASSWORD of HTTP basic, instead.")
@click.option("-m", "--metaonly", "--metadata-only", "metadata_only", is_flag=True, help="Records only, no data.")
@click.option("-D", "--dontreplicate", default=" ".join(DONT_REPLICATE), help="Names that are left out, with blanks.")
@click.option("-c", "--chunksize", type=int, help="Accepted for scripts written for glance-replicator.")
@click.option("--cacert", type=click.Path(path_type=Path, exists=True), help="Authorities that both sides' TLS is by.")
@click.option("--insecure", is_flag=True, help="Do not verify TLS certificates.")
@program_version
@click.pass_context
def main(context: click.Context, /, **options: Any) -> None:
    """Copy images between image services, or to a folder and back.

    A service is named by its URL, or as HOST:PORT. What was copied is compared with the image's digest. What ended
    early is gone on with by the same command: images that are there already are only compared.
    """
    token = options["token"]
    context.obj = Choices(
        source_token=options["source_token"] or token,
        target_token=options["target_token"] or token,
        source_login=options["source_login"],
        target_login=options["target_login"],
        but=tuple(options["dontreplicate"].split()),
        metadata_only=options["metadata_only"],
        tls=ClientTlsSettings(cafile=options["cacert"], insecure=options["insecure"]),
    )


@main.command()
@click.argument("server")
@click.pass_obj
def size(choices: Choices, server: str) -> None:
    """Print how many active images there are, and how large they are together."""

    async def ask(sides: Sides) -> int:
        found = await extent(sides.source(server))
        click.echo(f"Total size is {found.size} bytes ({decimal(found.size)}) across {found.images} images")
        return 0

    run(choices, ask)


@main.command()
@click.argument("source")
@click.argument("target")
@click.option("--continuous", type=click.FloatRange(min=1), help="Begin again after so many seconds, until a signal.")
@click.pass_obj
def livecopy(choices: Choices, source: str, target: str, continuous: float | None) -> None:
    """Bring every image of SOURCE to TARGET, with its id; of those that are there, what is said of them."""

    async def copy(sides: Sides) -> int:
        while True:
            with shown() as tell:
                outcome = await sides.replication(target, tell).livecopy(sides.source(source))
            status = report(outcome)
            if continuous is None:
                return status
            await deferLater(sides.reactor, continuous)

    run(choices, copy)


@main.command()
@click.argument("server")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.pass_obj
def dump(choices: Choices, server: str, folder: Path) -> None:
    """Write every image into FOLDER: ID is its record as JSON, ID.img its data."""

    async def take(sides: Sides) -> int:
        with shown() as tell:
            into = Dump(folder, sides.files, sides.hashing)
            outcome = await into.take(sides.source(server), tell, metadata_only=choices.metadata_only)
        return report(outcome)

    run(choices, take)


@main.command("load")
@click.argument("server")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False, exists=True))
@click.pass_obj
def load_command(choices: Choices, server: str, folder: Path) -> None:
    """Bring what `dump` has written into FOLDER to a service."""

    async def bring(sides: Sides) -> int:
        outcome = Outcome.empty()
        with shown() as tell:
            replication = sides.replication(server, tell)
            await load(Dump(folder, sides.files, sides.hashing), replication.bring, outcome)
        return report(outcome)

    run(choices, bring)


@main.command("compare")
@click.argument("source")
@click.argument("target")
@click.pass_obj
def compare_command(choices: Choices, source: str, target: str) -> None:
    """Print how TARGET's images differ from SOURCE's; the exit status is 1 if they do."""

    async def ask(sides: Sides) -> int:
        found = await compare(sides.source(source), sides.target(target), choices.but)
        for image_id, unlike in found.items():
            if unlike is None:
                click.echo(f"{image_id}: not at {target}")
            for name, (here, there) in (unlike or {}).items():
                click.echo(f"{image_id}: {name} is {here!r}, at {target} {there!r}")
        return 1 if found else 0

    run(choices, ask)


def report(outcome: Outcome) -> int:
    """Print what became of the images; the exit status: 1 if one failed."""
    for image_id, reason in outcome.failed.items():
        click.echo(f"{image_id}: {reason}", err=True)
    counts = {
        "copied": outcome.copied,
        "changed": outcome.changed,
        "there already": outcome.same,
        "left out": outcome.skipped,
        "failed": outcome.failed,
    }
    told = [f"{len(images)} {what}" for what, images in counts.items() if images]
    click.echo(f"Images: {', '.join(told) or 'none'}.")
    return 1 if outcome.failed else 0


@contextmanager
def shown() -> Iterator[Tell]:
    """On a terminal: the image that is worked on, what has passed of it, and how fast."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        tasks: dict[str, Any] = {}

        def tell(name: str, size: int, count: int) -> None:
            if name not in tasks:
                tasks[name] = progress.add_task(name, total=size)
            progress.advance(tasks[name], count)

        yield tell


def run(choices: Choices, use: Callable[[Sides], Awaitable[int]]) -> None:
    """Run the reactor for as long as *use* takes, and end the process with the status it returns."""
    status = 1

    async def work(reactor: Any) -> None:
        nonlocal status
        try:
            sides = Sides(reactor, choices)
            for pool in (sides.files, sides.hashing):
                pool.start()
            try:
                status = await use(sides)
            finally:
                await sides.close()
        except (ConfigurationError, ImageServiceError, OSError, ValueError) as error:
            click.echo(f"Error: {error}", err=True)
        if status:
            sys.exit(status)

    react(lambda reactor: ensureDeferred(work(reactor)))
