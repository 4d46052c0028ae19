"""What lies in the data directories of a file store, image or not. Everything here blocks: call it in a thread.

A directory has no order. A page has the smallest names behind the marker; so all names of its directory are read for
it, of which those of some pages ahead are kept.
"""

from __future__ import annotations

import heapq
import os
import re
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from glancetx.domain.cached import is_image_id
from glancetx.domain.errors import DataNotFound
from glancetx.domain.listed import Item, Kept, Page
from glancetx.stores.folders import Folders
from glancetx.stores.uri import file_path, file_url

AHEAD: Final = 20
"""Pages whose names are kept."""
_PART: Final = re.compile(r"\.([^.]+)\.[0-9a-f]{32}\.(?:part|gone)")


class FolderListing:
    """The images, and drafts of images, in *folders*. A marker is the path of the last item."""

    def __init__(self, folders: Folders) -> None:
        self._folders = folders
        self._ahead: tuple[str, list[str]] = ("", [])  # names, and the marker behind which they are

    def page(self, marker: str, limit: int) -> Page:
        """:raises StoreUnavailable: if a disk is not mounted. :raises OSError: as it comes."""
        begun, _, last = marker.rpartition("/")
        left = sorted(folder for folder in map(str, self._folders.all) if folder >= begun)
        if not left:
            return Page(items=(), marker=None)
        folder = Path(left[0])
        self._folders.check(folder)
        known, names = self._ahead
        if known != marker or len(names) < limit:
            names = heapq.nsmallest(limit * AHEAD, _names(folder, last if left[0] == begun else ""))
        names, rest = names[:limit], names[limit:]
        items = tuple(_item(folder, name) for name in names)
        if len(names) == limit:
            following = f"{folder}/{names[-1]}"
            self._ahead = (following, rest)
            return Page(items=items, marker=following)
        return Page(items=items, marker=f"{left[1]}/" if len(left) > 1 else None)

    def look(self, item: Item) -> Kept | None:
        path = Path(item.name)
        self._folders.check_above(path)
        try:
            found = os.lstat(path)
        except FileNotFoundError:
            return None
        if not stat.S_ISREG(found.st_mode):
            return None
        age = time.time() - max(found.st_mtime, found.st_ctime)
        return Kept(size=found.st_size, age=age, superseded=item.piece and os.path.lexists(file_path(item.url)))

    def is_same(self, item: Item, url: str) -> bool:
        """A directory that is not there may be the one that this was before it was moved."""
        try:
            there = file_path(url)
        except DataNotFound:
            return False
        here = file_path(item.url)
        if here == there or _is_one_file(here, there):
            return True
        return here.name == there.name and (
            not os.path.lexists(there.parent) or os.path.samefile(here.parent, there.parent)
        )


def _names(folder: Path, after: str) -> Iterator[str]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name > after and _image_of(entry.name) is not None:
                yield entry.name


def _image_of(name: str) -> str | None:
    """Whose data it is, by its name; None: it is none of ours."""
    part = _PART.fullmatch(name)
    image_id = name if part is None else part[1]
    return image_id if is_image_id(image_id) else None


def _item(folder: Path, name: str) -> Item:
    image_id = _image_of(name) or ""
    return Item(name=str(folder / name), image_id=image_id, url=file_url(folder / image_id), piece=name.startswith("."))


def _is_one_file(here: Path, there: Path) -> bool:
    try:
        return os.path.samefile(here, there)
    except OSError:
        return False
