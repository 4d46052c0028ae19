"""How much a project may have, and what it is told when it wants more (config.md, section 8)."""

from __future__ import annotations

from typing import Final

from attrs import frozen

from glancetx.domain.errors import LimitExceeded, ProjectOverLimit, StorageQuotaFull

MIB: Final = 1024 * 1024


@frozen(kw_only=True)
class Usage:
    """What a project has. *size_total* and *stage_total* are bytes, with those that are reserved.

    *count_total* are its images; *count_uploading* are those of them whose data is on its way.
    """

    size_total: int = 0
    stage_total: int = 0
    count_total: int = 0
    count_uploading: int = 0


@frozen(kw_only=True)
class Limits:
    """The most a project may have of what `Usage` counts; None is no limit.

    *unified*: these are the limits that Keystone keeps, and projects are told of them in the words of its clients.
    """

    size_total: int | None = None
    stage_total: int | None = None
    count_total: int | None = None
    count_uploading: int | None = None
    unified: bool = False

    def check_size(self, project: str | None, used: int, delta: int | None) -> None:
        """May *delta* bytes, or a number yet unknown, be stored where *used* bytes are? :raises LimitExceeded: no."""
        unknown = 0 if self.unified else 1
        if self.size_total is None or used + (unknown if delta is None else delta) <= self.size_total:
            return
        if self.unified:
            raise self._over(project, "image_size_total", self.size_total, used, delta or 0)
        raise StorageQuotaFull(delta, self.size_total - used)

    def check_staging(self, project: str | None, used: int, delta: int | None) -> None:
        """As `check_size`, for bytes that are staged."""
        if self.stage_total is not None and used + (delta or 0) > self.stage_total:
            raise self._over(project, "image_stage_total", self.stage_total, used, delta or 0)

    def check_count(self, project: str | None, used: int) -> None:
        """May there be one image more than *used*? :raises LimitExceeded: if not."""
        if self.count_total is not None and used + 1 > self.count_total:
            raise ProjectOverLimit(project, "image_count_total", self.count_total, used, 1)

    def check_uploading(self, project: str | None, used: int) -> None:
        """May *used* uploads, the new one included, go on at a time? :raises LimitExceeded: if not."""
        if self.count_uploading is not None and used > self.count_uploading:
            raise ProjectOverLimit(project, "image_count_uploading", self.count_uploading, used, 0)

    def _over(self, project: str | None, resource: str, limit: int, used: int, delta: int) -> ProjectOverLimit:
        return ProjectOverLimit(project, resource, limit // MIB, used // MIB, -(-delta // MIB))


UNLIMITED: Final = Limits()


def check_quota(what: str, number: int, most: int) -> None:
    """May an image have so many of *what*? *most* is an option; negative: any number. :raises LimitExceeded: if not."""
    if 0 <= most < number:
        raise LimitExceeded(
            f"The limit has been exceeded on the number of allowed image {what}. Attempted: {number}, Maximum: {most}"
        )
