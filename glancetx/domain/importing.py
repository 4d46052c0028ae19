"""What an import is asked for, and how far it is: plain values (api.md, section 4; processes.md, sections 1 to 3)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from attrs import asdict, evolve, field, frozen

from glancetx.domain.image import Image

GLANCE_DIRECT: Final = "glance-direct"
WEB_DOWNLOAD: Final = "web-download"
COPY_IMAGE: Final = "copy-image"
GLANCE_DOWNLOAD: Final = "glance-download"
METHODS: Final = (GLANCE_DIRECT, WEB_DOWNLOAD, COPY_IMAGE, GLANCE_DOWNLOAD)
AVAILABLE: Final = METHODS

IMPORTING_TO: Final = "os_glance_importing_to_stores"
FAILED: Final = "os_glance_failed_import"
STAGE_HOST: Final = "os_glance_stage_host"
LOCK: Final = "os_glance_import_task"

MOST_ATTEMPTS: Final = 5
"""How often an import is begun; one that ends its process each time must not do so for ever."""


STAGED_BY_CLIENT: Final = "The staged data is not there any more."


@frozen(kw_only=True)
class ImportRequest:
    """What a client asks for; *document* is its JSON, to be kept in the task."""

    method: str
    document: Mapping[str, Any]
    stores: tuple[str, ...] | None = None
    all_stores: bool = False
    must_succeed: bool = True
    store_header: str | None = None
    uri: str | None = None
    digests: Mapping[str, str] = field(factory=dict)
    glance_region: str | None = None
    glance_image_id: str | None = None
    glance_service_interface: str = "public"


@frozen(kw_only=True)
class ImportPlan:
    """What is to be done; kept in the database, so that another process can go on. No secret is in it.

    *digests* are those which the data must have as it comes, in hex by hashlib's name of the algorithm.
    *stores* are the identifiers of those that are to hold the data; *multiple* tells whether clients know them. *roles*
    are those of who asked for it. *certificate* verifies the image's signature, if it has one (bytes, as Latin-1).
    """

    method: str
    stores: tuple[str, ...]
    multiple: bool
    must_succeed: bool = True
    uri: str | None = None
    digests: Mapping[str, str] = field(factory=dict)
    roles: tuple[str, ...] = ()
    region: str | None = None
    remote_id: str | None = None
    interface: str | None = None
    certificate_id: str | None = None
    certificate: str = field(default="", repr=False)

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> ImportPlan:
        values = json.loads(text)
        lists: dict[str, Any] = {name: tuple(each) for name, each in values.items() if isinstance(each, list)}
        return cls(**values | lists)

    @property
    def shown_stores(self) -> tuple[str, ...]:
        """The stores as the image's bookkeeping names them: not at all if there is only one."""
        return self.stores if self.multiple else ()


@frozen(kw_only=True)
class ImportRun:
    """One import on its way: the claim with the id *claim* says who works on it; it was begun *attempts* times before.

    *step* is the last step that has ended, "" before the first. The data lies on *host* in the staging directory, as
    the file *staged*; None: not yet, or it is read where it comes from.
    """

    task_id: str
    image_id: str
    claim: str
    host: str
    plan: ImportPlan
    attempts: int = 0
    step: str = ""
    staged: str | None = None


def begun(image: Image, plan: ImportPlan) -> Image:
    """*image* as it is when the import begins (P-003)."""
    image = _listed(image, IMPORTING_TO, add=plan.shown_stores)
    image = _listed(image, FAILED, remove=plan.shown_stores)
    rest = {name: value for name, value in image.properties.items() if name != STAGE_HOST}
    image = evolve(image, properties=rest)
    return image if plan.method == COPY_IMAGE else image.to("importing")


def ended(image: Image, plan: ImportPlan, failed: Iterable[str] = ()) -> Image:
    """*image* with no store left to import to, and those named that *failed*."""
    image = _listed(image, IMPORTING_TO, remove=plan.shown_stores)
    return _listed(image, FAILED, add=[name for name in failed if name in plan.shown_stores])


def stores_of(image: Image, name: str) -> tuple[str, ...]:
    """The stores in one of the bookkeeping properties."""
    return tuple(each for each in (image.properties.get(name) or "").split(",") if each)


def _listed(image: Image, name: str, *, add: Iterable[str] = (), remove: Iterable[str] = ()) -> Image:
    """Lists are sorted, and stay when they are empty, as Glance keeps them."""
    left = (set(stores_of(image, name)) | set(add)) - set(remove)
    return evolve(image, properties={**image.properties, name: ",".join(sorted(left))})
