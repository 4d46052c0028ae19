"""How far the import of an image is, as whoever follows it sees it."""

from __future__ import annotations

from attrs import frozen

from glancetx.domain.task import Task


@frozen(kw_only=True)
class ImportState:
    """An image's *status*, and the last *task* that imports, or imported, to it."""

    image_id: str
    status: str
    task: Task | None = None

    @property
    def going_on(self) -> bool:
        """Whether an import is under way."""
        return self.task is not None and not self.task.ended
