"""Tasks in the database: who sees which, pages, expiry."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
import pytest_twisted
from attrs import evolve

from glancetx.db.engine import Engine
from glancetx.db.tasks import Tasks
from glancetx.domain.context import RequestContext, service_context
from glancetx.domain.errors import Invalid, TaskNotFound
from glancetx.domain.image import utc_now
from glancetx.domain.task import API_IMAGE_IMPORT, FAILURE, SUCCESS, Task, TaskQuery

Rows = Callable[..., Awaitable[list[Any]]]
ADMIN = service_context()
OURS = RequestContext(project_id="ours")
START = datetime(2026, 1, 1)


def task_of(number: int = 0, **fields: Any) -> Task:
    moment = START + timedelta(seconds=number)
    values = {"id": f"{number:08x}-0000-0000-0000-000000000000", "type": API_IMAGE_IMPORT, "owner": "ours"}
    return Task(**{**values, "created_at": moment, "updated_at": moment, **fields})


@pytest.fixture
def tasks(engine: Engine) -> Tasks:
    return Tasks(engine)


@pytest_twisted.ensureDeferred
async def test_get(tasks: Tasks) -> None:
    """A task comes back as it was created."""
    task = task_of(input={"image_id": "i"}, result={"a": [1]}, message="m", image_id="i", request_id="r", user_id="u")
    await tasks.create(task)
    assert await tasks.get(OURS, task.id) == task


@pytest_twisted.ensureDeferred
async def test_get_of_others(tasks: Tasks) -> None:
    """Others do not see it, administrators do."""
    await tasks.create(task_of())
    with pytest.raises(TaskNotFound):
        await tasks.get(RequestContext(project_id="theirs"), task_of().id)
    assert (await tasks.get(ADMIN, task_of().id)).owner == "ours"


@pytest_twisted.ensureDeferred
async def test_list_leaves_out(tasks: Tasks) -> None:
    """A listed task has no input, result and message; and others' tasks are not listed."""
    await tasks.create(task_of(1, input={"image_id": "i"}, message="m"))
    await tasks.create(task_of(2, owner="theirs"))
    assert await tasks.list(OURS, TaskQuery(limit=5)) == [task_of(1)]
    assert len(await tasks.list(ADMIN, TaskQuery(limit=5))) == 2


@pytest.mark.parametrize("sort_key", ["created_at", "id", "status", "expires_at", "owner"])
@pytest.mark.parametrize("ascending", [False, True])
@pytest_twisted.ensureDeferred
async def test_pages(tasks: Tasks, sort_key: str, ascending: bool) -> None:
    """Page after page shows every task once, in order, also where values are equal or missing."""
    later = utc_now() + timedelta(days=1)
    for number in range(7):
        await tasks.create(task_of(number, expires_at=later if number % 3 else None))
    query = TaskQuery(limit=2, sort_key=sort_key, ascending=ascending)
    seen: list[Task] = []
    while page := await tasks.list(ADMIN, evolve(query, marker=seen[-1].id if seen else None)):
        seen += page
    assert seen == await tasks.list(ADMIN, evolve(query, limit=10))
    assert len({task.id for task in seen}) == 7


@pytest_twisted.ensureDeferred
async def test_filter(tasks: Tasks) -> None:
    """By status and type."""
    await tasks.create(task_of(1, status=SUCCESS))
    await tasks.create(task_of(2, status=FAILURE))
    assert [task.id for task in await tasks.list(OURS, TaskQuery(limit=5, equal={"status": FAILURE}))] == [
        task_of(2).id
    ]


@pytest.mark.parametrize("query", [TaskQuery(limit=1, marker="none"), TaskQuery(limit=1, sort_key="input")])
@pytest_twisted.ensureDeferred
async def test_bad_query(tasks: Tasks, query: TaskQuery) -> None:
    """A marker that is no task, a key nobody can sort by."""
    with pytest.raises(Invalid):
        await tasks.list(OURS, query)


@pytest_twisted.ensureDeferred
async def test_expired(tasks: Tasks, rows: Rows) -> None:
    """What has expired is gone from lists, and only marked as deleted, for Glance's purge to find."""
    await tasks.create(task_of(1, image_id="i", expires_at=utc_now() - timedelta(seconds=1)))
    await tasks.create(task_of(2, image_id="i", expires_at=utc_now() + timedelta(hours=1)))
    assert [task.id for task in await tasks.of_image(OURS, "i")] == [task_of(2).id]
    assert [task.id for task in await tasks.list(OURS, TaskQuery(limit=5))] == [task_of(2).id]
    assert await rows("SELECT deleted, deleted_at IS NULL FROM tasks ORDER BY id") == [(1, 0), (0, 1)]
    with pytest.raises(TaskNotFound):
        await tasks.get(OURS, task_of(1).id)


@pytest_twisted.ensureDeferred
async def test_end(tasks: Tasks) -> None:
    """A task ends once."""
    await tasks.create(task_of())
    await tasks.end(task_of(status=SUCCESS, result={"image_id": "i"}))
    await tasks.end(task_of(status=FAILURE, message="too late"))
    assert (await tasks.get(OURS, task_of().id)).status == SUCCESS
