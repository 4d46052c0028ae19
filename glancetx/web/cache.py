"""``/v2/cache``, and the paths it had before (api.md, section 10)."""

from __future__ import annotations

import json
from typing import Any

from glancetx.domain.cached import CacheEntry
from glancetx.operations.cache import OLD, CacheAccess
from glancetx.web.routing import Answer, Call, route


class CacheRoom:
    """What is cached and queued."""

    def __init__(self, cache: CacheAccess) -> None:
        self._cache = cache

    @route("GET", "/v2/cache")
    async def state(self, call: Call) -> Answer:
        state = await self._cache.state(call.context)
        return Answer(
            document={"cached_images": [entry_view(each) for each in state.cached], **queue_view(state.queued)}
        )

    @route("DELETE", "/v2/cache", body=True)
    async def clear(self, call: Call) -> Answer:
        await self._cache.clear(call.context, (call.header("x-image-cache-clear-target") or "").lower())
        return Answer(status=204)

    @route("PUT", "/v2/cache/<image_id>", body=True)
    async def queue(self, call: Call, image_id: str) -> Answer:
        await self._cache.queue(call.context, image_id)
        return Answer(status=202)

    @route("DELETE", "/v2/cache/<image_id>", body=True)
    async def remove(self, call: Call, image_id: str) -> Answer:
        await self._cache.remove(call.context, image_id)
        return Answer(status=204)

    @route("GET", "/v2/cache/nodes/<image_id>")
    async def nodes(self, call: Call, image_id: str) -> Answer:
        return Answer(document=list(await self._cache.nodes(call.context, image_id)))

    @route("POST", "/v2/cache/clean", body=True)
    async def clean(self, call: Call) -> Answer:
        await self._cache.clean(call.context)
        return Answer(status=200)

    @route("POST", "/v2/cache/prune", body=True)
    async def prune(self, call: Call) -> Answer:
        pruned = await self._cache.prune(call.context)
        return Answer(document={"total_files_pruned": pruned.files, "total_bytes_pruned": pruned.size})


class OldCacheRoom:
    """The paths of ``glance-cache-manage``."""

    def __init__(self, cache: CacheAccess) -> None:
        self._cache = cache

    @route("GET", "/v2/cached_images", body=True)
    async def cached(self, call: Call) -> Answer:
        state = await self._cache.state(call.context, OLD)
        return Answer(document={"cached_images": [entry_view(each) for each in state.cached]})

    @route("DELETE", "/v2/cached_images", body=True)
    async def clear_cached(self, call: Call) -> Answer:
        return Answer(document={"num_deleted": await self._cache.clear_cached(call.context)})

    @route("DELETE", "/v2/cached_images/<image_id>", body=True)
    async def remove_cached(self, call: Call, image_id: str) -> None:
        await self._cache.remove_cached(call.context, image_id)
        answer_null(call)

    @route("GET", "/v2/queued_images", body=True)
    async def queued(self, call: Call) -> Answer:
        return Answer(document=queue_view((await self._cache.state(call.context, OLD)).queued))

    @route("DELETE", "/v2/queued_images", body=True)
    async def clear_queued(self, call: Call) -> Answer:
        return Answer(document={"num_deleted": await self._cache.clear_queued(call.context)})

    @route("PUT", "/v2/queued_images/<image_id>", body=True)
    async def queue(self, call: Call, image_id: str) -> None:
        await self._cache.queue_any(call.context, image_id)
        answer_null(call)

    @route("DELETE", "/v2/queued_images/<image_id>", body=True)
    async def remove_queued(self, call: Call, image_id: str) -> None:
        await self._cache.remove_queued(call.context, image_id)
        answer_null(call)


def entry_view(entry: CacheEntry) -> dict[str, Any]:
    """One cached image; times are seconds since 1970."""
    times = {"last_accessed": entry.last_accessed, "last_modified": entry.last_modified}
    if entry.row is None:
        return {"image_id": entry.image_id, "hits": entry.hits, **times, "size": entry.size}
    named = {"id": entry.row, "image_id": entry.image_id}
    return {**named, **times, "size": entry.size, "hits": entry.hits, "checksum": entry.checksum}


def queue_view(queued: Any) -> dict[str, Any]:
    return {"queued_images": list(queued)}


def answer_null(call: Call) -> None:
    """The JSON document that says nothing."""
    body = json.dumps(None).encode()
    call.request.setHeader(b"Content-Type", b"application/json")
    call.request.setHeader(b"Content-Length", b"%d" % len(body))
    call.request.write(body)
