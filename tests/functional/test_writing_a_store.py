"""docs/writing-a-store.md: its example is a real store, and what it shows is what the example has."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Collection
from pathlib import Path

import pytest
import pytest_twisted

from docs.examples.sqlite_store import SqliteStore
from glancetx.domain.errors import ConfigurationError, StoreError, StoreFull
from glancetx.interfaces import IStore
from glancetx.testing.fakes import Recorder
from glancetx.testing.stores import StoreTests, keep, the_reactor
from tests.running import Started, settings_in

DOCS = Path(__file__).parents[2] / "docs"


class TestSqliteStore(StoreTests):
    """The suite."""

    @pytest.fixture(autouse=True)
    def _path(self, tmp_path: Path) -> None:
        self.path = tmp_path / "images.sqlite"

    async def make_store(self) -> IStore:
        return SqliteStore(the_reactor(), self.path)

    async def remains(self, store: IStore) -> Collection[str]:
        found = sqlite3.connect(self.path).execute("select id from images union select image from pieces")
        return [row[0] for row in found]


@pytest_twisted.ensureDeferred
async def test_in_a_service(start: Started, tmp_path: Path) -> None:
    """An image service keeps its images there."""
    store = SqliteStore(the_reactor(), tmp_path / "images.sqlite")
    api = await start(settings_in(tmp_path), stores={"sqlite": store})
    image_id = await api.create()
    assert (await api.upload(image_id, b"content")).status == 204
    assert (await api.request("GET", f"/v2/images/{image_id}/file")).body == b"content"
    assert (await api.request("GET", f"/v2/images/{image_id}/file", Range="bytes=3-")).body == b"tent"
    assert (await api.request("DELETE", f"/v2/images/{image_id}")).status == 204


@pytest_twisted.ensureDeferred
async def test_damage(tmp_path: Path) -> None:
    """A database without room is a full store, lost pieces are never passed over, and what is no database is said."""
    path = tmp_path / "images.sqlite"
    store = SqliteStore(the_reactor(), path)
    await store.start()
    stored = await keep(store, bytes(3_000_000))
    await store.run(lambda connection: connection.execute("delete from pieces where offset > 0"))
    with pytest.raises(StoreError, match="ends after"):
        await Recorder().receive(await store.get(stored.url))
    await store.run(lambda connection: connection.execute("pragma max_page_count = 1"))
    with pytest.raises(StoreFull):
        await keep(store, bytes(9_000_000))
    await store.stop()
    path.write_bytes(b"not a database" * 1000)
    with pytest.raises(ConfigurationError):
        await SqliteStore(the_reactor(), path).start()


def test_shown_code() -> None:
    """Every Python block of the page stands in the example or in this test, but for its indentation."""
    sources = (DOCS / "examples" / "sqlite_store.py", Path(__file__))
    text = "\n".join(lines(path.read_text()) for path in sources)
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / "writing-a-store.md").read_text(), re.DOTALL)
    assert len(blocks) >= 6
    for block in blocks:
        assert lines(block) in text


def lines(text: str) -> str:
    """The lines that are not empty, without indentation."""
    return "\n".join(line.strip() for line in text.splitlines() if line.strip())
