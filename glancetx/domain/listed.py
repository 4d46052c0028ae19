"""What a store keeps, whether an image has it or not."""

from __future__ import annotations

import hashlib
from datetime import datetime

from attrs import frozen


@frozen(kw_only=True)
class Item:
    """Something in a store, under a name of the form that we or Glance give to the data of images.

    *name* is the store's own, and means something to that store alone. *image_id* is whose data it is, by its name;
    *url* is the location of that data. A *piece* is not that data itself, but was to become it or a part of it.
    """

    name: str
    image_id: str
    url: str
    piece: bool = False


@frozen(kw_only=True)
class Kept:
    """How an item is: *size* in bytes; *age*: seconds since it was last written, by the clock of the store.

    *superseded*: the item is a piece, and the data at its URL is there and is whole without it.
    """

    size: int
    age: float
    superseded: bool = False


@frozen(kw_only=True)
class Page:
    """Some of a store's items. *marker* is where the next page begins; None: there is none."""

    items: tuple[Item, ...]
    marker: str | None


@frozen(kw_only=True)
class Stray:
    """An item of *store* that no image has. *changed* is when it was last written; times are naive UTC."""

    store: str
    item: Item
    size: int
    changed: datetime
    first_seen: datetime

    @property
    def id(self) -> str:
        return stray_id(self.store, self.item.name)


def stray_id(store: str, name: str) -> str:
    """What it is called: short, and the same each time it is found."""
    return hashlib.blake2s(f"{store}\0{name}".encode(errors="surrogateescape"), digest_size=8).hexdigest()


@frozen(kw_only=True)
class Belonging:
    """What the database knows of an item. *busy*: somebody works on its image's data, or it may come back.

    *urls*: where that image has data.
    """

    busy: bool
    urls: tuple[str, ...] = ()
