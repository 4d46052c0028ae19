"""The tasks API (api.md, section 5): clients follow tasks, and administrators start some."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from attrs import evolve

from glancetx.access.policy import Policy
from glancetx.db.images import Images
from glancetx.db.tasks import Tasks
from glancetx.domain.context import RequestContext
from glancetx.domain.errors import Invalid, UrlRefused
from glancetx.domain.image import utc_now
from glancetx.domain.task import FAILURE, IMPORT, Task, TaskQuery
from glancetx.notifications.events import Events


class TaskList:
    """Tasks as records. What an ended task is kept for is *time_to_live* hours.

    *check_url* raises UrlRefused for a URL that is not fetched from.
    """

    def __init__(
        self,
        tasks: Tasks,
        images: Images,
        policy: Policy,
        events: Events,
        time_to_live: int,
        check_url: Callable[[str], Awaitable[None]],
    ) -> None:
        self._tasks = tasks
        self._images = images
        self._policy = policy
        self._events = events
        self._kept = timedelta(hours=time_to_live)
        self._check_url = check_url

    def check(self, context: RequestContext) -> None:
        """:raises Forbidden: if the caller may not use this API at all."""
        self._policy.check("tasks_api_access", context, {})

    async def create(self, context: RequestContext, kind: str, given: Mapping[str, Any] | None) -> Task:
        """Start a task. Of the types that Glance knows, none can be started here: the task then fails (A-150).

        :raises Forbidden: by policy. :raises Invalid: if data would be imported from where nobody may.
        """
        self.check(context)
        if kind == IMPORT:
            await self._check_source((given or {}).get("import_from"))
        task = await self._tasks.create(new_task(context, kind, given), self._events.task_created)
        ended = evolve(
            task,
            status=FAILURE,
            message=f"Tasks of the type {kind} are started by other requests.",
            expires_at=utc_now() + self._kept,
        )
        await self._tasks.end(ended, self._events.task_ended)
        return task

    async def _check_source(self, source: Any) -> None:
        """:raises Invalid: in Glance's words, if *source* is not a URL that may be fetched."""
        if not isinstance(source, str) or not source:
            raise Invalid(f"Invalid location: {source}")
        if source.startswith(("file:///", "filesystem:///")):
            raise Invalid("File based imports are not allowed. Please use a non-local source of image data.")
        if not source.startswith(("http://", "https://")):
            raise Invalid(
                "The given uri is not valid. Please specify a valid uri from the following list of supported uri"
                " ['http']"
            )
        try:
            await self._check_url(source)
        except UrlRefused as error:
            raise Invalid(f"URI for legacy import task does not pass filtering: {source}") from error

    async def get(self, context: RequestContext, task_id: str) -> Task:
        """:raises TaskNotFound: if there is none, for this caller. :raises Forbidden: by policy."""
        self.check(context)
        return await self._tasks.get(context, task_id)

    async def list(self, context: RequestContext, query: TaskQuery) -> tuple[Sequence[Task], str | None]:
        """A page of tasks, and the marker of the next one if there may be one.

        :raises Invalid: if marker or sort key are unknown. :raises Forbidden: by policy.
        """
        self.check(context)
        if query.limit == 0 and query.marker is None:  # a marker has to exist even so
            return [], None
        page = await self._tasks.list(context, query)
        return page, page[-1].id if page and len(page) == query.limit else None

    async def of_image(self, context: RequestContext, image_id: str) -> Sequence[Task]:
        """What was and is done to one image (A-036). :raises ImageNotFound: if there is none, for this caller."""
        image = await self._images.get(context, image_id)
        self._policy.check_image("get_image", context, image)
        return await self._tasks.of_image(context, image_id)


def new_task(context: RequestContext, kind: str, given: Mapping[str, Any] | None, image_id: str | None = None) -> Task:
    """A task of this caller, which nobody knows yet."""
    named = (given or {}).get("image_id")
    return Task(
        id=str(uuid.uuid4()),
        type=kind,
        owner=context.project_id or "",
        input=given,
        image_id=image_id or (named if isinstance(named, str) and len(named) <= 36 else None),
        request_id=context.request_id[:64] or None,
        user_id=context.user_id,
    )
