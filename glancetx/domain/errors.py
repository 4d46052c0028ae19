"""Every error a caller can cause or must know of. No HTTP here: `glancetx.web.errors` gives each its status.

The text of an error is shown to the client, so it never holds a secret, a path of the server or a stack.
"""

from __future__ import annotations


class ImageServiceError(Exception):
    """The root: everything that is raised on purpose derives from it."""


class NotAuthenticated(ImageServiceError):
    """Nobody we know: no credentials, or wrong ones."""

    def __init__(self, challenge: str, message: str = "The request you have made requires authentication.") -> None:
        super().__init__(message)
        self.challenge = challenge


class Forbidden(ImageServiceError):
    """Known, and not allowed."""


class AttributeForbidden(Forbidden):
    """The rules of images keep this attribute from the caller, whatever policy says."""


class ImageLocked(Forbidden):
    """The image is protected from deletion."""


class DefinitionProtected(Forbidden):
    """What is in a protected namespace is not deleted, nor is the namespace."""

    def __init__(self, kind: str, name: str) -> None:
        super().__init__(f"Metadata definition {kind} {name} is protected and cannot be deleted.")
        self.kind, self.name = kind, name


class NotFound(ImageServiceError):
    """There is no such thing, or the caller may not know that there is."""


class ImageNotFound(NotFound):
    def __init__(self, image_id: str, message: str = "No image found with ID {}") -> None:
        super().__init__(message.format(image_id))
        self.image_id = image_id


class TaskNotFound(NotFound):
    def __init__(self, task_id: str) -> None:
        super().__init__(f"Could not find task {task_id}")
        self.task_id = task_id


class MemberNotFound(NotFound):
    """The image is not shared with that project, as far as the caller may know."""

    def __init__(self, image_id: str, member_id: str) -> None:
        super().__init__(f"{member_id} not found in the member list of the image {image_id}.")
        self.image_id, self.member_id = image_id, member_id


class NamespaceNotFound(NotFound):
    """There is no such namespace of metadata definitions, for this caller. Glance says it in two ways."""

    def __init__(self, name: str, *, formal: bool = False) -> None:
        super().__init__(
            f"Metadata definition namespace={name} was not found." if formal else f"Namespace {name} not found"
        )
        self.name = name


class DefinitionNotFound(NotFound):
    """The namespace has no definition of that *kind* (object, property ...) and name."""

    def __init__(self, kind: str, name: str) -> None:
        super().__init__(f"Could not find {kind if kind == 'property' else f'metadata {kind}'} {name}")
        self.kind, self.name = kind, name


class AssociationNotFound(NotFound):
    """The namespace is not associated with that type of resource."""

    def __init__(self, resource_type: str) -> None:
        super().__init__(f"Failed to find resource type {resource_type} to delete")
        self.resource_type = resource_type


class NoData(NotFound):
    """The image exists and has no data yet."""


class ImageExists(ImageServiceError):
    """The id is taken, if only by an image long deleted."""

    def __init__(self, image_id: str) -> None:
        super().__init__(f"Image ID {image_id} already exists!")
        self.image_id = image_id


class Invalid(ImageServiceError):
    """The request cannot be understood or breaks a rule about its content."""


class UrlRefused(Invalid):
    """This URL is not fetched. The text never says what address a name has: it may be a secret of the inside."""


class InvalidTransition(ImageServiceError):
    """The status machine has no such step."""

    def __init__(self, current: str, wanted: str) -> None:
        super().__init__(f"Image status transition from {current} to {wanted} is not allowed")
        self.current, self.wanted = current, wanted


class StatusConflict(ImageServiceError):
    """A conditional save found another status than it expected: somebody else was faster."""

    def __init__(self, image_id: str, expected: str, found: str | None) -> None:
        super().__init__(f"The image {image_id} is {found or 'gone'} now, not {expected}")
        self.image_id, self.expected, self.found = image_id, expected, found


class Conflict(ImageServiceError):
    """What is asked for does not fit the present state."""


