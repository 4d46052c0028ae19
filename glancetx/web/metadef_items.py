"""What is in a namespace of metadata definitions: objects, properties and tags (api.md, A-235, A-240..A-248)."""

from __future__ import annotations

from typing import Final

from glancetx.operations.metadef_items import MetadefObjects, MetadefProperties, MetadefTags
from glancetx.web.metadef_query import check_object_query, first_value, parse_tag_query
from glancetx.web.metadef_views import object_view, properties_view, property_view, tag_name_view, tag_view
from glancetx.web.query import parse_query
from glancetx.web.routing import Answer, Call, route

BELOW: Final = "/v2/metadefs/namespaces/<namespace>"
YES: Final = frozenset({"1", "t", "true", "on", "y", "yes"})


class ObjectsRoom:
    """Objects: properties that belong together."""

    def __init__(self, objects: MetadefObjects) -> None:
        self._objects = objects

    @route("GET", f"{BELOW}/objects", body=True)
    async def list(self, call: Call, namespace: str) -> Answer:
        check_object_query(parse_query(call.query))
        objects = await self._objects.list(call.context, namespace)
        views = [object_view(each, namespace) for each in objects]
        # Glance's link has no slash in front.
        return Answer(document={"objects": views, "schema": "v2/schemas/metadefs/objects"})

    @route("POST", f"{BELOW}/objects", body=True)
    async def create(self, call: Call, namespace: str) -> Answer:
        item = await self._objects.create(call.context, namespace, await call.json())
        return Answer(status=201, document=object_view(item, namespace))

    @route("DELETE", f"{BELOW}/objects")
    async def clear(self, call: Call, namespace: str) -> Answer:
        await self._objects.clear(call.context, namespace)
        return Answer(status=204)

    @route("GET", f"{BELOW}/objects/<name>")
    async def show(self, call: Call, namespace: str, name: str) -> Answer:
        return Answer(document=object_view(await self._objects.get(call.context, namespace, name), namespace))

    @route("PUT", f"{BELOW}/objects/<name>", body=True)
    async def update(self, call: Call, namespace: str, name: str) -> Answer:
        item = await self._objects.update(call.context, namespace, name, await call.json())
        return Answer(document=object_view(item, namespace))

    @route("DELETE", f"{BELOW}/objects/<name>")
    async def delete(self, call: Call, namespace: str, name: str) -> Answer:
        await self._objects.delete(call.context, namespace, name)
        return Answer(status=204)


class PropertiesRoom:
    """Properties that stand by themselves."""

    def __init__(self, properties: MetadefProperties) -> None:
        self._properties = properties

    @route("GET", f"{BELOW}/properties")
    async def list(self, call: Call, namespace: str) -> Answer:
        return Answer(document={"properties": properties_view(await self._properties.list(call.context, namespace))})

    @route("POST", f"{BELOW}/properties", body=True)
    async def create(self, call: Call, namespace: str) -> Answer:
        item = await self._properties.create(call.context, namespace, await call.json())
        return Answer(status=201, document=property_view(item))

    @route("DELETE", f"{BELOW}/properties")
    async def clear(self, call: Call, namespace: str) -> Answer:
        await self._properties.clear(call.context, namespace)
        return Answer(status=204)

    @route("GET", f"{BELOW}/properties/<name>", body=True)
    async def show(self, call: Call, namespace: str, name: str) -> Answer:
        resource_type = first_value(parse_query(call.query), "resource_type")
        return Answer(document=property_view(await self._properties.get(call.context, namespace, name, resource_type)))

    @route("PUT", f"{BELOW}/properties/<name>", body=True)
    async def update(self, call: Call, namespace: str, name: str) -> Answer:
        item = await self._properties.update(call.context, namespace, name, await call.json())
        return Answer(document=property_view(item))

    @route("DELETE", f"{BELOW}/properties/<name>")
    async def delete(self, call: Call, namespace: str, name: str) -> Answer:
        await self._properties.delete(call.context, namespace, name)
        return Answer(status=204)


class MetadefTagsRoom:
    """Tags, one by one and many at once."""

    def __init__(self, tags: MetadefTags) -> None:
        self._tags = tags

    @route("GET", f"{BELOW}/tags", body=True)
    async def list(self, call: Call, namespace: str) -> Answer:
        tags = await self._tags.list(call.context, namespace, parse_tag_query(parse_query(call.query)))
        return Answer(document={"tags": [tag_name_view(tag) for tag in tags]})

    @route("POST", f"{BELOW}/tags", body=True)
    async def create_all(self, call: Call, namespace: str) -> Answer:
        append = (call.header("x-openstack-append") or "").strip().lower() in YES
        tags = await self._tags.create_all(call.context, namespace, await call.json(), append=append)
        return Answer(status=201, document={"tags": [tag_name_view(tag) for tag in tags]})

    @route("DELETE", f"{BELOW}/tags")
    async def clear(self, call: Call, namespace: str) -> Answer:
        await self._tags.clear(call.context, namespace)
        return Answer(status=204)

    @route("GET", f"{BELOW}/tags/<name>")
    async def show(self, call: Call, namespace: str, name: str) -> Answer:
        return Answer(document=tag_view(await self._tags.get(call.context, namespace, name)))

    @route("POST", f"{BELOW}/tags/<name>")
    async def create(self, call: Call, namespace: str, name: str) -> Answer:
        return Answer(status=201, document=tag_view(await self._tags.create(call.context, namespace, name)))

    @route("PUT", f"{BELOW}/tags/<name>", body=True)
    async def update(self, call: Call, namespace: str, name: str) -> Answer:
        tag = await self._tags.update(call.context, namespace, name, await call.json())
        return Answer(document=tag_view(tag))

    @route("DELETE", f"{BELOW}/tags/<name>")
    async def delete(self, call: Call, namespace: str, name: str) -> Answer:
        await self._tags.delete(call.context, namespace, name)
        return Answer(status=204)
