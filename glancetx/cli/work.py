"""``glancetx-manage run``: one run of a background service, here and now, with its progress on the terminal."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Final

import click
from rich.console import Console
from rich.status import Status
from twisted.internet.defer import CancelledError, ensureDeferred
from twisted.internet.task import LoopingCall, react

from glancetx.cli.facts import in_words
from glancetx.config.settings import Settings
from glancetx.domain.errors import ConfigurationError, DatabaseUnavailable
from glancetx.services.periodic import PeriodicService

if TYPE_CHECKING:
    from glancetx.app import ImageService

WORKS: Final = (
    "auditor",
    "cleaner",
    "completer",
    "mender",
    "placer",
    "prefetcher",
    "pruner",
    "reaper",
    "replicator",
    "scrubber",
    "surveyor",
    "unstager",
    "updater",
)
LACKING: Final = {"updater": "driver = messagingv2 in [oslo_messaging_notifications], and kept_events"}
REFRESH: Final = 0.5
HELP: Final = f"""Have a background service do all it has to do now.

SERVICE is one of: {", ".join(WORKS)}. Nothing goes wrong if it does the same by itself at the same time.
"""


@click.command(help=HELP)
@click.argument("work", metavar="SERVICE", type=click.Choice(WORKS))
@click.pass_context
def run(context: click.Context, work: str) -> None:
    """Run one of `WORKS` once."""

    async def once(service: ImageService) -> None:
        if work not in service.background.works:
            lacking = LACKING.get(work, "image_cache_dir")
            raise ConfigurationError(f"There is no {work} without {lacking}")
        runner = service.background.works[work]
        with shown(runner, work) as _:
            done = await runner.run_all()
        facts = in_words(runner.status())
        click.echo(f"{work}: {done}" + (f" ({', '.join(facts)})" if facts else ""))

    with_service(load(context), once)


def load(context: click.Context) -> Settings:
    """The settings of the command. :raises ClickException: if they are wrong."""
    try:
        settings: Settings = context.obj()
    except ConfigurationError as error:
        raise click.ClickException(str(error)) from error
    return settings


def with_service(settings: Settings, use: Callable[[ImageService], Awaitable[None]]) -> None:
    """Run the reactor for as long as *use* takes, with a service that does nothing by itself; ends the process.

    The exit status is 1 if the service cannot start, or others may have gone on with what it did, since the process
    slept; with one line on standard error.
    """

    from glancetx.app import ImageService  # heavy, and most commands do without

    async def main(reactor: Any) -> None:
        try:
            service = ImageService(settings, reactor, background=False)
            service.startService()
            try:
                await service.started
                await use(service)
            finally:
                await service.stopService()
        except (ConfigurationError, DatabaseUnavailable) as error:
            click.echo(f"Error: {error}", err=True)
            sys.exit(1)
        except CancelledError:
            click.echo("Error: This process slept, and others may do the same by now. Run it again.", err=True)
            sys.exit(1)

    react(lambda reactor: ensureDeferred(main(reactor)))


def shown(work: PeriodicService, name: str) -> AbstractContextManager[object]:
    """On a terminal, keeps showing what *work* tells of itself."""
    console = Console(stderr=True)
    return _Shown(console, work, name) if console.is_terminal else nullcontext()


class _Shown(AbstractContextManager[None]):
    def __init__(self, console: Console, work: PeriodicService, name: str) -> None:
        self._work, self._name = work, name
        self._status: Status = console.status(name)
        self._loop = LoopingCall(self._refresh)

    def __enter__(self) -> None:
        self._status.start()
        self._loop.start(REFRESH)

    def __exit__(self, *failure: object) -> None:
        self._loop.stop()
        self._status.stop()

    def _refresh(self) -> None:
        self._status.update("  ".join([self._name, *in_words(self._work.status())]))
