"""``/v2/schemas``: what clients fetch to know our documents (api.md, A-205)."""

from __future__ import annotations

from glancetx.operations.schemas import ImageSchema, member_schema, members_schema, task_schema, tasks_schema
from glancetx.web.routing import Answer, Call, route


class SchemasRoom:
    """Serves the schemas of the resources that are there."""

    def __init__(self, schema: ImageSchema) -> None:
        self._schema = schema

    @route("GET", "/v2/schemas/image")
    async def image(self, call: Call) -> Answer:
        return Answer(document=self._schema.document)

    @route("GET", "/v2/schemas/images")
    async def images(self, call: Call) -> Answer:
        return Answer(document=self._schema.collection)

    @route("GET", "/v2/schemas/member")
    async def member(self, call: Call) -> Answer:
        return Answer(document=member_schema())

    @route("GET", "/v2/schemas/members")
    async def members(self, call: Call) -> Answer:
        return Answer(document=members_schema())

    @route("GET", "/v2/schemas/task", body=True)
    async def task(self, call: Call) -> Answer:
        return Answer(document=task_schema())

    @route("GET", "/v2/schemas/tasks", body=True)
    async def tasks(self, call: Call) -> Answer:
        return Answer(document=tasks_schema())
