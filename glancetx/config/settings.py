"""One frozen class for each room; no room sees another's settings, and none sees oslo.config.

Durations are seconds, sizes bytes, unless a name says otherwise. The options behind them: `glancetx.config.options`.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any

from attrs import field, frozen

from glancetx.config.image_properties import CustomProperties
from glancetx.config.store_settings import FilesystemSettings as FilesystemSettings
from glancetx.config.store_settings import StoresSettings as StoresSettings
from glancetx.domain.addresses import FetchRules
from glancetx.domain.placement import Rule

CONTAINER_FORMATS = ("ami", "ari", "aki", "bare", "ovf", "ova", "docker", "compressed")
DISK_FORMATS = ("ami", "ari", "aki", "vhd", "vhdx", "vmdk", "raw", "qcow2", "vdi", "iso", "ploop")


@frozen(kw_only=True)
class HttpSettings:
    """Limits of the request layer."""

    header_timeout: float = 30.0  # from the first byte of a request to the end of its headers
    idle_timeout: float = 60.0  # without a byte, unless our own consumer is paused
    min_body_rate: int = 1024  # bytes a second, averaged over rate_window; 0 turns the check off
    rate_window: float = 60.0
    max_header_count: int = 100
    max_header_size: int = 65536  # all headers of a request together, with the request line
    max_url_length: int = 16384
    max_json_size: int = 1024 * 1024
    max_json_depth: int = 32
    max_ranges: int = 16
    drain_limit: int = 1024 * 1024  # unread body bytes that are swallowed to keep a connection usable
    linger: float = 5.0  # how long an early answer waits for the client to read it


@frozen(kw_only=True)
class TlsSettings:
    """The default certificate of ``ssl:`` endpoints. *client_ca* turns client certificates on."""

    certificate: Path | None = None
    key: Path | None = None
    client_ca: Path | None = None
    client_certificate_required: bool = False


@frozen(kw_only=True)
class DatabaseSettings:
    """*connection* is an SQLAlchemy URL and may hold a password.

    *recycle* is the age in seconds at which a connection is replaced, 0 for never; *wsrep_sync_wait* is what Galera is
    told of the kind, None for nothing.
    """

    connection: str = field(repr=False)
    max_pool_size: int = 5
    recycle: float = 3600.0
    wsrep_sync_wait: int | None = None
    encryption_key: str | None = field(default=None, repr=False)  # of the URLs of locations


@frozen(kw_only=True)
class FormatSettings:
    """What the inspection of uploaded content insists on (api.md, A-103)."""

    require_image_format_match: bool = True
    vmdk_allowed_types: tuple[str, ...] = ("streamOptimized", "monolithicSparse")
    gpt_safety_checks_nonfatal: tuple[str, ...] = ()


@frozen(kw_only=True)
class ImagesSettings:
    """What the API allows and shows."""

    public_endpoint: str | None = None
    limit_param_default: int = 25
    api_limit_max: int = 1000
    image_size_cap: int = 1024**4
    user_storage_quota: int = 0  # bytes of a project's images; 0: no limit
    image_property_quota: int = 128
    image_tag_quota: int = 128
    image_location_quota: int = 10
    image_member_quota: int = 128
    hashing_algorithm: str = "sha512"
    do_secure_hash: bool = True  # the data of locations that clients add is read and hashed
    http_retries: int = 3  # of reading it
    container_formats: tuple[str, ...] = CONTAINER_FORMATS
    disk_formats: tuple[str, ...] = DISK_FORMATS
    show_image_direct_url: bool = False
    show_multiple_locations: bool = False
    max_request_id_length: int = 64
    custom: CustomProperties = field(factory=CustomProperties)


@frozen(kw_only=True)
class ImportSettings:
    """Imports and their tasks.

    *staging* is where data waits to be imported; *node_url* where other nodes reach this one; *at_once* how many
    imports go on in one process; *copied_properties* are prefixes of names that glance-download copies;
    *task_time_to_live* how many hours an ended task is kept.
    """

    methods: tuple[str, ...] = ("glance-direct",)
    staging: Path = Path("/tmp/staging")  # noqa: S108 - the default of Glance
    node_url: str | None = None
    at_once: int = 16
    copied_properties: tuple[str, ...] = ("hw_", "trait:", "os_distro", "os_secure_boot", "os_type")
    task_time_to_live: int = 48


@frozen(kw_only=True)
class DownloadSettings:
    """Bounds of what is fetched for imports: seconds, bytes a second, redirections; 0: no bound.

    *fetch_cafile* None: the system's authorities. *fetch_proxy* may hold a password.
    """

    fetch_timeout: float = 86400.0
    fetch_stall: float = 60.0
    fetch_min_rate: int = 1024
    fetch_max_rate: int = 0
    fetch_max_redirects: int = 5
    fetch_retries: int = 4  # of a request without an answer, or an answer that broke off
    fetch_cafile: Path | None = None
    fetch_proxy: str | None = field(default=None, repr=False)


@frozen(kw_only=True)
class ConversionSettings:
    """What images are converted to, and the bytes of memory and seconds of a processor that it may take."""

    output_format: str = "raw"
    conversion_memory: int = 1024**3
    conversion_time: int = 3600


@frozen(kw_only=True)
class PluginSettings:
    """What is done to imported data before it is stored: *names* are Glance's, in their order."""

    names: tuple[str, ...] = ()
    inject: Mapping[str, str] = field(factory=dict)
    ignore_user_roles: frozenset[str] = frozenset({"admin"})
    conversion: ConversionSettings = ConversionSettings()
    decompression_ratio: int = 1000


