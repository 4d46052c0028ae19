"""Imports as streams of events."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
import treq
from twisted.internet.defer import Deferred

from glancetx.db.states import ImportStates
from glancetx.testing.fakes import until
from glancetx.web.events import EventsRoom
from tests.functional.test_import import WaitingStore, stage, start_import
from tests.running import Api, Started, settings_in


class Stream:
    """What comes of one stream, as it comes; *ended* when the server has ended it as it should."""

    def __init__(self, response: Any) -> None:
        self.status, self.kind = response.code, response.headers.getRawHeaders("content-type")
        self.text = ""
        self.ended = self.broken = False
        reading: Deferred[Any] = treq.collect(response, self._collect)
        reading.addCallbacks(lambda _: setattr(self, "ended", True), lambda _: setattr(self, "broken", True))

    def _collect(self, data: bytes) -> None:
        self.text += data.decode()

    @property
    def events(self) -> list[tuple[str, Any]]:
        blocks = [block.split("\n") for block in self.text.split("\n\n") if block.startswith("event:")]
        return [(name.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for name, data in blocks]


async def follow(api: Api, image_id: str, method: str = "GET") -> Stream:
    url = f"{api.url}/v2/images/{image_id}/import/events"
    return Stream(await treq.request(method, url, agent=api.agent, unbuffered=True))


@pytest.fixture
def turn() -> Callable[[Callable[[], bool]], Any]:
    """Wait for a condition."""
    from twisted.internet import reactor

    return lambda condition: until(reactor, condition)


async def held(start: Started, folder: Path) -> tuple[Api, WaitingStore, str]:
    """A service with an import that waits in the store."""
    from twisted.internet import reactor

    store = WaitingStore()
    api = await start(settings_in(folder), stores={"memory": store})
    image_id = await api.create()
    await stage(api, image_id)
    assert (await start_import(api, image_id)).status == 202
    await until(reactor, lambda: store.reached)
    return api, store, image_id


@pytest_twisted.ensureDeferred
async def test_from_begin_to_end(start: Started, tmp_path: Path, turn: Any) -> None:
    """What is now comes first, changes follow, and the stream ends with the import."""
    api, store, image_id = await held(start, tmp_path)
    stream = await follow(api, image_id)
    assert (stream.status, stream.kind) == (200, ["text/event-stream"])
    await turn(lambda: bool(stream.events))
    name, facts = stream.events[0]
    assert (name, facts["status"], facts["task_status"]) == ("progress", "importing", "processing")
    assert not stream.ended
    store.go.callback(None)
    await turn(lambda: stream.ended)
    name, facts = stream.events[-1]
    assert (name, facts["status"], facts["task_status"]) == ("end", "active", "success")
    assert facts["bytes_done"] == facts["bytes_total"] == 700_000
    assert facts["message"].startswith("Copied")
    await turn(lambda: len(api.service.following) == 0)


@pytest_twisted.ensureDeferred
async def test_no_import(api: Api, turn: Any) -> None:
    """Where none goes on the stream says so, and ends."""
    image_id = await api.create()
    stream = await follow(api, image_id)
    await turn(lambda: stream.ended)
    assert stream.events == [("end", {"image_id": image_id, "status": "queued"})]
    assert (await follow(api, "nope")).status == 404
    head = await follow(api, image_id, "HEAD")
    assert (head.status, head.kind) == (200, ["text/event-stream"])


@pytest_twisted.ensureDeferred
async def test_deleted(start: Started, tmp_path: Path, turn: Any) -> None:
    api, store, image_id = await held(start, tmp_path)
    stream = await follow(api, image_id)
    await turn(lambda: bool(stream.events))
    assert (await api.request("DELETE", f"/v2/images/{image_id}")).status == 204
    await turn(lambda: stream.ended)
    assert (stream.events[-1][0], stream.events[-1][1]["status"]) == ("end", "deleted")
    await turn(lambda: store.left)


@pytest_twisted.ensureDeferred
async def test_heartbeat(start: Started, tmp_path: Path, turn: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Silence is broken by comments, and a client that leaves is noticed."""
    monkeypatch.setattr(EventsRoom, "heartbeat", 0.05)
    api, _, image_id = await held(start, tmp_path)
    stream = await follow(api, image_id)
    await turn(lambda: stream.text.count(": \n\n") > 2)
    assert stream.text.startswith("retry: 3000\n\n")


@pytest_twisted.ensureDeferred
async def test_shared(start: Started, tmp_path: Path, turn: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many listeners cost one look at the database each second; none cost nothing."""
    api, store, image_id = await held(start, tmp_path)
    looks: list[int] = []
    real = ImportStates.of

    async def counted(self: ImportStates, image_ids: Collection[str]) -> Any:
        looks.append(len(image_ids))
        return await real(self, image_ids)

    streams = [await follow(api, image_id) for _ in range(30)]
    monkeypatch.setattr(ImportStates, "of", counted)
    await turn(lambda: len(looks) >= 2)
    assert set(looks) == {1}
    store.go.callback(None)
    await turn(lambda: all(stream.ended for stream in streams))
    assert {stream.events[-1][1]["task_status"] for stream in streams} == {"success"}
    assert len(looks) < 60  # and not thirty times as many
    await turn(lambda: len(api.service.following) == 0)


@pytest_twisted.ensureDeferred
async def test_another_node(start: Started, tmp_path: Path, turn: Any) -> None:
    """It does not matter where the import runs."""
    _, store, image_id = await held(start, tmp_path)
    other = await start(settings_in(tmp_path), stores={"memory": WaitingStore()})
    stream = await follow(other, image_id)
    await turn(lambda: bool(stream.events))
    store.go.callback(None)
    await turn(lambda: stream.ended)
    assert stream.events[-1][1]["status"] == "active"


@pytest.mark.parametrize("how", ["drain", "stop"])
@pytest_twisted.ensureDeferred
async def test_shutdown(start: Started, tmp_path: Path, turn: Any, how: str) -> None:
    """A service that stops, or is about to, ends its streams as whole answers, without an end of the import."""
    api, _, image_id = await held(start, tmp_path)
    stream = await follow(api, image_id)
    await turn(lambda: bool(stream.events))
    if how == "drain":
        api.service.drain()
    else:
        await api.service.stopService()
    await turn(lambda: stream.ended or stream.broken)
    assert stream.ended
    assert [name for name, _ in stream.events] == ["progress"]
