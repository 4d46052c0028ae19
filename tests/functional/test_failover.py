"""A store that does not answer is waited for by nobody while there is another copy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred

from glancetx.config.store_settings import MIB
from glancetx.testing.fakes import MemoryStore
from glancetx.transfer import failover
from tests.running import DATA, JSON, Started, settings_in

CONTENT = bytes(range(256)) * (MIB // 64)


class Silent(MemoryStore):
    """Says nothing to those who want to read, once it is *down*; *asked* by so many, of which *left* have given up."""

    down = False
    asked = left = 0

    async def get(self, url: str, offset: int = 0, length: int | None = None) -> Any:
        self.asked += 1
        if self.down:
            await Deferred(lambda _: setattr(self, "left", self.left + 1))
        return await super().get(url, offset, length)


@pytest_twisted.ensureDeferred
async def test_store_that_says_nothing(start: Started, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next copy is read; the store is not even asked for a while, and is the first one again when it answers."""
    monkeypatch.setattr(failover, "REST", 1000.0)
    heavy = Silent("heavy", metadata={"store": "heavy"})
    light = MemoryStore("light", metadata={"store": "light"})
    api = await start(settings_in(tmp_path), stores={"heavy": heavy, "light": light})
    image = await api.create()
    assert (await api.request("PUT", f"/v2/images/{image}/stage", CONTENT, Content_Type=DATA)).status == 204
    wanted = json.dumps({"method": {"name": "glance-direct"}, "all_stores": True}).encode()
    assert (await api.request("POST", f"/v2/images/{image}/import", wanted, Content_Type=JSON)).status == 202
    while (await api.show(image))["status"] != "active":
        pass
    file = f"/v2/images/{image}/file"
    assert (await api.request("GET", file)).body == CONTENT
    assert heavy.asked == 1
    heavy.down = True
    for query, headers, body in (
        ("", {}, CONTENT),
        ("", {"Range": "bytes=100-199"}, CONTENT[100:200]),
        ("?prefer=heavy", {}, CONTENT),
    ):
        assert (await api.request("GET", file + query, **headers)).body == body
    assert (heavy.asked, heavy.left) == (2, 1)
    await light.delete(light.urls[0])
    heavy.down = False
    assert (await api.request("GET", file)).body == CONTENT
    assert heavy.asked == 3
