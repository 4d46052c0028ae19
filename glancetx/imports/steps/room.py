"""What every step needs that makes the data of an import larger: files in the staging area, and room for it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO

from attrs import frozen

from glancetx.db.claims import Claims
from glancetx.domain.errors import DataNotFound, StoreFull, StoreWriteDenied
from glancetx.interfaces import ILimits, ImportJob
from glancetx.runtime.failpoints import reach


@frozen(kw_only=True)
class Room:
    """What a project may still store. *size_cap*: bytes of an image."""

    claims: Claims
    limits: ILimits
    size_cap: int

    async def make(self, job: ImportJob, size: int) -> None:
        """Reserve what data of *size* bytes needs more than what it was made of.

        :raises LimitExceeded: if that is more than the project may have.
        """
        limits = await self.limits.limits_of(job.claim.owner)
        more = (size - (job.image.size or 0)) * len(job.plan.stores)
        if limits.size_total is not None and more > 0:
            await self.claims.reserve(job.claim, limits, more, more)


def staged_file(job: ImportJob) -> Path:
    """:raises DataNotFound: if nothing is staged."""
    if job.path is None:
        raise DataNotFound("There is no staged data.")
    return job.path


def publish(partial: Path, whole: Path) -> int:
    """Give a file that is whole its name, durably; returns its size. Blocks."""
    reach("plugin.written")
    with partial.open("rb") as file:
        os.fsync(file.fileno())
    partial.replace(whole)
    reach("plugin.renamed")
    folder = os.open(whole.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return whole.stat().st_size


def remove(partial: Path) -> None:
    """Blocks; to find nothing is success."""
    partial.unlink(missing_ok=True)


def write(file: IO[bytes], piece: bytes) -> None:
    """:raises StoreFull, StoreWriteDenied: if it cannot be written."""
    try:
        file.write(piece)
    except OSError as error:
        raise staging_error(error) from error


def staging_error(error: OSError) -> StoreFull | StoreWriteDenied:
    """What a failure to write to the staging directory is, to the caller."""
    if error.errno in (28, 122):  # ENOSPC, EDQUOT
        return StoreFull("The staging directory has no room left")
    return StoreWriteDenied("The staging directory cannot be written")
