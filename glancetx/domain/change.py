"""One step of an image update, as a JSON patch asks for it (api.md, section 2.4)."""

from __future__ import annotations

from typing import Any

from attrs import frozen


@frozen
class Change:
    """*operation* is add, replace or remove; *path* the decoded pointer: ``("name",)``, ``("locations", "0")``.

    *only_new*: an ``add`` must not meet an existing attribute (the older patch media type, A-065).
    """

    operation: str
    path: tuple[str, ...]
    value: Any = None
    only_new: bool = False

    @property
    def name(self) -> str:
        """The attribute or property concerned."""
        return self.path[0]
