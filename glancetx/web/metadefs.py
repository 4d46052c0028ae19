"""``/v2/metadefs/namespaces`` and ``/v2/metadefs/resource_types`` (api.md, A-230..A-239)."""

from __future__ import annotations

from urllib.parse import quote

from glancetx.config.settings import ImagesSettings
from glancetx.domain.errors import NotFound
from glancetx.operations.metadef_items import MetadefTypes
from glancetx.operations.metadef_schemas import MetadefSchemas
from glancetx.operations.metadefs import Metadefs
from glancetx.web.metadef_query import first_value, parse_namespace_query
from glancetx.web.metadef_views import association_view, namespace_view, page_links, resource_type_view
from glancetx.web.query import parse_query
from glancetx.web.routing import Answer, Call, route


class NamespacesRoom:
    """Reads requests about namespaces, calls `Metadefs`, shows what it says."""

    def __init__(self, metadefs: Metadefs, settings: ImagesSettings) -> None:
        self._metadefs = metadefs
        self._settings = settings

    @route("GET", "/v2/metadefs/namespaces", body=True)
    async def list(self, call: Call) -> Answer:
        pairs = parse_query(call.query)
        page, last = await self._metadefs.list(call.context, parse_namespace_query(pairs, self._settings))
        views = [namespace_view(*each) for each in page]
        return Answer(document={"namespaces": views} | page_links(pairs, last))

    @route("POST", "/v2/metadefs/namespaces", body=True)
    async def create(self, call: Call) -> Answer:
        namespace, contents = await self._metadefs.create(call.context, await call.json())
        view = namespace_view(namespace, contents, new=True)
        location = call.absolute(quote(view["self"], safe="/:%"))
        return Answer(status=201, document=view, headers=(("Location", location),))

    @route("GET", "/v2/metadefs/namespaces/<namespace>")
    async def show(self, call: Call, namespace: str) -> Answer:
        resource_type = first_value(parse_query(call.query), "resource_type")
        return Answer(document=namespace_view(*await self._metadefs.show(call.context, namespace, resource_type)))

    @route("PUT", "/v2/metadefs/namespaces/<namespace>", body=True)
    async def update(self, call: Call, namespace: str) -> Answer:
        return Answer(document=namespace_view(await self._metadefs.update(call.context, namespace, await call.json())))

    @route("DELETE", "/v2/metadefs/namespaces/<namespace>")
    async def delete(self, call: Call, namespace: str) -> Answer:
        await self._metadefs.delete(call.context, namespace)
        return Answer(status=204)


class ResourceTypesRoom:
    """Types of resources, and with which of them a namespace is associated."""

    def __init__(self, types: MetadefTypes) -> None:
        self._types = types

    @route("GET", "/v2/metadefs/resource_types")
    async def list(self, call: Call) -> Answer:
        types = await self._types.list(call.context)
        return Answer(document={"resource_types": [resource_type_view(each) for each in types]})

    @route("GET", "/v2/metadefs/namespaces/<namespace>/resource_types")
    async def of(self, call: Call, namespace: str) -> Answer:
        associations = await self._types.of(call.context, namespace)
        return Answer(document={"resource_type_associations": [association_view(each) for each in associations]})

    @route("POST", "/v2/metadefs/namespaces/<namespace>/resource_types", body=True)
    async def associate(self, call: Call, namespace: str) -> Answer:
        association = await self._types.associate(call.context, namespace, await call.json())
        return Answer(status=201, document=association_view(association))

    @route("DELETE", "/v2/metadefs/namespaces/<namespace>/resource_types/<name>")
    async def dissociate(self, call: Call, namespace: str, name: str) -> Answer:
        await self._types.dissociate(call.context, namespace, name)
        return Answer(status=204)


class MetadefSchemasRoom:
    """``/v2/schemas/metadefs`` (A-206)."""

    def __init__(self, schemas: MetadefSchemas) -> None:
        self._documents = schemas.documents

    @route("GET", "/v2/schemas/metadefs/<name>")
    async def show(self, call: Call, name: str) -> Answer:
        if name not in self._documents:
            raise NotFound("The resource could not be found.")
        return Answer(document=self._documents[name])
