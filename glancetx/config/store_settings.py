"""The settings of stores, one frozen class for each kind; sizes are bytes. The options: `config.store_options`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from attrs import field, frozen

MIB = 1024 * 1024
GLANCE_DATADIR = "/var/lib/glance/images"


@frozen(kw_only=True)
class FilesystemSettings:
    """One file store (stores.md, section 2). *datadirs*: several directories with their priorities, if not one."""

    identifier: str = "file"
    datadir: Path = Path(GLANCE_DATADIR)
    datadirs: tuple[tuple[Path, int], ...] = ()
    metadata_file: Path | None = None  # what locations tell about mount points
    marker: str | None = None  # a name that is to be found in each directory when it is mounted
    file_perm: int = 0
    chunk_size: int = 65536  # bytes of a hole; else how files are read and written does not depend on it
    thin: bool = False  # chunks of zeros become holes
    timeout: int = 0  # seconds to find, open or delete a file; 0: no limit, and no threads of its own
    lookups: int = 10  # threads that do these with a limit
    threshold: int = 75  # percent of them that are busy without a warning
    description: str | None = None
    weight: int = 0


@frozen(kw_only=True)
class HttpStoreSettings:
    """The read-only store of ``http`` and ``https`` locations (stores.md, section 3)."""

    identifier: str = "http"
    cafile: Path | None = None
    insecure: bool = True
    proxies: Mapping[str, str] = field(factory=dict)
    description: str | None = None
    weight: int = 0


@frozen(kw_only=True)
class S3Settings:
    """One bucket (stores.md, section 5). *host* may begin with a scheme; *checksums*: the server keeps them."""

    identifier: str = "s3"
    host: str
    bucket: str
    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    region: str = ""
    create_bucket: bool = False
    url_format: str = "auto"
    large_object_size: int = 100 * MIB
    part_size: int = 10 * MIB
    most_parts: int = 10
    cafile: Path | None = None
    checksums: bool = False
    description: str | None = None
    weight: int = 0


@frozen(kw_only=True)
class SwiftAccount:
    """Who we are at a Swift, and where that is told: Keystone (*version* 3) or an own authentication (1).

    *user* is ``project:user``, with version 1 ``account:user``.
    """

    auth_address: str
    version: str = "3"
    user: str | None = None
    key: str | None = field(default=None, repr=False)
    application_credential_id: str | None = None
    application_credential_secret: str | None = field(default=None, repr=False)
    user_domain_id: str | None = None
    user_domain_name: str | None = None
    project_domain_id: str | None = None
    project_domain_name: str | None = None


@frozen(kw_only=True)
class SwiftSettings:
    """Containers of Swift (stores.md, section 6). *reference* names the one of *accounts* that new images go to."""

    identifier: str = "swift"
    accounts: Mapping[str, SwiftAccount]
    reference: str = "ref1"
    container: str = "glance"
    seed: int = 0
    create_container: bool = False
    large_object_size: int = 5120 * 1000 * 1024
    segment_size: int = 200 * 1000 * 1024
    endpoint: str | None = None
    region: str | None = None
    interface: str = "public"
    service_type: str = "object-store"
    least_life: float = 60.0  # seconds a token must be valid yet
    retries: int = 0  # least number of times that a download is resumed
    spool: Path | None = None  # folder of segments on their way; None: they are not kept
    multi_tenant: bool = False  # each image in the account of its owner
    admin_tenants: tuple[str, ...] = ()  # projects that may write to these
    cafile: Path | None = None
    insecure: bool = False
    description: str | None = None
    weight: int = 0


@frozen(kw_only=True)
class RbdSettings:
    """One pool of a Ceph cluster (stores.md, section 4). *timeout*: seconds; below 0: what Ceph's own options say."""

    identifier: str = "rbd"
    pool: str = "images"
    user: str | None = None  # without "client."; None: Ceph's own default
    ceph_conf: Path | None = None  # None: where Ceph looks by itself
    chunk_size: int = 8 * MIB
    timeout: int = -1
    thin: bool = False  # chunks of zeros are not written
    description: str | None = None
    weight: int = 0


@frozen(kw_only=True)
class VmwareDatastore:
    """One place for new images: a datastore, and the path of its datacenter in the inventory."""

    datacenter: str
    name: str
    weight: int = 0


@frozen(kw_only=True)
class VmwareSettings:
    """A folder in datastores of VMware (stores.md, section 8). *fingerprint*: SHA-256 of the certificate, in hex."""

    identifier: str = "vmware"
    host: str
    username: str
    password: str = field(repr=False)
    datastores: tuple[VmwareDatastore, ...]
    retries: int = 10
    poll_interval: float = 5.0  # seconds, the longest pause between two looks at a task
    image_dir: str = "/openstack_glance"
    cafile: Path | None = None
    insecure: bool = False
    fingerprint: str | None = None
    description: str | None = None
    weight: int = 0

    @property
    def folder(self) -> str:
        return self.image_dir.strip("/")

    @property
    def netloc(self) -> str:
        """The host as it stands in URLs."""
        return f"[{self.host}]" if self.host.count(":") > 1 and not self.host.startswith("[") else self.host


OtherSettings = HttpStoreSettings | RbdSettings | S3Settings | SwiftSettings | VmwareSettings


@frozen(kw_only=True)
class StoresSettings:
    """*multiple*: whether ``enabled_backends`` names the stores, so that locations carry the store's id.

    *reserved*: the file stores of the service itself, which no user sees (S-002).
    """

    multiple: bool = False
    default: str = "file"
    filesystems: tuple[FilesystemSettings, ...] = (FilesystemSettings(),)
    others: tuple[OtherSettings, ...] = ()
    order: tuple[str, ...] = ()  # the ids as they are configured; empty: the order above
    reserved: tuple[FilesystemSettings, ...] = ()
