"""The tasks API, and the tasks of an image."""

from __future__ import annotations

import json
from typing import Any

import pytest
import pytest_twisted

from tests.running import Api


async def start_task(api: Api, **values: Any) -> Any:
    body = {"type": "api_image_import", "input": {"image_id": "x"}} | values
    reply = await api.send("POST", "/v2/tasks", body, None)
    assert reply.status == 201
    return reply


@pytest_twisted.ensureDeferred
async def test_create(api: Api) -> None:
    """A task is accepted, found at its Location, and fails: imports are started at the image."""
    reply = await start_task(api)
    task = reply.json
    assert (task["status"], task["message"], task["input"]) == ("pending", "", {"image_id": "x"})
    assert reply.header("location") == f"{api.url}/v2/tasks/{task['id']}"
    shown = (await api.request("GET", task["self"])).json
    assert shown["status"] == "failure"
    assert shown["message"]
    assert shown["expires_at"] > shown["created_at"]
    assert shown["request_id"].startswith("req-")


@pytest.mark.parametrize(
    "body",
    [
        {"type": "import"},
        {"input": {}},
        {"type": "x", "input": {}},
        {"type": "import", "input": "x"},
        {"type": "import", "input": None},
        {"type": "import", "input": {}, "extra": 1},
        {"type": "import", "input": {}},
        {"type": "import", "input": {"import_from": "file:///etc/passwd"}},
        {"type": "import", "input": {"import_from": "http://127.0.0.1:1/"}},
        [],
    ],
)
@pytest_twisted.ensureDeferred
async def test_create_refused(api: Api, body: Any) -> None:
    """What is not a task."""
    assert (await api.send("POST", "/v2/tasks", body, None)).status == 400


@pytest_twisted.ensureDeferred
async def test_list(api: Api) -> None:
    """Pages of tasks without their input, linked as clients expect."""
    ids = {(await start_task(api)).json["id"] for _ in range(5)}
    seen: list[str] = []
    path = "/v2/tasks?limit=2&status=failure"
    while path:
        page = (await api.request("GET", path)).json
        assert page["first"] == "/v2/tasks?limit=2&status=failure"
        assert all("input" not in task and "message" not in task for task in page["tasks"])
        seen += [task["id"] for task in page["tasks"]]
        path = page.get("next")
    assert len(seen) == 5
    assert set(seen) == ids


@pytest.mark.parametrize(
    "query",
    ["status=x", "type=x", "type=api_image_import", "limit=-1", "limit=x", "marker=x", "sort_key=x", "sort_dir=x"],
)
@pytest_twisted.ensureDeferred
async def test_list_refused(api: Api, query: str) -> None:
    """What cannot be asked for."""
    assert (await api.request("GET", f"/v2/tasks?{query}")).status == 400


@pytest.mark.parametrize("query", ["limit=0", "status=", "status=success", "foo=1&limit=0"])
@pytest_twisted.ensureDeferred
async def test_list_nothing(api: Api, query: str) -> None:
    """No task fits."""
    await start_task(api)
    reply = await api.request("GET", f"/v2/tasks?{query}")
    assert (reply.status, reply.json["tasks"]) == (200, [])


@pytest_twisted.ensureDeferred
async def test_not_found(api: Api) -> None:
    assert (await api.request("GET", "/v2/tasks/nope")).status == 404


@pytest_twisted.ensureDeferred
async def test_delete(api: Api) -> None:
    """Tasks cannot be deleted, and the answer says what can be done with them."""
    reply = await api.request("DELETE", "/v2/tasks/any")
    assert (reply.status, reply.header("allow")) == (405, "GET")
    assert "expires_at" in reply.json["message"]


@pytest_twisted.ensureDeferred
async def test_of_image(api: Api) -> None:
    """An image's tasks are shown whole, with Glance's raw times."""
    image_id = await api.create()
    assert (await api.request("GET", f"/v2/images/{image_id}/tasks")).json == {"tasks": []}
    task = (await start_task(api, input={"image_id": image_id, "more": [1]})).json
    (shown,) = (await api.request("GET", f"/v2/images/{image_id}/tasks")).json["tasks"]
    assert shown["id"] == task["id"]
    assert shown["input"] == {"image_id": image_id, "more": [1]}
    assert shown["deleted"] is False
    assert shown["created_at"].count(":") == 2
    assert "Z" not in shown["created_at"]
    assert (await api.request("GET", "/v2/images/nope/tasks")).status == 404


@pytest_twisted.ensureDeferred
async def test_schemas(api: Api) -> None:
    """Clients fetch these before anything else."""
    task = (await api.request("GET", "/v2/schemas/task")).json
    assert list(task["properties"])[:4] == ["id", "type", "status", "input"]
    tasks = (await api.request("GET", "/v2/schemas/tasks")).json
    assert "input" not in tasks["properties"]["tasks"]["items"]["properties"]
    assert json.dumps(tasks["links"]) == '[{"rel": "describedby", "href": "{schema}"}]'
