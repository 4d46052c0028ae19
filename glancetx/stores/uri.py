"""Location URIs as Glance writes them (stores.md); the strings in the database are never changed."""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType
from typing import Final
from urllib.parse import parse_qs, quote, unquote, urlencode

from attrs import field, frozen

from glancetx.domain.errors import DataNotFound, StoreUnavailable, UnknownStore

ALIASES: Final = MappingProxyType(
    {"filesystem": "file", "https": "http", "s3+http": "s3", "s3+https": "s3"}
    | {"swift+http": "swift", "swift+https": "swift", "swift+config": "swift"}
)
_FILE_PREFIXES: Final = ("file://", "filesystem://")


def scheme_of(url: str) -> str:
    """The scheme of the store that reads *url*. :raises UnknownStore: if it has none."""
    scheme, separator, _ = url.partition("://")
    if not separator or not scheme:
        raise UnknownStore("The location has no scheme")
    return ALIASES.get(scheme, scheme)


def file_url(path: Path) -> str:
    """The location of an absolute path; nothing is quoted, as in Glance."""
    return f"file://{path}"


def check_readable(url: str) -> None:
    """:raises StoreUnavailable: if this is no URL, but what another ``metadata_encryption_key`` has made of one."""
    if "://" not in url:
        raise StoreUnavailable("The location cannot be read: it was written with another metadata_encryption_key")


def file_path(url: str) -> Path:
    """The path of a file location.

    Any absolute path is taken, also outside of the present data directory: a database may know files from a directory
    used earlier, or from one of several; and only the service itself writes file locations. But a path that climbs up
    (``..``) never came from a store.

    :raises DataNotFound: if this is not such a location: nothing can be there.
    """
    prefix = next((prefix for prefix in _FILE_PREFIXES if url.startswith(prefix)), None)
    path = url[len(prefix) :] if prefix else ""
    if not path.startswith("/") or "\0" in path or ".." in path.split("/"):
        raise DataNotFound("The location is not that of a file")
    return Path(path)


@frozen
class ObjectPlace:
    """An object in a bucket or container. *service* is what stands before them: host, and perhaps a path."""

    scheme: str
    service: str
    container: str
    key: str
    credentials: str | None = field(default=None, repr=False)

    @property
    def foreign(self) -> bool:
        """Whether it is Swift's and names the storage of an account, and not who opens it (S-071)."""
        return self.scheme in ("swift", "swift+http", "swift+https") and self.credentials is None


def object_place(url: str) -> ObjectPlace:
    """Take an S3 or Swift location apart as glance_store does: the last two parts are container and object.

    Of credentials, which old versions wrote, the text before the last ``@`` of the host is kept as it is.

    :raises DataNotFound: if this is not such a location: nothing can be there.
    """
    scheme, _, rest = url.partition("://")
    parts = rest.split("?")[0].strip("/").split("/")
    if len(parts) < 3 or "://" in rest or not all(parts[-2:]):
        raise DataNotFound("The location is not that of an object")
    credentials, separator, service = "/".join(parts[:-2]).rpartition("@")
    return ObjectPlace(scheme, service, parts[-2], parts[-1], credentials if separator else None)


def s3_url(host: str, bucket: str, key: str) -> str:
    """The location of an object of S3: the endpoint is *host*, with a scheme or, for plain HTTP, without (S-060)."""
    scheme, separator, service = host.rpartition("://")
    return f"{'s3+https' if separator and scheme == 'https' else 's3'}://{service.strip('/')}/{bucket}/{key}"


def storage_url(storage: str, container: str, key: str) -> str:
    """The location of a Swift object in the account whose *storage* that is; who may open it stands nowhere (S-071)."""
    return f"swift+{storage}/{container}/{key}"


def swift_url(reference: str, container: str, key: str) -> str:
    """The location of a Swift object without credentials: *reference* names an account of the configuration."""
    return f"swift+config://{reference}/{container}/{key}"


@frozen
class RbdPlace:
    """An RBD image. *pool* None: the store's; *snapshot* None: the image as it is now (old locations)."""

    image: str
    pool: str | None = None
    snapshot: str | None = None


def rbd_place(url: str) -> RbdPlace:
    """Take ``rbd://FSID/POOL/IMAGE/SNAPSHOT`` or the old ``rbd://IMAGE`` apart; which cluster it is plays no part.

    :raises DataNotFound: if this is not such a location: nothing can be there.
    """
    parts = url.removeprefix("rbd://").split("/")
    if url.startswith("rbd://") and all(parts) and "\0" not in unquote(url):
        if len(parts) == 1:
            return RbdPlace(parts[0])
        if len(parts) == 4:
            _, pool, image, snapshot = map(unquote, parts)
            return RbdPlace(image, pool, snapshot)
    raise DataNotFound("The location is not that of an RBD image")


def rbd_prefix(fsid: str, pool: str) -> str:
    """What the locations of a pool begin with; of an unknown cluster only the scheme is known (S-055)."""
    return f"rbd://{quote(fsid, '')}/{quote(pool, '')}/" if fsid else "rbd://"


def rbd_url(fsid: str, pool: str, image: str, snapshot: str) -> str:
    """The location of a snapshot, as Glance, Nova and Cinder know it."""
    return f"{rbd_prefix(fsid, pool)}{quote(image, '')}/{quote(snapshot, '')}"


@frozen
class DatastorePlace:
    """A file of a datastore. A host without a vCenter has locations without a *datacenter*."""

    datacenter: str | None
    datastore: str
    path: str

    @property
    def name(self) -> str:
        """What vSphere calls it."""
        return f"[{self.datastore}] {self.path}"

    @property
    def query(self) -> str:
        return urlencode({"dsName": self.datastore} | ({"dcPath": self.datacenter} if self.datacenter else {}))

    @property
    def target(self) -> str:
        """Where it is on its server."""
        return f"/folder/{quote(self.path)}?{self.query}"

    def beside(self, ending: str) -> DatastorePlace:
        """The file whose name has this *ending* after ours."""
        return DatastorePlace(self.datacenter, self.datastore, self.path + ending)


def datastore_url(netloc: str, place: DatastorePlace) -> str:
    """The location of a file of a datastore, not quoted but for its query, as in Glance (S-100)."""
    return f"vsphere://{netloc}/folder/{place.path}?{place.query}"


def datastore_place(url: str) -> DatastorePlace:
    """Take such a location apart; its server is not looked at.

    :raises DataNotFound: if this is not such a location: nothing can be there.
    """
    scheme, _, rest = url.partition("://")
    path, _, query = rest.partition("/")[2].partition("?")
    found = parse_qs(query)
    folder, _, inner = path.partition("/")
    if scheme != "vsphere" or folder != "folder" or not inner or ".." in inner.split("/") or "dsName" not in found:
        raise DataNotFound("The location is not that of a file in a datastore")
    return DatastorePlace(found.get("dcPath", [None])[0], found["dsName"][0], inner)