@frozen(kw_only=True)
class ClientTlsSettings:
    """How we speak TLS to another service. *cafile* None: the system's authorities; *certfile*: what we show of us."""

    cafile: Path | None = None
    certfile: Path | None = None
    keyfile: Path | None = None  # None: the key is in certfile
    insecure: bool = False  # do not verify the peer
    fingerprint: str | None = None  # SHA-256 of the one certificate that is accepted, in lower case hex


@frozen(kw_only=True)
class Credentials:
    """How we log in to Keystone as ourselves, in keystoneauth's words: a password or an application credential.

    One scope at most: a project, a domain, a trust or the system.
    """

    auth_url: str
    user_id: str | None = None
    username: str | None = None
    user_domain_id: str | None = None
    user_domain_name: str | None = None
    password: str | None = field(default=None, repr=False)
    application_credential_id: str | None = None
    application_credential_name: str | None = None
    application_credential_secret: str | None = field(default=None, repr=False)
    project_id: str | None = None
    project_name: str | None = None
    project_domain_id: str | None = None
    project_domain_name: str | None = None
    domain_id: str | None = None
    domain_name: str | None = None
    system_scope: str | None = None
    trust_id: str | None = None


@frozen(kw_only=True)
class KeystoneSettings:
    """One Keystone and our account there. *timeout*: of a whole request, with *retries* of the connection."""

    credentials: Credentials
    interface: str = "internal"
    region_name: str | None = None
    tls: ClientTlsSettings = ClientTlsSettings()
    timeout: float = 30.0
    retries: int = 3


@frozen(kw_only=True)
class MemcachedSettings:
    """Where what is known of tokens is shared. *strategy*: ``None``, ``MAC`` or ``ENCRYPT``, with *secret*.

    *patience*: seconds for an answer; *rest*: for which a server that gave none is let alone.
    """

    servers: tuple[str, ...]
    strategy: str = "None"
    secret: str = field(default="", repr=False)
    patience: int = 3
    rest: float = 300.0


@frozen(kw_only=True)
class TokenSettings:
    """How Keystone's tokens are judged. *cache_time*: seconds for which a token is not validated again; 0: none."""

    keystone: KeystoneSettings
    www_authenticate_uri: str  # where clients are told to log in
    cache_time: float = 300.0
    service_token_roles: frozenset[str] = frozenset({"service"})
    service_token_roles_required: bool = True
    service_type: str = "image"  # ours, in access rules
    memcached: MemcachedSettings | None = None


@frozen(kw_only=True)
class LimitSettings:
    """Where the unified limits of projects are kept, and who we are there: an endpoint, by its id or what it is of.

    *cache_time*: seconds for which a project's limits are not asked for again.
    """

    keystone: KeystoneSettings
    endpoint_id: str | None = None
    service_type: str | None = None
    service_name: str | None = None
    region: str | None = None
    interface: str = "public"
    cache_time: float = 5.0


@frozen(kw_only=True)
class AccessSettings:
    """Who is asked for credentials, and what they may.

    *authentication*: ``builtin``, ``keystone`` (then *tokens* is set), ``trusted`` (headers of a proxy) or ``none``.
    """

    authentication: str = "none"
    accounts: Path | None = None  # the folder of htpasswd, tokens and users.yaml, for ``builtin``
    tokens: TokenSettings | None = None
    www_authenticate_uri: str | None = None  # where clients are told to log in, for ``trusted``
    allow_anonymous: bool = False  # callers without credentials may read, for ``keystone`` and ``trusted``
    policy_file: str = "policy.yaml"
    policy_dirs: tuple[str, ...] = ("policy.d",)
    policy_default_rule: str = "default"
    enforce_new_defaults: bool = True
    config_dirs: tuple[Path, ...] = ()
    property_protection_file: str | None = None  # looked up like the policy files
    property_protection_rule_format: str = "roles"  # or ``policies``