class AttributeConflict(Conflict):
    """An attribute is there and must not be, or the other way round."""


class ImageChanged(Conflict):
    """A save found another record than the one it began with: somebody else has changed the image meanwhile."""

    def __init__(self, image_id: str) -> None:
        super().__init__(f"The image {image_id} is being changed by others; try again")
        self.image_id = image_id


class MemberExists(Conflict):
    """The image is shared with that project already."""

    def __init__(self, image_id: str, member_id: str) -> None:
        super().__init__(f"Member {member_id} is duplicated for image {image_id}")
        self.image_id, self.member_id = image_id, member_id


class NamespaceExists(Conflict):
    """The name is taken, if only by a namespace that the caller does not see."""

    def __init__(self, name: str, *, renamed: bool = False) -> None:
        super().__init__(
            f"Invalid update. It would result in a duplicate metadata definition namespace with the same name of {name}"
            if renamed
            else f"The metadata definition namespace={name} already exists."
        )
        self.name = name


class DefinitionExists(Conflict):
    """The namespace has a definition of that *kind* and name already."""

    def __init__(self, kind: str, name: str, namespace: str) -> None:
        what = "metadata tag" if kind == "tag" else f"metadata definition {kind}"
        note = " (Please note that metadata tag names are case insensitive)." if kind == "tag" else ""
        super().__init__(f"A {what} with name={name} already exists in namespace={namespace}.{note}")
        self.kind, self.name, self.namespace = kind, name, namespace


class AssociationExists(Conflict):
    """The namespace is associated with that type of resource already."""

    def __init__(self, resource_type: str, namespace: str) -> None:
        super().__init__(
            f"The metadata definition resource-type association of resource-type={resource_type} "
            f"to namespace={namespace} already exists."
        )
        self.resource_type, self.namespace = resource_type, namespace


class ImportLost(Conflict):
    """The import is not ours any more: the image was deleted, or another process goes on with it."""

    def __init__(self, image_id: str) -> None:
        super().__init__(f"The import to image {image_id} was cancelled")
        self.image_id = image_id


class ImageGone(ImageServiceError):
    """The image was deleted while its data was on the way."""

    def __init__(self, image_id: str) -> None:
        super().__init__(f"Image {image_id} was deleted during the upload; the data was removed")
        self.image_id = image_id


