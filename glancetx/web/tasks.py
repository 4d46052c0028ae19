"""``/v2/tasks``, and the tasks of an image (api.md, section 5 and A-036)."""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import urlencode

from glancetx.config.settings import ImagesSettings
from glancetx.domain.errors import ImageNotFound, Invalid, NotFound
from glancetx.domain.task import IMPORT, STATUSES, Task, TaskQuery
from glancetx.operations.schemas import UUID_PATTERN, TaskSchema
from glancetx.operations.tasks import TaskList
from glancetx.web.errors import Problem, Refusal
from glancetx.web.query import Pairs, parse_query
from glancetx.web.routing import Answer, Call, route
from glancetx.web.views import moment

KEPT: Final = (
    "This operation is currently not permitted on Glance Tasks. "
    "They are auto deleted after reaching the time based on their expires_at property."
)


class TasksRoom:
    """Reads requests about tasks, calls `TaskList`, shows what it says."""

    def __init__(self, tasks: TaskList, settings: ImagesSettings) -> None:
        self._tasks = tasks
        self._settings = settings
        self._schema = TaskSchema()

    @route("POST", "/v2/tasks", body=True)
    async def create(self, call: Call) -> Answer:
        self._tasks.check(call.context)
        document = await call.document()
        for name in ("type", "input"):
            if not isinstance(document, dict) or name not in document:
                raise Invalid(f"Task '{name}' is required")
        self._schema.check(document)
        if document["input"] is None:
            raise Invalid("Task 'input' is required")
        task = await self._tasks.create(call.context, document["type"], document["input"])
        view = task_view(task)
        return Answer(status=201, document=view, headers=(("Location", call.absolute(view["self"])),))

    @route("GET", "/v2/tasks", body=True)
    async def list(self, call: Call) -> Answer:
        self._tasks.check(call.context)
        pairs = parse_query(call.query)
        tasks, last = await self._tasks.list(call.context, self._query(pairs))
        rest = [(name, value) for name, value in pairs if name != "marker"]
        document: dict[str, Any] = {
            "tasks": [stub_view(task) for task in tasks],
            "first": _link(rest),
            "schema": "/v2/schemas/tasks",
        }
        if last is not None:
            document["next"] = _link([*rest, ("marker", last)])
        return Answer(document=document)

    @route("GET", "/v2/tasks/<task_id>", body=True)
    async def show(self, call: Call, task_id: str) -> Answer:
        return Answer(document=task_view(await self._tasks.get(call.context, task_id)))

    @route("DELETE", "/v2/tasks/<task_id>", body=True)
    async def delete(self, call: Call, task_id: str) -> Answer:
        self._tasks.check(call.context)
        raise Refusal(Problem(405, KEPT, headers=(("Allow", "GET"),), raw_text=KEPT))

    @route("GET", "/v2/images/<image_id>/tasks")
    async def of_image(self, call: Call, image_id: str) -> Answer:
        try:
            tasks = await self._tasks.of_image(call.context, image_id)
        except ImageNotFound as error:
            raise NotFound("The resource could not be found.") from error
        return Answer(document={"tasks": [raw_view(task) for task in tasks]})

    def _query(self, pairs: Pairs) -> TaskQuery:
        """:raises Invalid: with the first parameter that breaks a rule; unknown ones are passed over (A-151)."""
        values = dict(pairs)
        limit = min(_limit(values.get("limit"), self._settings.limit_param_default), self._settings.api_limit_max)
        direction, marker = values.get("sort_dir", "desc"), values.get("marker")
        if direction not in ("asc", "desc"):
            raise Invalid(f"Invalid sort direction: {direction}")
        if marker and not re.fullmatch(UUID_PATTERN, marker):
            raise Invalid("Invalid marker format")
        equal: dict[str, str] = {name: values[name] for name in ("status", "type") if name in values}
        if equal.get("status") and equal["status"] not in STATUSES:
            raise Invalid(f"Invalid status value: {equal['status']}")
        if equal.get("type") and equal["type"] != IMPORT:
            raise Invalid(f"Invalid type value: {equal['type']}")
        key = values.get("sort_key", "created_at")
        return TaskQuery(limit=limit, marker=marker or None, sort_key=key, ascending=direction == "asc", equal=equal)


def _limit(text: str | None, default: int) -> int:
    if text is None:
        return default
    if not re.fullmatch(r"[+-]?\d{1,18}", text, re.ASCII):
        raise Invalid("limit param must be an integer")
    if int(text) < 0:
        raise Invalid("limit param must be positive")
    return int(text)


def _link(query: Pairs) -> str:
    return f"/v2/tasks?{urlencode(query)}" if query else "/v2/tasks"


def task_view(task: Task) -> dict[str, Any]:
    """The whole task (A-152)."""
    document: dict[str, Any] = {
        "id": task.id,
        "input": task.input,
        "type": task.type,
        "status": task.status,
        "owner": task.owner,
        "message": task.message,
        "result": task.result,
        "created_at": moment(task.created_at),
        "updated_at": moment(task.updated_at),
        "self": f"/v2/tasks/{task.id}",
        "schema": "/v2/schemas/task",
    }
    document |= {name: value for name in ("image_id", "request_id", "user_id") if (value := getattr(task, name))}
    return document | _expiry(task)


def stub_view(task: Task) -> dict[str, Any]:
    """A task in a list."""
    return {
        "id": task.id,
        "type": task.type,
        "status": task.status,
        "owner": task.owner,
        "created_at": moment(task.created_at),
        "updated_at": moment(task.updated_at),
        "self": f"/v2/tasks/{task.id}",
        "schema": "/v2/schemas/task",
        **_expiry(task),
    }


def _expiry(task: Task) -> dict[str, str]:
    return {} if task.expires_at is None else {"expires_at": moment(task.expires_at)}


def raw_view(task: Task) -> dict[str, Any]:
    """A task of an image, as its row is: times with fractions and without a zone (A-011)."""
    return {
        "id": task.id,
        "type": task.type,
        "status": task.status,
        "owner": task.owner,
        "expires_at": None if task.expires_at is None else task.expires_at.isoformat(),
        "created_at": task.created_at.isoformat(),
        "updated_at": task.updated_at.isoformat(),
        "deleted_at": None,
        "deleted": False,
        "image_id": task.image_id,
        "request_id": task.request_id,
        "user_id": task.user_id,
        "input": task.input,
        "result": task.result,
        "message": task.message,
    }
