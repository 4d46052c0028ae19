"""POST of an import: everything that can be checked is checked, then it is noted and begun (api.md, section 4)."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Collection, Sequence

from attrs import evolve

from glancetx.access.policy import Policy
from glancetx.config.settings import ImportSettings
from glancetx.db.claims import Claims, Process
from glancetx.db.images import Images
from glancetx.db.imports import ImportRuns
from glancetx.db.telling import Transaction
from glancetx.domain.claim import IMPORT, Claim
from glancetx.domain.context import RequestContext, service_context
from glancetx.domain.errors import Conflict, Invalid, UrlRefused
from glancetx.domain.image import Image
from glancetx.domain.importing import (
    COPY_IMAGE,
    GLANCE_DIRECT,
    GLANCE_DOWNLOAD,
    WEB_DOWNLOAD,
    ImportPlan,
    ImportRequest,
    ImportRun,
    begun,
)
from glancetx.domain.limits import Limits
from glancetx.domain.status import ACTIVE, QUEUED, UPLOADING
from glancetx.domain.task import API_IMAGE_IMPORT, Task
from glancetx.imports.runner import ImportRunner
from glancetx.interfaces import ILimits
from glancetx.notifications.events import Events
from glancetx.operations.tasks import new_task
from glancetx.runtime.failpoints import reach
from glancetx.runtime.undo import Shielded
from glancetx.stores.registry import Stores
from glancetx.transfer.nodes import Nodes
from glancetx.transfer.signature import Signatures


class Imports:
    """Accepts imports. *multiple*: whether clients know of stores (``enabled_backends``)."""

    def __init__(
        self,
        images: Images,
        runs: ImportRuns,
        claims: Claims,
        policy: Policy,
        limits: ILimits,
        stores: Stores,
        runner: ImportRunner,
        events: Events,
        signatures: Signatures,
        settings: ImportSettings,
        process: Process,
        check_url: Callable[[str], Awaitable[None]],
        nodes: Nodes,
        *,
        multiple: bool,
    ) -> None:
        self._images = images
        self._runs = runs
        self._claims = claims
        self._policy = policy
        self._limits = limits
        self._stores = stores
        self._runner = runner
        self._events = events
        self._signatures = signatures
        self._process = process
        self._check_url = check_url
        self._nodes = nodes
        self._multiple = multiple
        self.methods: Sequence[str] = settings.methods

    async def accept(self, context: RequestContext, image_id: str, request: ImportRequest) -> str | None:
        """Begin an import; on return it is noted durably, and is ended whatever happens to this process.

        The checks come in Glance's order, so that of several mistakes the same one is told.

        Copies that are everywhere already are done. If the data is staged on another node, that one is asked to do it;
        returned is then the id of the request there.

        :raises ImageNotFound, Forbidden, Conflict, Invalid, LimitExceeded: as A-130 to A-141 list them.
        :raises NodeUnavailable, NodeRefused: if that node does not (A-142).
        :raises SignatureInvalid, CertificatesUnavailable: if nothing could be verified.
        """
        if request.method not in self.methods:
            raise Invalid(f"Unknown import method name '{request.method}'.")
        image = await self._images.get(context, image_id)
        check_status(image, request.method)
        for name in ("container_format", "disk_format"):
            if getattr(image, name) is None:
                raise Conflict(f"'{name}' needs to be set before import")
        if request.method == GLANCE_DOWNLOAD:
            check_remote(request)
        copying = request.method == COPY_IMAGE
        self._policy.check_image("copy_image" if copying else "modify_image", context, image)
        stores = self._choose_stores(request)
        if copying and not (stores := stores_without(self._stores_of(image), request, stores)):
            return None
        if not request.must_succeed and not self._multiple:
            raise Invalid(f"All_stores_must_succeed can only be set with enabled_backends {request.uri}")
        if request.method == GLANCE_DIRECT and (node := await self._nodes.holder(image)):
            path = f"/v2/images/{image.id}/import"
            return await self._nodes.ask(node, context, "POST", path, dict(request.document))
        if request.method == WEB_DOWNLOAD:
            await self._check_uri(request.uri)
        plan = ImportPlan(
            method=request.method,
            stores=stores,
            multiple=self._multiple,
            must_succeed=request.must_succeed,
            uri=request.uri,
            region=request.glance_region,
            remote_id=request.glance_image_id,
            interface=request.glance_service_interface,
            digests=request.digests,
            roles=tuple(sorted(context.roles)),
        )
        await self._begin(context, image, request, await self._with_certificate(context, image, plan))
        return None

    async def copy(self, image: Image, stores: Sequence[str]) -> None:
        """Begin to copy an active image to *stores*, for the service itself: as `accept`, without asking who may.

        :raises ImageNotFound, Conflict, LimitExceeded: if the image is not what it was, or there is no room for it.
        """
        request = ImportRequest(
            method=COPY_IMAGE,
            document={"method": {"name": COPY_IMAGE}, "stores": list(stores)},
            stores=tuple(stores),
            must_succeed=False,
        )
        check_status(image, COPY_IMAGE)
        plan = ImportPlan(method=COPY_IMAGE, stores=tuple(stores), multiple=self._multiple, must_succeed=False)
        await self._begin(service_context(), image, request, plan)

    def _stores_of(self, image: Image) -> list[str | None]:
        """Which stores have it. Where clients know of none, locations do not name theirs."""
        if not self._multiple:
            return [self._stores.name_of(each) for each in image.locations]
        return [self._stores.named(each).store for each in image.locations]

    async def _with_certificate(self, context: RequestContext, image: Image, plan: ImportPlan) -> ImportPlan:
        """Whoever works on the import later may not read the certificate: only who asks for it may."""
        found = None if plan.method == COPY_IMAGE else await self._signatures.certificate(context, image)
        return plan if found is None else evolve(plan, certificate_id=found[0], certificate=found[1].decode("latin-1"))

    async def _check_uri(self, uri: str | None) -> None:
        """:raises Invalid: if it may not be fetched (A-136)."""
        try:
            await self._check_url(uri or "")
        except UrlRefused as error:
            raise Invalid(f"URI for web-download does not pass filtering: {uri}") from error

    def _choose_stores(self, request: ImportRequest) -> tuple[str, ...]:
        """:raises Invalid: if the choices contradict (A-131). :raises Conflict: if there is no such store (A-133)."""
        default = (self._stores.default.identifier,)
        if not self._multiple:
            return default
        if request.all_stores and (request.stores is not None or request.store_header is not None):
            raise Invalid("All_stores parameter can't be used with x-image-meta-store header or stores parameter")
        if request.stores is not None and request.store_header is not None:
            raise Invalid("Stores parameter and x-image-meta-store header can't be both specified")
        if request.all_stores:
            return tuple(name for name in self._stores.identifiers if not self._stores.get(name).read_only)
        named = request.stores if request.store_header is None else (request.store_header,)
        for name in named or ():
            if name not in self._stores.identifiers:
                raise Conflict(f"Store for identifier {name} not found")
        return tuple(dict.fromkeys(named or default))

    async def _begin(self, context: RequestContext, image: Image, request: ImportRequest, plan: ImportPlan) -> None:
        given = {"image_id": image.id, "import_req": dict(request.document), "backend": list(plan.stores)}
        task = new_task(context, API_IMAGE_IMPORT, given, image.id)
        staged = image.id if plan.method == GLANCE_DIRECT else None
        claim = Claim(
            id=uuid.uuid4().hex,
            kind=IMPORT,
            image_id=image.id,
            store="",
            process=self._process.id,
            owner=image.owner,
            reserved=(image.size or 0) * len(plan.stores),
        )
        run = ImportRun(
            task_id=task.id, image_id=image.id, claim=claim.id, host=self._process.host, plan=plan, staged=staged
        )
        limits = await self._limits.limits_of(image.owner)
        # Once it is in the database, somebody has to work on it: a client that leaves now must not keep us from it.
        await Shielded(self._note_and_launch(context, image.status, task, run, claim, limits))

    async def _note_and_launch(
        self, context: RequestContext, was: str, task: Task, run: ImportRun, claim: Claim, limits: Limits
    ) -> None:
        def tell(transaction: Transaction, image: Image) -> None:
            self._events.task_created(transaction, task)
            self._events.image_updated(transaction, image)

        with self._claims.working_on(claim):
            await self._runs.begin(was, task, run, claim, lambda each: begun(each, run.plan), limits, tell)
            reach("import.begun")
            self._runner.launch(run, claim, context.token)


def check_status(image: Image, method: str) -> None:
    """:raises Conflict: if an image in its status cannot be imported to by this method (A-134).

    While it is being staged it has no size.
    """
    if method == COPY_IMAGE:
        if image.status != ACTIVE:
            raise Conflict("Only images with status active can be targeted for copying")
        return
    if image.status == ACTIVE:
        raise Conflict("Image with status active cannot be target for import")
    if method in (WEB_DOWNLOAD, GLANCE_DOWNLOAD) and image.status != QUEUED:
        raise Conflict(f"Image needs to be in 'queued' state to use '{method}' method")
    if method == GLANCE_DIRECT and (image.status != UPLOADING or image.size is None):
        raise Conflict("Image needs to be staged before 'glance-direct' method can be used")


def stores_without(having: Collection[str | None], request: ImportRequest, stores: tuple[str, ...]) -> tuple[str, ...]:
    """Those of *stores* that an image is to be copied to which those of *having* have (A-138).

    :raises Invalid: if one that was named has it already.
    """
    if not request.all_stores:
        for name in stores:
            if name in having:
                raise Invalid(f"Image is already present at store '{name}'")
    return tuple(name for name in stores if name not in having)


def check_remote(request: ImportRequest) -> None:
    """:raises Invalid: if it is not told which image of which region (A-137)."""
    for name in ("glance_region", "glance_image_id"):
        if getattr(request, name) is None:
            raise Invalid(f"'{name}' needs to be set for glance-download import method")
    try:
        uuid.UUID(request.glance_image_id)
    except ValueError as error:
        raise Invalid(f"Remote image id does not look like a UUID: {request.glance_image_id}") from error