class UnsupportedMediaType(ImageServiceError):
    """The request's content type, which is *given*, is not one this operation reads."""

    def __init__(self, message: str, given: str, accept_patch: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.given, self.accept_patch = given, accept_patch


class FormatMismatch(ImageServiceError):
    """The content is not of the declared disk format, or the format inspection found it unsafe."""


class LimitExceeded(ImageServiceError):
    """More than an option or a quota allows."""


class ImageTooLarge(LimitExceeded):
    """The image has more bytes than ``image_size_cap``."""

    def __init__(self) -> None:
        super().__init__("The provided image is too large.")


class StorageQuotaFull(LimitExceeded):
    """The project's images would be larger, all together, than ``user_storage_quota`` allows."""

    def __init__(self, size: int | None, remaining: int) -> None:
        super().__init__(f"The size of the data {size} will exceed the limit. {remaining} bytes remaining.")
        self.size, self.remaining = size, remaining


class ProjectOverLimit(LimitExceeded):
    """The project would have more than one of Keystone's unified limits allows. Sizes are MiB."""

    def __init__(self, project: str | None, resource: str, limit: int, usage: int, delta: int) -> None:
        super().__init__(
            "The request returned a 413 Request Entity Too Large. This generally means that rate limiting or a quota "
            f"threshold was breached.\n\nThe response body:\nProject {project} is over a limit for "
            f"[Resource {resource} is over limit of {limit} due to current usage {usage} and delta {delta}]"
        )
        self.project, self.resource = project, resource


class RangeNotSatisfiable(ImageServiceError):
    """No byte of the wanted range exists. *size* is the number of bytes of the whole."""

    def __init__(self, size: int) -> None:
        super().__init__("The requested range is outside of the image data")
        self.size = size


class SizeMismatch(Invalid):
    """Not as many bytes came as were announced."""

    def __init__(self, announced: int, received: int) -> None:
        what = "exceeds" if received > announced else "mismatch"
        super().__init__(f"Size {what}: expected {announced} bytes, got {received} bytes")
        self.announced, self.received = announced, received


class DigestMismatch(Invalid):
    """The data is not what its sender announced: its digest is another."""

    def __init__(self, algorithm: str, expected: str, found: str) -> None:
        super().__init__(f"The {algorithm} digest of the data is {found}, not {expected} as announced")
        self.algorithm, self.expected, self.found = algorithm, expected, found


class SignatureInvalid(Invalid):
    """The data is not what was signed, or there is nothing to verify that with."""

    def __init__(self, image_id: str, reason: str) -> None:
        super().__init__(f"Signature verification failed for image {image_id}: {reason}")
        self.image_id, self.reason = image_id, reason


class ConversionFailed(Invalid):
    """The image cannot be made one of another format."""


class CertificateRefused(Invalid):
    """There is no such certificate, or the caller may not read it."""


class CertificatesUnavailable(ImageServiceError):
    """Whoever keeps certificates does not answer; he may later."""

    def __init__(self) -> None:
        super().__init__("The certificate of the image's signature cannot be fetched now; try again")


class ClientVanished(ImageServiceError):
    """The other side closed its connection before it was served."""


class TooSlow(ImageServiceError):
    """The other side sent fewer bytes a second than the configured minimum."""


class DataCorrupt(ImageServiceError):
    """The data a store delivered is not that of the image; what came of it is not to be used."""


class SourceUnavailable(ImageServiceError):
    """Where data is to be fetched from does not give it."""


class BrokenOff(SourceUnavailable):
    """It gave some, and does not go on there; from the beginning it may."""


class StoreError(ImageServiceError):
    """A store could not do what it was asked. The message names no credential and no path."""


class DataNotFound(StoreError):
    """There is nothing at that location."""


class DataInUse(StoreError):
    """The store refuses to delete: somebody uses the data (a clone, a snapshot)."""


class StoreFull(StoreError):
    """No room is left."""


class StoreWriteDenied(StoreError):
    """The store may not be written: permissions, or a read-only file system."""


class StoreReadOnly(StoreError):
    """The store cannot be written by its nature or for want of configuration."""


class StoreUnavailable(StoreError):
    """The store does not answer; it may later."""


class RemovalUnknown(StoreUnavailable):
    """The store was asked to remove data and has not said what became of that: it is gone, or not, or goes later."""


class CacheLost(StoreUnavailable):
    """The cache cannot go on with a file: whoever reads it goes on from a store."""


class UnknownStore(StoreError):
    """No store of that name, or none that reads that location."""


class DatabaseUnavailable(ImageServiceError):
    """The database does not answer; it may later. Nothing was changed."""


class OutcomeUnknown(DatabaseUnavailable):
    """The database was lost while it committed a change: it may have been made, or not."""


class CoordinationUnavailable(ImageServiceError):
    """It cannot be found out now which process holds a lease; it may later."""


class LimitsUnavailable(ImageServiceError):
    """What a project may have cannot be found out; it may later."""


class IdentityUnavailable(ImageServiceError):
    """Keystone does not answer, or not as it should; it may later. Says nothing about the caller's credentials."""


class NodeUnavailable(ImageServiceError):
    """Another node of this service, which has what is needed, does not answer."""


class NodeRefused(ImageServiceError):
    """Another node of this service, which was asked for the caller, refuses; *status* is that of its answer."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class NotReady(ImageServiceError):
    """The service is starting or stopping; it may answer later."""


class TooBusy(NotReady):
    """More is asked at once than can be done; it may be done later."""


class ConfigurationError(Exception):
    """The service cannot start like this; the message tells the operator what to change."""