@frozen(kw_only=True)
class CertificateSettings:
    """Where the certificates are with which images are signed.

    *folder*: files on this host, which come first. *barbican* is its URL; None: the one in Keystone's catalog, that of
    the kind *interface* in *region*.
    """

    folder: Path | None = None
    barbican: str | None = None
    interface: str = "public"
    region: str | None = None
    tls: ClientTlsSettings = ClientTlsSettings()


@frozen(kw_only=True)
class AuditSettings:
    """How the auditor goes about it. A rate of 0 turns it off."""

    audit_rate: int = 10 * 1024 * 1024  # bytes a second
    repair_rate: int = 100 * 1024 * 1024  # bytes a second; 0: nothing is repaired
    audit_period: float = 30 * 86400.0  # seconds in which each copy is read once
    verify_reads: bool = True
    rules: tuple[Rule, ...] = ()  # in which stores images should be


@frozen(kw_only=True)
class LogSettings:
    """Where a program's log goes as well, and how much of it, in the terms of Python's logging.

    *config* is a file for that, which stands in place of all else; *facility* one of syslog; *levels* those of loggers.
    """

    program: str
    config: Path | None
    file: Path | None
    facility: int | None
    levels: tuple[tuple[str, int], ...]
    debug: bool
    json: bool
    date_format: str
    context_format: str
    default_format: str


@frozen(kw_only=True)
class CoordinationSettings:
    """How processes agree on who does what one does for all. *lease* in seconds."""

    backend_url: str | None = field(default=None, repr=False)  # None: by the database
    lease: float = 18.0  # for which a process is taken to live after it last said so
    namespace: str = "glancetx"


@frozen(kw_only=True)
class StraySettings:
    """How stores are searched for data that no image has. Times in seconds, but for the days of *remove_strays_after*.

    *stray_stores*: the ids of the stores that are searched; none means all that can be.
    """

    stray_rate: int = 1000  # items looked at in a second; 0: stores are not searched
    stray_period: float = 86400.0  # between the beginnings of two searches
    stray_grace: float = 86400.0  # for which data is left alone after it was written
    stray_stores: tuple[str, ...] = ()
    remove_strays_after: float = 0.0  # days; 0: never

    def wants(self, store: str) -> bool:
        return not self.stray_stores or store in self.stray_stores


@frozen(kw_only=True)
class ScrubSettings:
    """What becomes of deleted images. Times in seconds."""

    delayed_delete: bool = False  # data is kept until the scrubber comes
    scrub_time: int = 0
    scrub_pool_size: int = 1
    wakeup_time: int = 300
    daemon: bool = False  # of glancetx-scrubber, unless its command line says


@frozen(kw_only=True)
class CacheSettings:
    """The image cache of this node, in *directory*.

    *driver* keeps what is known of its files: ``centralized_db``, where this node is called *node*, ``sqlite`` or
    ``xattr``. *downloads*: what is downloaded is cached and served from there; else only what is queued is cached.
    *old_paths*: the API of ``glance-cache-manage`` is there too.
    """

    directory: Path
    driver: str = "centralized_db"
    node: str | None = None
    max_size: int = 10 * 1024**3
    stall_time: int = 86400  # seconds after which an incomplete file is left over
    sqlite_db: str = "cache.db"  # in the directory
    downloads: bool = True
    old_paths: bool = False
    interval: float = 60.0  # seconds between two looks at the directory; 0: only when asked


@frozen(kw_only=True)
class BrokerHost:
    """One address of a message broker, and who we are there."""

    host: str = "localhost"
    port: int = 5672
    user: str = "guest"
    password: str = field(default="guest", repr=False)


@frozen(kw_only=True)
class BrokerSettings:
    """A RabbitMQ broker, and how things are declared there. *tls* None: plain TCP."""

    hosts: tuple[BrokerHost, ...] = (BrokerHost(),)  # tried one after the other
    virtual_host: str = "/"
    exchange: str = "glance"
    durable: bool = False
    auto_delete: bool = False
    queue_arguments: Mapping[str, Any] = field(factory=dict)
    external_login: bool = False
    tls: ClientTlsSettings | None = None
    heartbeat: int = 60
    retry_interval: int = 1  # before the second try to connect, and retry_backoff more at each further one
    retry_backoff: int = 2
    retry_most: int = 30


