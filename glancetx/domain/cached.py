"""What the image cache knows of its files."""

from __future__ import annotations

import re
from typing import Final

from attrs import frozen

from glancetx.domain.copy import Copy
from glancetx.domain.image import Image

CLEAR_CACHE: Final = "cache"
CLEAR_QUEUE: Final = "queue"
_IMAGE_ID: Final = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def is_image_id(text: str) -> bool:
    """Whether *text* may be an image's id, and so the name of a file in the cache; others are none of its business."""
    return _IMAGE_ID.fullmatch(text) is not None


@frozen(kw_only=True)
class CacheEntry:
    """One cached image: *size* in bytes, how often it was read (*hits*), and when, in seconds since 1970.

    *row* is its number in the central database, if it is kept there.
    """

    image_id: str
    size: int
    hits: int = 0
    last_accessed: float = 0.0
    last_modified: float = 0.0
    checksum: str | None = None
    row: int | None = None


@frozen(kw_only=True)
class Content:
    """What the data of an image must be: *size* bytes with this *digest*, by *algorithm*."""

    image_id: str
    size: int
    algorithm: str
    digest: str

    @property
    def mark(self) -> str:
        """What is written on a file that was found to be just this."""
        return f"{self.algorithm}:{self.digest}"


def content_of(image: Image) -> Content | None:
    """None if it is not known well enough to be compared with: then the image is not cached."""
    algorithm, digest = (image.os_hash_algo, image.os_hash_value) if image.os_hash_value else ("md5", image.checksum)
    if not image.size or not algorithm or not digest:
        return None
    return Content(image_id=image.id, size=image.size, algorithm=algorithm, digest=digest)


def content_of_copy(copy: Copy) -> Content | None:
    """The same of a copy of an image's data."""
    if not copy.size or not copy.algorithm or not copy.digest:
        return None
    return Content(image_id=copy.image_id, size=copy.size, algorithm=copy.algorithm, digest=copy.digest)


@frozen
class Pruned:
    """How many files were removed, and how many bytes they had."""

    files: int = 0
    size: int = 0
