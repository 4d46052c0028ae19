"""Tasks in Glance's tables ``tasks`` and ``task_info`` (D-033, D-051): each method is one transaction."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from attrs import evolve
from sqlalchemy import ColumnElement, Connection, Select, insert, select, update

from glancetx.db.dialects import alive
from glancetx.db.engine import Engine
from glancetx.db.paging import behind, ordering
from glancetx.db.schema import task_info, tasks
from glancetx.db.telling import Tell, nobody
from glancetx.domain.context import RequestContext
from glancetx.domain.errors import Invalid, TaskNotFound
from glancetx.domain.image import utc_now
from glancetx.domain.task import Task, TaskQuery

SORT_KEYS: Final = ("id", "type", "status", "owner", "expires_at", "created_at", "updated_at", "image_id", "user_id")
_STUB: Final = (*SORT_KEYS, "request_id")
_INFO: Final = ("input", "result", "message")

TaskList = list[Task]


class Tasks:
    """All tasks of one database. Callers other than administrators see those of their own project."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def create(self, task: Task, tell: Tell[Task] = nobody) -> Task:
        """Insert a new task; *tell* is called with it at the end of the transaction."""
        await self._engine.interact(_create, task, tell)
        return task

    async def get(self, context: RequestContext, task_id: str) -> Task:
        """:raises TaskNotFound: if there is none, for this caller."""
        return await self._engine.read(_get, context, task_id)

    async def list(self, context: RequestContext, query: TaskQuery) -> TaskList:
        """One page, without input, result and message. Those that have expired are deleted before (A-154).

        :raises Invalid: if the marker is no task, or the sort key is unknown.
        """
        await self._expire()
        return await self._engine.read(_list, context, query)

    async def of_image(self, context: RequestContext, image_id: str) -> TaskList:
        """Every task for that image, the oldest first."""
        await self._expire()
        return await self._engine.read(_of_image, context, image_id)

    async def end(self, task: Task, tell: Tell[Task] = nobody) -> None:
        """Write how *task* ended, if it has not ended otherwise meanwhile; then *tell* is called with it."""
        await self._engine.interact(_finish, task, tell)

    async def _expire(self) -> None:
        if await self._engine.read(_any_expired, utc_now()):
            await self._engine.interact(_expire, utc_now())


def _create(connection: Connection, task: Task, tell: Tell[Task]) -> None:
    add_task(connection, task)
    tell(connection, task)


def _finish(connection: Connection, task: Task, tell: Tell[Task]) -> None:
    if change_task(connection, task):
        tell(connection, task)


def add_task(connection: Connection, task: Task) -> None:
    """Within a transaction: insert a task."""
    times = {"created_at": task.created_at, "updated_at": task.updated_at, "deleted": False}
    row = {name: getattr(task, name) for name in _STUB}
    connection.execute(insert(tasks).values(row | times))
    connection.execute(insert(task_info).values(task_id=task.id, **_info(task)))


def change_task(connection: Connection, task: Task) -> bool:
    """Within a transaction: write status, result, message and expiry; tells whether the task is there and not ended."""
    open_ones = tasks.c.status.in_(("pending", "processing"))
    values = {"status": task.status, "expires_at": task.expires_at, "updated_at": utc_now()}
    mine = (tasks.c.id == task.id, alive(tasks), open_ones)
    if connection.execute(update(tasks).where(*mine).values(values)).rowcount != 1:
        return False
    connection.execute(update(task_info).where(task_info.c.task_id == task.id).values(_info(task)))
    return True


def find_task(connection: Connection, task_id: str) -> Task | None:
    """Within a transaction: the task, if it is not deleted."""
    row = connection.execute(select_full().where(tasks.c.id == task_id, alive(tasks))).mappings().first()
    return None if row is None else task_of(row)


def _info(task: Task) -> dict[str, Any]:
    return {
        "input": None if task.input is None else json.dumps(dict(task.input)),
        "result": None if task.result is None else json.dumps(dict(task.result)),
        "message": task.message,
    }


def select_full() -> Select[Any]:
    """Whole tasks, whose rows `task_of` reads."""
    columns = [tasks.c[name] for name in _STUB] + [task_info.c[name] for name in _INFO]
    return select(*columns).select_from(tasks.outerjoin(task_info))


def _get(connection: Connection, context: RequestContext, task_id: str) -> Task:
    task = find_task(connection, task_id)
    if task is None or not (context.is_admin or task.owner == (context.project_id or "")):
        raise TaskNotFound(task_id)
    return task


def _list(connection: Connection, context: RequestContext, query: TaskQuery) -> TaskList:
    if query.sort_key not in SORT_KEYS:
        raise Invalid("Sort key supplied was not valid.")
    direction = "asc" if query.ascending else "desc"
    sort = tuple((key, direction) for key in dict.fromkeys((query.sort_key, "created_at", "id")))
    page = select(*(tasks.c[name] for name in _STUB)).where(alive(tasks), *_visible(context))
    page = page.where(*(tasks.c[name] == value for name, value in query.equal.items()))
    if query.marker is not None:
        marker = _marker(connection, context, query.marker)
        page = page.where(behind(tasks, sort, marker, connection.dialect))
    page = page.order_by(*ordering(tasks, sort)).limit(query.limit)
    return [task_of(row) for row in connection.execute(page).mappings()]


def _marker(connection: Connection, context: RequestContext, marker: str) -> Mapping[str, Any]:
    try:
        task = _get(connection, context, marker)
    except TaskNotFound as error:
        raise Invalid(f"Task with the given id {marker} was not found") from error
    return {name: getattr(task, name) for name in SORT_KEYS}


def _of_image(connection: Connection, context: RequestContext, image_id: str) -> TaskList:
    mine = select_full().where(tasks.c.image_id == image_id, alive(tasks), *_visible(context))
    return [task_of(row) for row in connection.execute(mine.order_by(tasks.c.created_at, tasks.c.id)).mappings()]


def _visible(context: RequestContext) -> tuple[ColumnElement[bool], ...]:
    return () if context.is_admin else (tasks.c.owner == (context.project_id or ""),)


def _any_expired(connection: Connection, now: datetime) -> bool:
    return (
        connection.execute(select(tasks.c.id).where(alive(tasks), tasks.c.expires_at <= now).limit(1)).first()
        is not None
    )


def _expire(connection: Connection, now: datetime) -> None:
    expired = update(tasks).where(alive(tasks), tasks.c.expires_at <= now)
    connection.execute(expired.values(deleted=True, deleted_at=now, updated_at=now))


def task_of(row: Mapping[Any, Any]) -> Task:
    """The task of a row."""
    values = dict(row)
    task = Task(**{name: value for name, value in values.items() if name not in _INFO})
    if values.get("updated_at") is None:
        task = evolve(task, updated_at=task.created_at)
    if "message" not in values:
        return task
    return evolve(
        task,
        input=json.loads(values["input"]) if values["input"] else None,
        result=json.loads(values["result"]) if values["result"] else None,
        message=values["message"] or "",
    )
