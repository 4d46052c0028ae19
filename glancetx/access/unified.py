"""How much projects may have, by Keystone's unified limits: flat ones, registered and overridden (config.md, C-131)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import urlencode

from attrs import frozen
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from glancetx.config.settings import LimitSettings
from glancetx.domain.errors import IdentityUnavailable, LimitsUnavailable
from glancetx.domain.limits import MIB, Limits
from glancetx.interfaces import ILimits
from glancetx.keystone import Keystone
from glancetx.outgoing.answers import NoAnswer
from glancetx.runtime.sharing import SharedCall

UNAVAILABLE: Final = "How much the project may have cannot be found out now; try again"
MOST: Final = 10_000  # projects whose limits are remembered
NOTHING: Final = 0  # of what has no limit registered

_log = Logger()


@frozen
class _Kept:
    limits: Limits
    until: float


@frozen
class _Place:
    """Whose limits they are, as Keystone asks for it."""

    service_id: str
    region_id: str | None

    @property
    def query(self) -> dict[str, str]:
        region = {} if self.region_id is None else {"region_id": self.region_id}
        return {"service_id": self.service_id, **region}


@implementer(ILimits)
class UnifiedLimits:
    """Asks *keystone*, and remembers what it says of a project for ``limits_cache_time`` seconds.

    Requests of a project that come at the same time wait for one answer. What is not registered is limited to nothing;
    -1 is no limit.
    """

    def __init__(self, keystone: Keystone, settings: LimitSettings, clock: IReactorTime) -> None:
        self._keystone, self._settings, self._clock = keystone, settings, clock
        self._place: _Place | None = None
        self._kept: dict[str | None, _Kept] = {}
        self._calls: dict[str | None, SharedCall[Limits]] = {}

    async def limits_of(self, project_id: str | None) -> Limits:
        kept = self._kept.get(project_id)
        if kept is not None and self._clock.seconds() < kept.until:
            return kept.limits
        call = self._calls.get(project_id)
        if call is None or not call.running:
            call = SharedCall(self._fetch(project_id))
            if call.running:
                self._calls[project_id] = call
        return await call.result()

    async def _fetch(self, project_id: str | None) -> Limits:
        try:
            limits = await self._ask(project_id)
        except IdentityUnavailable as error:
            raise LimitsUnavailable(UNAVAILABLE) from error
        finally:
            self._calls.pop(project_id, None)
        if len(self._kept) >= MOST:
            self._kept.clear()
        self._kept[project_id] = _Kept(limits, self._clock.seconds() + self._settings.cache_time)
        return limits

    async def _ask(self, project_id: str | None) -> Limits:
        place = self._place = self._place or await self._find_place()
        found = _numbers(await self._list("registered_limits", place.query), "default_limit")
        if project_id is not None:
            own = await self._list("limits", place.query | {"project_id": project_id})
            found |= _numbers(own, "resource_limit")
        return _limits(found)

    async def _find_place(self) -> _Place:
        """:raises LimitsUnavailable: if Keystone does not know us, or counts otherwise."""
        model = await self._get("/limits/model")
        name = _part(_part(model, "model"), "name")
        if name != "flat":
            raise self._trouble(f"limits are enforced by the model {name}; only flat is supported")
        settings = self._settings
        if settings.endpoint_id is not None:
            endpoint = _part(await self._get(f"/endpoints/{settings.endpoint_id}"), "endpoint")
        else:
            asked = {"type": settings.service_type, "name": settings.service_name}
            service = self._only("service", await self._list("services", _known(asked)))
            wanted = {"service_id": service, "region_id": settings.region, "interface": settings.interface}
            endpoint = self._only("endpoint", await self._list("endpoints", _known(wanted)), whole=True)
        service_id = _part(endpoint, "service_id")
        if not isinstance(service_id, str):
            raise self._trouble("our endpoint has no service")
        return _Place(service_id, _part(endpoint, "region_id"))

    def _only(self, what: str, found: Iterable[Any], *, whole: bool = False) -> Any:
        entries = list(found)
        if len(entries) != 1:
            raise self._trouble(f"there are {len(entries)} that could be our {what}")
        return entries[0] if whole else _part(entries[0], "id")

    async def _list(self, kind: str, query: Mapping[str, str]) -> list[Any]:
        found = _part(await self._get(f"/{kind}?{urlencode(query)}"), kind)
        if not isinstance(found, list):
            raise self._trouble(f"an odd list of {kind}")
        return found

    async def _get(self, path: str) -> Any:
        reply = await self._keystone.request("GET", path)
        if reply.status != 200:
            raise self._trouble(f"status {reply.status} to {path.partition('?')[0]}")
        try:
            return reply.document()
        except NoAnswer as error:
            raise self._trouble(str(error)) from error

    def _trouble(self, reason: str) -> LimitsUnavailable:
        _log.error("Keystone does not tell the limits of projects: {reason}", reason=reason)
        self._place = None
        return LimitsUnavailable(UNAVAILABLE)


def _part(document: Any, name: str) -> Any:
    return document.get(name) if isinstance(document, dict) else None


def _known(values: Mapping[str, str | None]) -> dict[str, str]:
    return {name: value for name, value in values.items() if value is not None}


def _numbers(entries: Iterable[Any], column: str) -> dict[str, int]:
    """Numbers by the names of resources."""
    found = ((_part(entry, "resource_name"), _part(entry, column)) for entry in entries)
    return {name: number for name, number in found if isinstance(name, str) and isinstance(number, int)}


def _limits(found: Mapping[str, int]) -> Limits:
    def most(name: str, unit: int = 1) -> int | None:
        number = found.get(name, NOTHING)
        return None if number < 0 else number * unit

    return Limits(
        size_total=most("image_size_total", MIB),
        stage_total=most("image_stage_total", MIB),
        count_total=most("image_count_total"),
        count_uploading=most("image_count_uploading"),
        unified=True,
    )