@frozen(kw_only=True)
class NotificationSettings:
    """Who is told of events. *drivers*: those of oslo.messaging. *retry*: how often a try is repeated; -1: for ever.

    *kept*: how many of those that the broker does not have are kept in the database; 0: in memory alone.
    """

    drivers: tuple[str, ...] = ()
    publisher_id: str = "image.localhost"
    disabled: frozenset[str] = frozenset()
    topics: tuple[str, ...] = ("notifications",)
    retry: int = -1
    kept: int = 100_000
    broker: BrokerSettings | None = None


@frozen(kw_only=True)
class CorsSettings:
    """Which pages of other origins may use the API in browsers; *max_age* in seconds."""

    allowed_origin: tuple[str, ...] = ()
    allow_credentials: bool = True
    expose_headers: tuple[str, ...] = (
        "X-Image-Meta-Checksum",
        "X-Auth-Token",
        "X-Subject-Token",
        "X-Service-Token",
        "X-OpenStack-Request-ID",
    )
    max_age: int | None = 3600
    allow_methods: tuple[str, ...] = ("GET", "PUT", "POST", "DELETE", "PATCH")
    allow_headers: tuple[str, ...] = (
        "Content-MD5",
        "X-Image-Meta-Checksum",
        "X-Storage-Token",
        "Accept-Encoding",
        "X-Auth-Token",
        "X-Identity-Status",
        "X-Roles",
        "X-Service-Catalog",
        "X-User-Id",
        "X-Tenant-Id",
        "X-OpenStack-Request-ID",
    )


@frozen(kw_only=True)
class HealthSettings:
    """What ``/healthcheck`` looks at, and who may ask. *sources*: none means everybody."""

    detailed: bool = False
    ignore_proxied: bool = False
    sources: tuple[IPv4Network | IPv6Network, ...] = ()
    disabled_by: Path | None = None
    disabled_by_port: Mapping[int, Path] = field(factory=dict)
    enabled_by: tuple[Path, ...] = ()


@frozen(kw_only=True)
class MetricsSettings:
    """Who may ask for ``/metrics``: peers in these networks; none means nobody."""

    sources: tuple[IPv4Network | IPv6Network, ...] = (IPv4Network("127.0.0.0/8"), IPv6Network("::1"))


@frozen(kw_only=True)
class MiddlewareSettings:
    """What surrounds every route. *proxy_headers*: who came through a proxy is seen as the proxy tells."""

    cors: CorsSettings = CorsSettings()
    proxy_headers: bool = False
    gzip: bool = False  # JSON is compressed for who accepts that
    health: HealthSettings = field(factory=HealthSettings)
    metrics: MetricsSettings = MetricsSettings()


@frozen(kw_only=True)
class Settings:
    """Everything a service is told. `glancetx.config.loading.load_settings` makes it from files."""

    database: DatabaseSettings
    data_dir: Path | None = None
    listen: tuple[str, ...] = ("tcp:9292:interface=127.0.0.1",)
    workers: int = 0
    drain_timeout: float = 60.0
    metadata_source_path: Path = Path("/etc/glance/metadefs")
    http: HttpSettings = HttpSettings()
    middleware: MiddlewareSettings = field(factory=MiddlewareSettings)
    tls: TlsSettings = TlsSettings()
    stores: StoresSettings = field(factory=StoresSettings)
    fetch: FetchRules = field(factory=FetchRules)
    downloads: DownloadSettings = DownloadSettings()
    formats: FormatSettings = FormatSettings()
    images: ImagesSettings = ImagesSettings()
    imports: ImportSettings = ImportSettings()
    plugins: PluginSettings = field(factory=PluginSettings)
    access: AccessSettings = AccessSettings()
    limits: LimitSettings | None = None  # None: ``user_storage_quota`` alone
    audit: AuditSettings = AuditSettings()
    strays: StraySettings = StraySettings()
    scrub: ScrubSettings = ScrubSettings()
    coordination: CoordinationSettings = CoordinationSettings()
    access_log: bool = False  # a line for each request
    logs: LogSettings | None = None  # None: as twistd is told
    stuck_after: float = 86400.0  # seconds after which an image that nobody fills is queued again; 0: never
    cache: CacheSettings | None = None
    certificates: CertificateSettings = CertificateSettings()
    ignored: tuple[str, ...] = ()  # options in the files that this version does not know
    notifications: NotificationSettings = NotificationSettings()
