"""POST of a location: everything that can be checked is checked, then it is noted and begun (api.md, section 8)."""

from __future__ import annotations

import re
import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from attrs import field, frozen

from glancetx.access.policy import Policy
from glancetx.db.claims import Claims, Process
from glancetx.db.images import Images
from glancetx.db.imports import ImportRuns
from glancetx.db.telling import Transaction
from glancetx.domain.claim import LOCATION as ADDING
from glancetx.domain.claim import Claim
from glancetx.domain.context import RequestContext
from glancetx.domain.errors import Conflict, Forbidden, Invalid, UrlRefused
from glancetx.domain.image import Image
from glancetx.domain.importing import ImportPlan, ImportRun
from glancetx.domain.status import QUEUED
from glancetx.domain.task import LOCATION_IMPORT, Task
from glancetx.imports.runner import ImportRunner
from glancetx.notifications.events import Events
from glancetx.operations.tasks import new_task
from glancetx.runtime.failpoints import reach
from glancetx.runtime.undo import Shielded
from glancetx.stores.registry import Stores

LOCATION: Final = "location"
"""The method of the plan; no import, but run like one."""

SERVICE: Final = "service"
WEB: Final = re.compile(r"https?:", re.IGNORECASE)
SIZES: Final = {"md5": 16, "sha1": 20, "sha256": 32, "sha512": 64}
_USER: Final = re.compile(r"(?<=://)[^/?#]*@")


@frozen(kw_only=True)
class NewLocation:
    """What a client asks for: *url*, and the hash that it says the data has, by its algorithm, if it does."""

    url: str = field(repr=False)
    digests: Mapping[str, str] = field(factory=dict)

    def check(self) -> None:
        """:raises Invalid: if the hash is none of its algorithm."""
        for algorithm, value in self.digests.items():
            if not re.fullmatch(r"(?:[0-9a-fA-F]{2})*", value):
                raise Invalid(f"os_hash_value ({value}) is not a valid hexadecimal value")
            if len(value) != 2 * SIZES[algorithm]:
                raise Invalid(
                    f"os_hash_value: ({value}) is not the correct size for ({algorithm}) "
                    f"(should be ({SIZES[algorithm]}) bytes)"
                )

    @property
    def told(self) -> Mapping[str, Any]:
        """What the task tells of it: not the credentials that a URL may have."""
        hashes = [{"os_hash_algo": algorithm, "os_hash_value": value} for algorithm, value in self.digests.items()]
        return {"loc_url": _USER.sub("***@", self.url), "validation_data": hashes[0] if hashes else {}}


class Additions:
    """Accepts new locations. *admit* raises UrlRefused for a URL that is not fetched from."""

    def __init__(
        self,
        images: Images,
        runs: ImportRuns,
        claims: Claims,
        policy: Policy,
        stores: Stores,
        runner: ImportRunner,
        events: Events,
        process: Process,
        admit: Callable[[str], Awaitable[object]],
    ) -> None:
        self._images = images
        self._runs = runs
        self._claims = claims
        self._policy = policy
        self._stores = stores
        self._runner = runner
        self._events = events
        self._process = process
        self._admit = admit

    async def accept(self, context: RequestContext, image_id: str, wanted: NewLocation) -> None:
        """Begin to add a location; on return it is noted durably, and is ended whatever happens to this process.

        The checks come in Glance's order, so that of several mistakes the same one is told.

        :raises ImageNotFound, Forbidden, Conflict, Invalid: as A-190 lists them.
        """
        image = await self._images.get(context, image_id)
        if image.status != QUEUED:
            raise Conflict(f"It's not allowed to add locations if image status is {image.status}.")
        self._policy.check_image("add_image_location", context, image)
        if SERVICE not in context.roles | context.service_roles:
            self._check_is_web(wanted.url)
        wanted.check()
        if WEB.match(wanted.url):
            try:
                await self._admit(wanted.url)
            except UrlRefused as error:
                raise Invalid(f"URI for add location does not pass filtering: {wanted.url}") from error
        await self._begin(context, image, wanted)

    def _check_is_web(self, url: str) -> None:
        """Other stores are for services: whoever names a place there could name somebody else's data.

        :raises Forbidden: if it is no web server's.
        """
        web = any(self._stores.get(name).scheme == "http" for name in self._stores.identifiers)
        if not url.startswith("http") or not web:
            raise Forbidden("http store must be enabled to use location API by normal user.")

    async def _begin(self, context: RequestContext, image: Image, wanted: NewLocation) -> None:
        task = new_task(context, LOCATION_IMPORT, {"image_id": image.id, **wanted.told}, image.id)
        claim = Claim(
            id=uuid.uuid4().hex,
            kind=ADDING,
            image_id=image.id,
            store="",
            process=self._process.id,
            owner=image.owner,
        )
        plan = ImportPlan(
            method=LOCATION,
            stores=(),
            multiple=False,
            uri=wanted.url,
            digests={algorithm: value.lower() for algorithm, value in wanted.digests.items()},
        )
        run = ImportRun(task_id=task.id, image_id=image.id, claim=claim.id, host=self._process.host, plan=plan)
        # Once it is in the database, somebody has to work on it: a client that leaves now must not keep us from it.
        await Shielded(self._note_and_launch(task, run, claim))

    async def _note_and_launch(self, task: Task, run: ImportRun, claim: Claim) -> None:
        def tell(transaction: Transaction, _: Image) -> None:
            self._events.task_created(transaction, task)

        with self._claims.working_on(claim):
            await self._runs.begin(QUEUED, task, run, claim, lambda image: image, tell=tell)
            reach("location.begun")
            self._runner.launch(run, claim)
