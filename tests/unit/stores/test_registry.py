"""Which store is meant."""

from __future__ import annotations

import pytest
import pytest_twisted

from glancetx.domain.errors import ConfigurationError, StoreError, StoreUnavailable, UnknownStore
from glancetx.domain.image import Location
from glancetx.stores.registry import Stores
from glancetx.testing.fakes import MemoryStore


class Unwilling(MemoryStore):
    """A store that cannot start."""

    async def start(self) -> None:
        raise ConfigurationError("no")


def three() -> Stores:
    """Stores of which the second is heaviest."""
    stores = {name: MemoryStore(name) for name in ("fast", "best", "cheap")}
    return Stores(stores, "fast", {"fast": 1, "best": 5})


def test_by_name() -> None:
    """A store is found by its id; the default is one of them."""
    stores = three()
    assert stores.get("best").identifier == "best"
    assert stores.default is stores.get("fast")
    assert stores.identifiers == ("fast", "best", "cheap")
    with pytest.raises(UnknownStore):
        stores.get("none")


def test_unknown_default() -> None:
    """A default that is not there is a mistake of the operator."""
    with pytest.raises(ConfigurationError, match="other"):
        Stores({"fast": MemoryStore()}, "other")


@pytest.mark.parametrize(
    ("location", "name"),
    [
        (Location(url="memory://cheap/1", metadata={"store": "best"}), "best"),
        (Location(url="memory://cheap/1"), "cheap"),
        (Location(url="memory://cheap/1", metadata={"store": "gone"}), "cheap"),
        (Location(url="memory://elsewhere/1"), "fast"),
    ],
)
def test_for_location(location: Location, name: str) -> None:
    """The metadata tell; else the beginning of the URL; else its scheme."""
    assert three().for_location(location).identifier == name


@pytest.mark.parametrize(
    ("url", "error"), [("rbd://x", UnknownStore), ("nonsense", StoreUnavailable), ("", StoreUnavailable)]
)
def test_for_no_location(url: str, error: type[StoreError]) -> None:
    """A scheme nobody reads; and what is no URL, which must not be taken for gone."""
    with pytest.raises(error):
        three().for_location(Location(url=url))


def test_by_weight() -> None:
    """The heaviest store comes first, equal ones in their order, unknown ones last."""
    urls = ["rbd://x", "memory://cheap/1", "memory://fast/1", "memory://cheap/2", "memory://best/1"]
    ordered = three().by_weight(Location(url=url) for url in urls)
    assert [location.url for location in ordered] == [urls[4], urls[2], urls[1], urls[3], urls[0]]


@pytest_twisted.ensureDeferred
async def test_starts_and_stops_all() -> None:
    """Every store is started, and stopped."""
    first, second = MemoryStore("a"), MemoryStore("b")
    stores = Stores({"a": first, "b": second}, "a")
    await stores.start()
    assert first.running
    assert second.running
    await stores.stop()
    assert not first.running
    assert not second.running


@pytest_twisted.ensureDeferred
async def test_a_failed_start_stops_the_others() -> None:
    """If one store cannot start, none stays started."""
    first = MemoryStore("a")
    stores = Stores({"a": first, "b": Unwilling("b")}, "a")
    with pytest.raises(ConfigurationError):
        await stores.start()
    assert not first.running


def test_preferred_first() -> None:
    """The stores a caller prefers come first, in the order of their weights; then the others."""
    locations = [Location(url=f"memory://{name}/x", metadata={"store": name}) for name in ("cheap", "fast", "best")]
    found = three().by_weight(locations, prefer=("cheap", "fast"))
    assert [location.metadata["store"] for location in found] == ["fast", "cheap", "best"]


def test_names_of_old_locations() -> None:
    """A location without a store, or with one that is gone, gets the name of the store that writes such URLs."""
    made = {name: MemoryStore(name) for name in ("old", "new")}
    naming = Stores(made, "new", naming=True)
    url = f"{made['old'].url_prefix}x"
    plain, gone = Location(url=url), Location(url=url, metadata={"store": "gone", "x": 1})
    foreign = Location(url="file:///x")
    assert [each.metadata for each in naming.by_weight([plain, gone, foreign])] == [
        {"store": "old"},
        {"store": "old", "x": 1},
        {},
    ]
    assert naming.acting_for(None).named(plain).metadata == {"store": "old"}
    assert Stores(made, "new").by_weight([plain]) == [plain]
