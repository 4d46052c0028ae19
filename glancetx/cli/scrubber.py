"""``glancetx-scrubber``: removes the data of images that were deleted with a delay, or brings one back (P-062..P-064).

The service scrubs by itself; this is for who calls glance-scrubber from cron, or runs it as a daemon, today.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from attrs import evolve
from twisted.internet.defer import Deferred

from glancetx.cli.options import config_files, program_version, settings_of
from glancetx.cli.work import shown, with_service
from glancetx.db.engine import transact
from glancetx.db.scrub import restore as restore_image
from glancetx.domain.errors import ConfigurationError, Conflict, DatabaseUnavailable, ImageNotFound

if TYPE_CHECKING:
    from glancetx.app import ImageService


@click.command()
@program_version
@config_files
@click.option("-D", "--daemon/--nodaemon", default=None, help="Go on, with a run every wakeup_time seconds.")
@click.option("--wakeup_time", "--wakeup-time", type=click.IntRange(min=1), help="Seconds between two runs.")
@click.option("--restore", "image_id", help="Make this image active again, instead of scrubbing.")
def main(
    files: tuple[Path, ...],
    folders: tuple[Path, ...],
    daemon: bool | None,
    wakeup_time: int | None,
    image_id: str | None,
) -> None:
    """Remove the data of images that were deleted while delayed_delete was set, scrub_time ago or earlier."""
    try:
        settings = settings_of("glance-scrubber", files, folders)
        daemon = settings.scrub.daemon if daemon is None else daemon
        if daemon and image_id:
            raise ConfigurationError("--restore and --daemon cannot be used together")
        if image_id:
            transact(settings.database, restore_image, image_id)
            click.echo(f"Image {image_id} is active again.")
            return
    except (ConfigurationError, DatabaseUnavailable, Conflict, ImageNotFound) as error:
        raise click.ClickException(str(error)) from error
    if wakeup_time is not None:
        settings = evolve(settings, scrub=evolve(settings.scrub, wakeup_time=wakeup_time))
    with_service(settings, _keep_scrubbing if daemon else _scrub)


async def _scrub(service: ImageService) -> None:
    with shown(service.background.scrubber, "scrubber"):
        gone = await service.background.scrubber.run_all()
    refused = service.background.scrubber.refused
    click.echo(f"{gone} images scrubbed" + (f", {refused} stay for the next time" if refused else ""))
    if refused:
        raise SystemExit(1)


async def _keep_scrubbing(service: ImageService) -> None:
    """Until a signal ends the process. If several run, one scrubs."""
    service.lead("scrubber", service.background.scrubber)
    await Deferred()
