"""One login at a vCenter or ESX host: calls of its API, tasks that are waited for, and the cookie that opens its files.

The session ends when the server says so - by idleness, a restart, an administrator - and is then begun again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final
from xml.etree import ElementTree

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger

from glancetx.config.store_settings import VmwareSettings
from glancetx.domain.errors import StoreError, StoreUnavailable
from glancetx.outgoing.answers import NoAnswer
from glancetx.outgoing.client import Answer, HttpClient
from glancetx.outgoing.retries import PASSING, Retries
from glancetx.runtime.sharing import SharedCall
from glancetx.stores.vmware_soap import (
    EXPIRED,
    HEADERS,
    ROOT,
    Fault,
    NotSoap,
    Ref,
    Value,
    answer,
    fault_of,
    reference,
    request,
)

FIRST_LOOK: Final = 0.02  # seconds after which a task is looked at; each later pause is twice as long
PASSING_FAULTS: Final = ("TaskInProgress", "HostCommunication", "HostNotReachable", "Timedout", "TooManyConcurrent")

Send = Callable[["Entry"], Deferred[Answer]]


@frozen
class Entry:
    """A session: its cookie, and the objects by which the API is used."""

    cookie: str
    objects: Mapping[str, Ref]


class VmwareSession:
    """Calls to one server, as one user. Nothing is asked before the first call."""

    def __init__(self, settings: VmwareSettings, client: HttpClient, retries: Retries) -> None:
        self._settings, self._client, self._retries = settings, client, retries
        self.address = f"https://{settings.netloc}"
        self._entry: Entry | None = None
        self._logging_in: SharedCall[Entry] | None = None
        self._log = Logger()

    async def enter(self) -> Entry:
        """A session that was not refused yet. :raises StoreUnavailable: if there is none."""
        if self._entry is None:
            if self._logging_in is None or not self._logging_in.running:
                self._logging_in = SharedCall(self._log_in())
            return await self._logging_in.result()
        return self._entry

    def forget(self, entry: Entry) -> None:
        """The server does not know it any more."""
        if self._entry is entry:
            self._entry = None

    async def close(self) -> None:
        """Log out, so that the server need not keep the session until it is idle for long enough."""
        entry, self._entry = self._entry, None
        if entry is None:
            return
        try:
            await self._post(entry.cookie, "Logout", entry.objects["sessionManager"], {})
        except (NoAnswer, NotSoap, Fault) as error:
            self._log.info("vCenter: no logout ({error})", error=error)

    async def call(
        self, method: str, this: str | Ref, /, **arguments: Value | list[Value] | None
    ) -> ElementTree.Element:
        """What a method returned. *this* is an object, or the name of one that every session has.

        Passing faults are tried again; a session that has ended is replaced, once.

        :raises Fault: what the server refuses with. :raises StoreUnavailable: if it does not answer.
        """
        tried, renewed = 0, False
        while True:
            entry = await self.enter()
            try:
                return await self._post(entry.cookie, method, self._object(entry, this), arguments)
            except Fault as fault:
                if fault.name == EXPIRED and not renewed:
                    renewed = True
                    self.forget(entry)
                    continue
                if fault.name not in PASSING_FAULTS:
                    raise
                failure = StoreUnavailable(f"vCenter: {fault.name}")
            except (NoAnswer, NotSoap) as error:
                failure = StoreUnavailable(f"vCenter: {error}")
                failure.__cause__ = error
            tried += 1
            if not await self._retries.pause(tried):
                raise failure

    async def task(
        self, method: str, this: str | Ref, /, **arguments: Value | list[Value] | None
    ) -> ElementTree.Element | None:
        """Begin a task and wait for its end; what it found, if anything. Cancelling leaves the task to itself.

        :raises Fault: what it failed with. :raises StoreUnavailable: if the server does not answer.
        """
        task = reference((await self.call(method, this, **arguments)).find("returnval"))
        if task is None:
            raise StoreUnavailable("vCenter: a task without a name")
        pause = FIRST_LOOK
        while True:
            info = (await self.properties([task], "info")).get(task, {}).get("info")
            state = "error" if info is None else info.findtext("state")
            if info is not None and state == "success":
                return info.find("result")
            if state == "error":
                error = None if info is None else info.find("error")
                raise Fault("UnknownFault") if error is None else fault_of(error)
            await deferLater(self._retries.clock, pause)
            pause = min(self._settings.poll_interval, pause * 2)

    async def properties(self, objects: list[Ref], *names: str) -> dict[Ref, dict[str, ElementTree.Element]]:
        """Properties of some objects of one kind. :raises: as `call`."""
        if not objects:
            return {}
        spec: Value = {
            "propSet": [{"type": objects[0].kind, "pathSet": list(names)}],
            "objectSet": [{"obj": each} for each in objects],
        }
        found = await self.call("RetrieveProperties", "propertyCollector", specSet=spec)
        result: dict[Ref, dict[str, ElementTree.Element]] = {}
        for each in found.findall("returnval"):
            owner = reference(each.find("obj"))
            if owner is not None:
                sets = {one.findtext("name") or "": one.find("val") for one in each.findall("propSet")}
                result[owner] = {name: value for name, value in sets.items() if value is not None}
        return result

    async def ask(
        self, method: str, url: str, headers: Mapping[str, str], body: list[bytes] | None = None, whole: bool = True
    ) -> Answer:
        """The answer to a request to the server's files, whatever its status; passing faults are tried again.

        Unless *whole* is false the content was read. :raises StoreUnavailable: if there is no answer.
        """
        tried, renewed = 0, False
        while True:
            entry = await self.enter()
            wish: str | None = None
            try:
                found = await self._client.request(method, url, {"Cookie": entry.cookie, **headers}, body)
                if whole or found.status >= 300:
                    await found.read()
            except NoAnswer as error:
                failure = StoreUnavailable(f"vCenter: {error}")
                failure.__cause__ = error
            else:
                if found.status == 401 and not renewed:
                    renewed = True
                    self.forget(entry)
                    continue
                if found.status not in PASSING:
                    return found
                wish, failure = found.header("Retry-After"), StoreUnavailable(f"vCenter answers {found.status}")
            tried += 1
            if not await self._retries.pause(tried, wish):
                raise failure

    async def _log_in(self) -> Entry:
        settings, tried = self._settings, 0
        while True:
            failure: StoreError
            try:
                found, _ = await self._exchange("", "RetrieveServiceContent", ROOT, {})
                objects = {each.tag: ref for each in found.iterfind("returnval/*") if (ref := reference(each))}
                names = {"userName": settings.username, "password": settings.password}
                _, head = await self._exchange("", "Login", objects["sessionManager"], names)
            except Fault as fault:
                raise StoreUnavailable(f"vCenter refuses our login: {fault.name}") from None
            except (NoAnswer, NotSoap, KeyError) as error:
                failure = StoreUnavailable(f"vCenter: {error}")
                failure.__cause__ = error
            else:
                cookie = (head.header("Set-Cookie") or "").partition(";")[0]
                self._entry = Entry(cookie, objects)
                return self._entry
            tried += 1
            if not await self._retries.pause(tried):
                raise failure

    @staticmethod
    def _object(entry: Entry, this: str | Ref) -> Ref:
        if isinstance(this, Ref):
            return this
        if this not in entry.objects:
            raise StoreUnavailable(f"vCenter has no {this}")
        return entry.objects[this]

    async def _post(
        self, cookie: str, method: str, this: Ref, arguments: Mapping[str, Value | list[Value] | None]
    ) -> ElementTree.Element:
        return (await self._exchange(cookie, method, this, arguments))[0]

    async def _exchange(
        self, cookie: str, method: str, this: Ref, arguments: Mapping[str, Value | list[Value] | None]
    ) -> tuple[ElementTree.Element, Answer]:
        """One call, once. An error is an answer, too: SOAP gives it the status 500."""
        headers = {**HEADERS, **({"Cookie": cookie} if cookie else {})}
        found = await self._client.request("POST", f"{self.address}/sdk", headers, [request(method, this, arguments)])
        await found.read()
        if found.status not in (200, 500):
            raise NotSoap(f"an answer with status {found.status}")
        return answer(found.content), found
